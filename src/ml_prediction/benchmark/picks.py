"""Whether two contenders found the same picks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml_prediction.benchmark.contenders.base import Found
from ml_prediction.benchmark.datasets import Span
from ml_prediction.benchmark.plan import RATE
from ml_prediction.util.times import NANOSECONDS

TOLERANCE_NS: Final = NANOSECONDS // RATE + 100_000
"""One sample, and a little for rounding."""

MARGIN: Final = 1e-3
"""A pick whose probability is so near the threshold may be found or not."""

LEAST_SHARE: Final = 0.99
"""Share of the same picks from which on two contenders agree."""

_FILTER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """What became of comparing two lists of picks.

    Attributes
    ----------
    reference, found
        Picks in each list that are compared.
    missing, extra
        Picks of the one that the other has not, and the other way round.
    near_threshold
        Picks that only one has, but too near the threshold to count.
    """

    reference: int
    found: int
    missing: int
    extra: int
    near_threshold: int

    @property
    def share(self) -> float:
        """Share of the picks that both have; 1 if there are none."""
        total = self.reference + self.found
        return 1.0 if total == 0 else 1.0 - (self.missing + self.extra) / total

    @property
    def agrees(self) -> bool:
        """Whether they are the same, but for rounding; with nothing to compare they are not."""
        return self.reference > 0 and self.share >= LEAST_SHARE


def comparable(span: Span, window: int, stride: int) -> tuple[int, int]:
    """Times between which all windows of all contenders are the same.

    Ours also uses windows that the data fill in part, at both ends. SeisBench's filter rings at
    the start, which the first window's scale may show in all of it.

    Returns
    -------
    tuple of int
        First and last time, nanoseconds since 1970.
    """
    if span.samples < window + stride:  # one window alone, and no part of another
        low, high = _FILTER_S * RATE, span.samples
    else:
        low, high = window, span.samples - (window - stride)
    return (
        span.start_ns + low * NANOSECONDS // RATE,
        span.start_ns + high * NANOSECONDS // RATE,
    )


def compare(
    reference: Iterable[Found],
    found: Iterable[Found],
    limits: Mapping[str, tuple[int, int]],
    thresholds: Mapping[str, float],
) -> Agreement:
    """Match picks of two contenders by station, phase and time.

    Parameters
    ----------
    reference, found
        Both lists, in any order.
    limits
        For each station the first and last time (ns) that are compared.
    thresholds
        Of each phase.
    """
    ours, theirs = list(reference), list(found)
    missing = _without_partner(ours, theirs, limits)
    extra = _without_partner(theirs, ours, limits)
    near = [pick for pick in (*missing, *extra) if _is_near(pick, thresholds)]
    return Agreement(
        reference=len(_within(ours, limits)),
        found=len(_within(theirs, limits)),
        missing=sum(not _is_near(pick, thresholds) for pick in missing),
        extra=sum(not _is_near(pick, thresholds) for pick in extra),
        near_threshold=len(near),
    )


def _is_near(pick: Found, thresholds: Mapping[str, float]) -> bool:
    return abs(pick.probability - thresholds[pick.phase]) < MARGIN


def _within(picks: Iterable[Found], limits: Mapping[str, tuple[int, int]]) -> list[Found]:
    return [
        pick
        for pick in picks
        if pick.station in limits
        and limits[pick.station][0] <= pick.peak_ns <= limits[pick.station][1]
    ]


def _without_partner(
    picks: Sequence[Found], others: Iterable[Found], limits: Mapping[str, tuple[int, int]]
) -> list[Found]:
    """Picks within the limits that have no partner among the others, which may lie without."""
    times: dict[tuple[str, str], list[int]] = {}
    for other in others:
        times.setdefault((other.station, other.phase), []).append(other.peak_ns)
    for known in times.values():
        known.sort()
    alone = []
    for pick in sorted(_within(picks, limits), key=lambda pick: pick.peak_ns):
        known = times.get((pick.station, pick.phase), [])
        place = bisect_left(known, pick.peak_ns - TOLERANCE_NS)
        if place < len(known) and known[place] <= pick.peak_ns + TOLERANCE_NS:
            del known[place]  # each has one partner at most
        else:
            alone.append(pick)
    return alone
