"""Recursive filter in second-order sections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled


@compiled(
    "void(Array(float64, 2, 'C', readonly=True), Array(float64, 1, 'C', readonly=True),"
    " float64[:, ::1], float64[::1])"
)
def filter_sections(
    sections: npt.NDArray[np.float64],
    samples: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    """Filter samples: the transposed direct form II, as in `scipy.signal.sosfilt`, bit by bit.

    Parameters
    ----------
    sections
        Shape (section, 6), as SciPy has them: b0, b1, b2, 1, a1, a2.
    samples
        Shape (sample,).
    state
        Shape (section, 2); worked on in place.
    out
        Shape (sample,).
    """
    for i in range(len(samples)):
        value = samples[i]
        for section in range(len(sections)):
            b0, b1, b2 = sections[section, 0], sections[section, 1], sections[section, 2]
            a1, a2 = sections[section, 4], sections[section, 5]
            made = b0 * value + state[section, 0]
            state[section, 0] = b1 * value - a1 * made + state[section, 1]
            state[section, 1] = b2 * value - a2 * made
            value = made
        out[i] = value
