"""Where a reference is complete. Only there is a pick without an arrival a false one.

An analyst who picked an earthquake says nothing of the rest of the day, nor of S at a station where
P alone was picked. So, unless told otherwise, a reference covers the time around each of its
arrivals, for that station and phase.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_prediction.explore.arrivals import PHASES
from ml_prediction.util.times import NANOSECONDS

AROUND: Final = 10.0
"""Seconds on each side of a reference arrival that it covers by default."""
LONGEST_AROUND: Final = 366 * 86400.0
"""What goes on for longer has a beginning and an end to name."""


COLUMNS: Final = (
    "network",
    "station",
    "phase",
    "start_ns",
    "end_ns",
    "event",
    "distance_km",
    "magnitude",
)
"""Of a table of coverage: one row for each span; ``event`` is empty where it is of none."""


def around(arrivals: pd.DataFrame, seconds: float) -> pd.DataFrame:
    """Coverage of so many seconds on both sides of each arrival, for its station and phase."""
    half = round(seconds * NANOSECONDS)
    start, end = arrivals["time_ns"] - half, arrivals["time_ns"] + half
    return arrivals.assign(start_ns=start, end_ns=end)[list(COLUMNS)]


def whole(
    stations: Iterable[tuple[str, str]],
    start_ns: int,
    end_ns: int,
    phases: tuple[str, ...] = PHASES,
) -> pd.DataFrame:
    """Coverage of a whole interval, at stations, for phases."""
    rows = [
        (network, station, phase, start_ns, end_ns, "", np.nan, np.nan)
        for network, station in sorted(stations)
        for phase in phases
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def owners(
    keys: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    span_keys: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Span that covers each time, or -1.

    Parameters
    ----------
    keys, times
        Station and phase as one number, and nanoseconds; shape (n,).
    span_keys, starts, ends
        The spans, ends included; shape (m,). They may overlap: the one that ends last wins.
    """
    result = np.full(len(times), -1, dtype=np.int64)
    order = np.lexsort((starts, span_keys))
    span_keys, starts, ends = span_keys[order], starts[order], ends[order]
    for key in np.unique(span_keys):
        first, last = np.searchsorted(span_keys, [key, key + 1])
        mine = np.flatnonzero(keys == key)
        if not len(mine):
            continue
        own_ends = ends[first:last]
        latest = np.maximum.accumulate(own_ends)
        leader = np.maximum.accumulate(np.where(own_ends == latest, np.arange(last - first), 0))
        place = np.searchsorted(starts[first:last], times[mine], side="right") - 1
        inside = (place >= 0) & (times[mine] <= latest[np.maximum(place, 0)])
        result[mine[inside]] = order[first + leader[place[inside]]]
    return result
