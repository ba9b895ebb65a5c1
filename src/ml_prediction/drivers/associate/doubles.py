"""One pick for each arrival: those of other instruments and models of a station are left out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ml_prediction.core.results import Pick
from ml_prediction.util.times import seconds_to_ns, to_ns

DOUBLE_S: Final = 1.0
"""Picks of one phase at one station that follow the first within this are one arrival's."""


def one_per_arrival(picks: Iterable[Pick]) -> Iterator[Pick]:
    """The best pick of each arrival: that with the smallest sigma, then the highest probability.

    Parameters
    ----------
    picks
        By time.

    Yields
    ------
    Pick
        In the order of the arrivals' first picks; so a time may be earlier than the one before
        it, by less than `DOUBLE_S`.
    """
    width = seconds_to_ns(DOUBLE_S)
    opened: deque[tuple[int, tuple[str, str, str]]] = deque()
    best: dict[tuple[str, str, str], Pick] = {}
    for pick in picks:
        time = to_ns(pick.time)
        while opened and time - opened[0][0] > width:
            yield best.pop(opened.popleft()[1])
        key = (pick.network, pick.station, pick.phase)
        if key in best:
            best[key] = min(best[key], pick, key=_rank)
        else:
            opened.append((time, key))
            best[key] = pick
    for _, key in opened:
        yield best[key]


def _rank(pick: Pick) -> tuple[float, float, str]:
    return (pick.sigma if math.isfinite(pick.sigma) else math.inf, -pick.probability, pick.id)
