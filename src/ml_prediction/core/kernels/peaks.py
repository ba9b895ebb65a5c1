"""Levenberg-Marquardt iterations for the normal distribution under a probability peak."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Floats = npt.NDArray[np.float64]

ITERATIONS: Final = 60
TOLERANCE: Final = 1e-8  # of the last step: what is left after it is far smaller
LOG_WIDTHS: Final = (math.log(1e-3), math.log(10.0))  # of seconds: outside, samples say nothing
_STUCK: Final = 1e12  # damping at which no step leads down


@compiled(
    "float64(float64[::1], float64[::1], float64[::1], float64, float64, float64,"
    " float64[:, ::1], float64[::1])"
)
def _equations(
    times: Floats,
    values: Floats,
    weights: Floats,
    scale: float,
    mu: float,
    log_width: float,
    matrix: Floats,
    gradient: Floats,
) -> float:
    """J'WJ and J'Wr for (A, mu, log w), and the sum of weighted squared residuals."""
    narrow = math.exp(-log_width)
    s0 = s1 = s2 = s3 = s4 = g0 = g1 = g2 = cost = 0.0
    for i in range(len(times)):
        x = (times[i] - mu) * narrow
        shape = math.exp(-0.5 * x * x)
        residual = values[i] - scale * shape
        weight = weights[i]
        cost += weight * residual * residual
        # J is (shape, shape x, shape x^2), but for what all samples have in common.
        square = weight * shape * shape
        slope = weight * shape * residual
        s0 += square
        s1 += square * x
        s2 += square * x * x
        s3 += square * x * x * x
        s4 += square * x * x * x * x
        g0 += slope
        g1 += slope * x
        g2 += slope * x * x
    by_mu = scale * narrow
    matrix[0, 0] = s0
    matrix[0, 1] = matrix[1, 0] = s1 * by_mu
    matrix[0, 2] = matrix[2, 0] = s2 * scale
    matrix[1, 1] = s2 * by_mu * by_mu
    matrix[1, 2] = matrix[2, 1] = s3 * by_mu * scale
    matrix[2, 2] = s4 * scale * scale
    gradient[0], gradient[1], gradient[2] = g0, g1 * by_mu, g2 * scale
    return cost


@compiled("void(float64[:, ::1], float64[::1], float64, float64[::1])")
def _solve(matrix: Floats, gradient: Floats, damping: float, step: Floats) -> None:
    """Damped step: Gaussian elimination of a symmetric matrix, the diagonal raised."""
    least = 1e-14 * (1 + max(matrix[0, 0], matrix[1, 1], matrix[2, 2]))
    a = matrix[0, 0] * (1 + damping) + least
    b = matrix[1, 1] * (1 + damping) + least
    c = matrix[2, 2] * (1 + damping) + least
    d, e, f = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    u, v, w = gradient[0], gradient[1], gradient[2]
    b -= d * d / a
    f -= d * e / a
    v -= d * u / a
    c -= e * e / a + f * f / b
    w -= e * u / a + f * v / b
    step[2] = w / c
    step[1] = (v - f * step[2]) / b
    step[0] = (u - d * step[1] - e * step[2]) / a


@compiled(
    "void(float64[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, :, ::1],"
    " float64[::1], boolean[::1])"
)
def fit_peaks(
    times: Floats,
    values: Floats,
    weights: Floats,
    parameters: Floats,
    matrices: Floats,
    costs: Floats,
    converged: npt.NDArray[np.bool_],
) -> None:
    """Fit ``A exp(-(t - mu)^2 / (2 w^2))`` to n peaks, each by itself.

    Parameters
    ----------
    times
        Shape (sample,).
    values, weights
        Shape (n, sample).
    parameters
        A, mu and w, shape (n, 3): where to begin, and what was found. Logarithms are taken here:
        NumPy's depend in their last bit on a number's place in its array.
    matrices, costs, converged
        Filled: J'WJ, shape (n, 3, 3); sum of weighted squared residuals, and whether the steps
        have become small, shape (n,).
    """
    step, gradient = np.empty(3), np.empty(3)
    next_matrix, next_gradient = np.empty((3, 3)), np.empty(3)
    for row in range(len(values)):
        mine, weight, matrix = values[row], weights[row], matrices[row]
        scale, mu, log_width = parameters[row, 0], parameters[row, 1], math.log(parameters[row, 2])
        damping = 1e-3
        cost = _equations(times, mine, weight, scale, mu, log_width, matrix, gradient)
        converged[row] = False
        for _ in range(ITERATIONS):
            _solve(matrix, gradient, damping, step)
            wide = min(max(log_width + step[2], LOG_WIDTHS[0]), LOG_WIDTHS[1])
            high, there = scale + step[0], mu + step[1]
            trial = _equations(times, mine, weight, high, there, wide, next_matrix, next_gradient)
            if trial <= cost:
                scale, mu, log_width, cost = high, there, wide, trial
                matrix[:], gradient[:] = next_matrix, next_gradient
                damping *= 0.2
            else:
                damping *= 8.0
            largest = max(abs(scale), abs(mu), abs(log_width))
            moved = max(abs(step[0]), abs(step[1]), abs(step[2]))
            if moved < TOLERANCE * (1 + largest) or damping > _STUCK:
                converged[row] = True
                break
        parameters[row, 0], parameters[row, 1], parameters[row, 2] = scale, mu, math.exp(log_width)
        costs[row] = cost
