"""Missing samples filled from both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@compiled("int64(int64, int64)")
def _bounce(distance: int, length: int) -> int:
    """Position in 0 .. length - 1, visited to and fro."""
    position = distance % (2 * length)
    return min(position, 2 * length - 1 - position)


@compiled("void(float64[::1], Array(boolean, 1, 'C', readonly=True))")
def mirror(samples: Floats, valid: Flags) -> None:
    """Fill each gap, in place, with the valid runs at its two sides, reflected at its edges.

    Each fills half of it, repeatedly if it is short; where one side has none, the other fills all.

    Parameters
    ----------
    samples, valid
        Shape (sample,).
    """
    count = len(samples)
    run_start, run_stop = 0, 0  # of the valid run before the gap; empty without any
    at = 0
    while at < count:
        if valid[at]:
            run_start = at
            while at < count and valid[at]:
                at += 1
            run_stop = at
            continue
        start = at
        while at < count and not valid[at]:
            at += 1
        stop = after = at  # of the gap, and of the valid run after it
        while after < count and valid[after]:
            after += 1
        before_length, after_length = run_stop - run_start, after - stop
        middle = (start + stop + 1) // 2
        if before_length == 0:
            middle = start
        elif after_length == 0:
            middle = stop
        for i in range(start, middle):
            samples[i] = samples[run_stop - 1 - _bounce(i - start, before_length)]
        if after_length > 0:
            for i in range(middle, stop):
                samples[i] = samples[stop + _bounce(stop - 1 - i, after_length)]
