"""A window made ready for the model in two passes over its samples."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

BY_DEVIATION: Final = 0
BY_PEAK: Final = 1
BY_NOTHING: Final = 2

EACH: Final = 0
WHOLE: Final = 1
MEAN: Final = 2


ROW: Final = "float64(Array(float64, 1, 'C', readonly=True)"


@compiled(f"{ROW})")
def _sum(values: npt.NDArray[np.float64]) -> float:
    """Sum, in eight parts that a processor adds at the same time."""
    a = b = c = d = e = f = g = h = 0.0
    whole = len(values) - len(values) % 8
    for i in range(0, whole, 8):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
        e += values[i + 4]
        f += values[i + 5]
        g += values[i + 6]
        h += values[i + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(whole, len(values)):
        total += values[i]
    return float(total)


@compiled(f"{ROW}, float64)")
def _squares(values: npt.NDArray[np.float64], mean: float) -> float:
    """Sum of squared deviations, in eight parts."""
    a = b = c = d = e = f = g = h = 0.0
    whole = len(values) - len(values) % 8
    for i in range(0, whole, 8):
        a += (values[i] - mean) ** 2
        b += (values[i + 1] - mean) ** 2
        c += (values[i + 2] - mean) ** 2
        d += (values[i + 3] - mean) ** 2
        e += (values[i + 4] - mean) ** 2
        f += (values[i + 5] - mean) ** 2
        g += (values[i + 6] - mean) ** 2
        h += (values[i + 7] - mean) ** 2
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(whole, len(values)):
        total += (values[i] - mean) ** 2
    return float(total)


@compiled(f"{ROW}, float64)")
def _peak(values: npt.NDArray[np.float64], mean: float) -> float:
    """Largest absolute deviation."""
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value - mean))
    return largest


@compiled(
    "void(Array(float64, 2, 'C', readonly=True), Array(float64, 1, 'C', readonly=True),"
    " int64, int64, float64, float32[:, ::1])"
)
def normalise_window(
    window: npt.NDArray[np.float64],
    taper: npt.NDArray[np.float64],
    method: int,
    scope: int,
    epsilon: float,
    out: npt.NDArray[np.float32],
) -> None:
    """Demean, scale and taper one window.

    Parameters
    ----------
    window
        Shape (component, sample).
    taper
        What each sample is multiplied with at last, shape (sample,).
    method
        BY_DEVIATION (standard deviation, of n - 1), BY_PEAK or BY_NOTHING.
    scope
        Divide by the statistic of EACH component, of the WHOLE window, or by the MEAN of the
        components' statistics.
    epsilon
        Added to the statistic.
    out
        Shape (component, sample).
    """
    rows, length = window.shape
    means = np.empty(rows)
    sizes = np.ones(rows)
    for row in range(rows):
        means[row] = _sum(window[row]) / length
        if method == BY_DEVIATION:
            sizes[row] = _squares(window[row], means[row])
        elif method == BY_PEAK:
            sizes[row] = _peak(window[row], means[row])
    count = length - 1
    if scope == WHOLE:
        sizes[:] = sizes.sum() if method == BY_DEVIATION else sizes.max()
        count = rows * length - 1
    if method == BY_DEVIATION:
        sizes = np.sqrt(sizes / count)
    if scope == MEAN:
        sizes[:] = sizes.sum() / rows
    for row in range(rows):
        values, made, mean = window[row], out[row], means[row]
        scale = 1.0 if method == BY_NOTHING else 1.0 / (sizes[row] + epsilon)
        for i in range(length):
            made[i] = (values[i] - mean) * scale * taper[i]
