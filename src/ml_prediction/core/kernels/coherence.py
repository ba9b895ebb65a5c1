"""Sums over a sliding window, the same bit for bit however the samples are cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Floats = npt.NDArray[np.float64]


@compiled("void(float64[::1], int64, int64, float64[::1], float64[::1])")
def sliding_sums(values: Floats, start: int, half: int, scratch: Floats, out: Floats) -> None:
    """Sum of each sample and of ``half`` samples on both sides of it.

    The axis is divided into blocks as long as the window, counted from index 0. A window then
    is the end of one block and the beginning of the next, and each sum is one of a few fixed
    additions (van Herk, 1992, for sums): it depends on no other sample, nothing is subtracted.

    Parameters
    ----------
    values
        Shape (sample,): none below 0, those outside of it count as 0.
    start
        Index of the first value.
    half
        Samples on each side.
    scratch
        Shape (sample,): for the sums from each sample to the end of its block.
    out
        Shape (sample - 2 * half,): the sums for the samples from ``start + half`` on.
    """
    length = 2 * half + 1
    total = 0.0
    for i in range(len(values) - 1, -1, -1):
        if (start + i + 1) % length == 0:
            total = 0.0
        total += values[i]
        scratch[i] = total
    total = 0.0
    for i in range(len(values)):
        first = (start + i) % length == 0
        total = values[i] if first else total + values[i]
        at = i - length + 1
        if at >= 0:
            # a window that is a whole block is one sum, not two
            whole = (start + at) % length == 0
            out[at] = total if whole else scratch[at] + total
