"""Noise, signal and first motion around a pick."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SAMPLES: Final = "Array(float64, 1, 'C', readonly=True)"
_FLAGS: Final = "Array(boolean, 1, 'C', readonly=True)"


@compiled(f"Tuple((int64, float64, float64))({_SAMPLES}, {_FLAGS}, int64, int64)")
def moments(samples: Floats, valid: Flags, first: int, stop: int) -> tuple[int, float, float]:
    """Number, mean and standard deviation of the valid samples in a range; NaN without any."""
    count, total = 0, 0.0
    first, stop = max(first, 0), min(stop, len(samples))
    for i in range(first, stop):
        if valid[i]:
            count += 1
            total += samples[i]
    mean = total / count
    squares = 0.0
    for i in range(first, stop):
        if valid[i]:
            squares += (samples[i] - mean) ** 2
    return count, mean, math.sqrt(squares / count)


@compiled(f"float64({_SAMPLES}, {_FLAGS}, int64, int64, float64)")
def farthest(samples: Floats, valid: Flags, first: int, stop: int, mean: float) -> float:
    """Largest absolute deviation of the valid samples in a range from a mean."""
    largest = 0.0
    for i in range(max(first, 0), min(stop, len(samples))):
        if valid[i]:
            largest = max(largest, abs(samples[i] - mean))
    return largest


@compiled(f"float64({_SAMPLES}, int64, int64, float64, float64, float64)")
def first_swing(
    samples: Floats, first: int, stop: int, mean: float, deviation: float, clear: float
) -> float:
    """Largest value of the first half cycle that is clear of the noise; 0 without any.

    Parameters
    ----------
    samples
        Shape (sample,).
    first, stop
        Where to look.
    mean, deviation
        Of the noise.
    clear
        Deviations that a clear sample has.
    """
    largest = 0.0
    for i in range(max(first, 0), min(stop, len(samples))):
        motion = (samples[i] - mean) / deviation
        if largest == 0:
            if abs(motion) > clear:
                largest = motion
        elif motion * largest <= 0:
            break
        elif abs(motion) > abs(largest):
            largest = motion
    return largest
