"""Outputs of overlapping windows merged, where every sample of them counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Floats32 = npt.NDArray[np.float32]
OUTPUTS = "Array(float32, 2, 'C', readonly=True)"


@compiled(
    f"void(float32[:, ::1], float32[::1], int64, {OUTPUTS}, int64, int64, int64, boolean)",
    f"void(float64[:, ::1], float64[::1], int64, {OUTPUTS}, int64, int64, int64, boolean)",
)
def add_votes(
    sums: npt.NDArray[Any],
    counts: npt.NDArray[Any],
    at: int,
    outputs: Floats32,
    low: int,
    high: int,
    seen: int,
    highest: bool,
) -> None:
    """Merge a window's outputs into what is held.

    Parameters
    ----------
    sums, counts
        Shapes (label, held sample) and (held sample,).
    at
        Place of the first used sample among those held.
    outputs
        Shape (label, sample); those from ``low`` to ``high`` (exclusive) are used.
    seen
        So many of the first samples are held already; the others are new.
    highest
        Keep the highest vote, not the sum.
    """
    # Loops over slices from end to end: with offsets, no vector instructions are found.
    stop = at + high - low
    for label in range(len(outputs)):
        held, new = sums[label, at : at + seen], outputs[label, low : low + seen]
        if highest:
            for i in range(len(held)):
                held[i] = new[i] if new[i] > held[i] else held[i]
        else:
            for i in range(len(held)):
                held[i] += new[i]
        held, new = sums[label, at + seen : stop], outputs[label, low + seen : high]
        for i in range(len(held)):
            held[i] = new[i]
    votes = counts[at : at + seen]
    for i in range(len(votes)):
        votes[i] += 1
    votes = counts[at + seen : stop]
    for i in range(len(votes)):
        votes[i] = 1


@compiled(
    "void(float32[:, ::1], float32[::1], int64, float32[:, ::1])",
    "void(float64[:, ::1], float64[::1], int64, float32[:, ::1])",
)
def mean_votes(sums: npt.NDArray[Any], counts: npt.NDArray[Any], at: int, out: Floats32) -> None:
    """Mean of the votes on samples that have some, into ``out``, shape (label, sample)."""
    for label in range(len(out)):
        mean = out[label]
        held, votes = sums[label, at : at + len(mean)], counts[at : at + len(mean)]
        for i in range(len(mean)):
            mean[i] = held[i] / votes[i]
