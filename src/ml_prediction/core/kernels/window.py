"""What is done to each component of a window, in a pass over its samples for each step."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

ROW: Final = "Array(float64, 1, 'C', readonly=True)"


@compiled(f"float64({ROW})")
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


@compiled(f"float64({ROW}, float64)")
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


@compiled(f"float64({ROW}, float64)")
def _peak(values: npt.NDArray[np.float64], mean: float) -> float:
    """Largest absolute deviation."""
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value - mean))
    return largest


@compiled(f"UniTuple(float64, 2)({ROW}, boolean)")
def size_up(values: npt.NDArray[np.float64], peak: bool) -> tuple[float, float]:
    """Mean, and the sum of squared deviations from it or the largest one (``peak``)."""
    mean = _sum(values) / len(values)
    return mean, _peak(values, mean) if peak else _squares(values, mean)


@compiled(f"void({ROW}, float64, float64, {ROW}, float32[::1])")
def scale_row(
    values: npt.NDArray[np.float64],
    mean: float,
    scale: float,
    taper: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
) -> None:
    """Write ``(values - mean) * scale * taper`` into ``out``; all have the shape (sample,)."""
    for i in range(len(values)):
        out[i] = (values[i] - mean) * scale * taper[i]
