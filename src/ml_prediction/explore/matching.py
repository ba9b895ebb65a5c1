"""Picks to reference arrivals, one to one: as many pairs as possible, then the smallest residuals.

Times fall apart into clusters further from each other than the tolerance. A cluster of one pick and
one arrival is a pair; the others are assignment problems (Crouse 2016,
doi 10.1109/TAES.2016.140952, in SciPy), small because a cluster is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ml_prediction.util.times import NANOSECONDS

Integers = npt.NDArray[np.int64]
Pairs = tuple[Integers, Integers]

_NOBODY: Final = np.zeros(0, dtype=np.int64)


def match(
    pick_keys: Integers,
    pick_times: Integers,
    reference_keys: Integers,
    reference_times: Integers,
    tolerance_ns: int,
) -> Pairs:
    """Optimal one-to-one assignment within a tolerance.

    Parameters
    ----------
    pick_keys, reference_keys
        What must be equal (a number for each station and phase), shapes (n,) and (m,).
    pick_times, reference_times
        Nanoseconds, same shapes.
    tolerance_ns
        Largest absolute residual of a pair, itself allowed.

    Returns
    -------
    tuple of numpy.ndarray
        Indices of picks and of the arrivals that they are matched with, shape (pair,), in order
        of the arrivals. The number of pairs is the largest possible, and their absolute residuals
        sum to the smallest that is possible then.
    """
    count = len(pick_times)
    keys = np.concatenate([pick_keys, reference_keys])
    times = np.concatenate([pick_times, reference_times])
    if not count or count == len(times):
        return _NOBODY, _NOBODY
    order = np.lexsort((times, keys))
    breaks = (np.diff(keys[order]) != 0) | (np.diff(times[order]) > tolerance_ns)
    cluster = np.empty(len(times), dtype=np.int64)
    cluster[order] = np.concatenate([[0], np.cumsum(breaks)])
    total = int(cluster.max()) + 1
    picks_in = np.bincount(cluster[:count], minlength=total)
    references_in = np.bincount(cluster[count:], minlength=total)
    simple = (picks_in == 1) & (references_in == 1)
    picks = np.flatnonzero(simple[cluster[:count]])
    references = np.flatnonzero(simple[cluster[count:]])
    found = [
        (
            picks[np.argsort(cluster[picks], kind="stable")],
            references[np.argsort(cluster[count + references], kind="stable")],
        )
    ]
    hard = (picks_in > 0) & (references_in > 0) & ~simple
    picks_of = _members(cluster[:count], hard)
    references_of = _members(cluster[count:], hard)
    for number in np.flatnonzero(hard):
        some, others = picks_of[number], references_of[number]
        rows, columns = _assign(pick_times[some], reference_times[others], tolerance_ns)
        found.append((some[rows], others[columns]))
    matched = np.concatenate([pair[0] for pair in found])
    arrivals = np.concatenate([pair[1] for pair in found])
    in_order = np.argsort(arrivals, kind="stable")
    return matched[in_order], arrivals[in_order]


def _members(cluster: Integers, wanted: npt.NDArray[np.bool_]) -> dict[int, Integers]:
    """Indices of the members of each wanted cluster."""
    inside = np.flatnonzero(wanted[cluster])
    if not len(inside):
        return {}
    inside = inside[np.argsort(cluster[inside], kind="stable")]
    numbers, starts = np.unique(cluster[inside], return_index=True)
    return dict(zip(numbers.tolist(), np.split(inside, starts[1:]), strict=True))


def _assign(picks: Integers, references: Integers, tolerance_ns: int) -> Pairs:
    """One cluster. A pair beyond the tolerance costs more than all allowed ones together."""
    residuals = np.abs(picks[:, None] - references[None, :])
    allowed = residuals <= tolerance_ns
    tolerance = max(tolerance_ns, 1) / NANOSECONDS
    forbidden = (min(residuals.shape) + 1) * tolerance
    cost = np.where(allowed, residuals / NANOSECONDS, forbidden)
    rows, columns = linear_sum_assignment(cost)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
