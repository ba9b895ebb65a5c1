"""Scaled normal distributions fitted to probability peaks, all peaks at once.

Model: ``A exp(-(t - mu)^2 / (2 w^2))``. Weighted least squares by the Levenberg-Marquardt method
(Marquardt 1963, doi 10.1137/0111030) on A, mu and log w, vectorised over peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ITERATIONS = 60
TOLERANCE = 1e-10
WIDTHS = (1e-3, 10.0)  # seconds: outside, the samples say nothing about the width


@dataclass(frozen=True, slots=True)
class NormalFit:
    """Fits of n peaks.

    Attributes
    ----------
    scale, mu, width
        A, centre in seconds from the peak and standard deviation in seconds; shape (n,).
    covariance
        Of (A, mu, width), from the residuals; shape (n, 3, 3). NaN where it can't be had.
    misfit
        Weighted root mean square residual; shape (n,).
    converged
        Shape (n,).
    """

    scale: Floats
    mu: Floats
    width: Floats
    covariance: Floats
    misfit: Floats
    converged: npt.NDArray[np.bool_]


def fit_normals(times: Floats, values: Floats) -> NormalFit:
    """Fit a scaled normal distribution to each row.

    Parameters
    ----------
    times
        Seconds from the peak, shape (sample,).
    values
        Probabilities, shape (n, sample); NaN where there is none. A sample's weight is its
        probability, so that the peak counts and its surroundings do not.
    """
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    weights = np.where(known, np.clip(values, 0.0, None), 0.0)
    parameters = _start(times, values, weights)
    damping = np.full(len(values), 1e-3)
    cost = _cost(parameters, times, values, weights)
    active = np.ones(len(values), dtype=np.bool_)
    for _ in range(ITERATIONS):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        step = _step(parameters[rows], times, values[rows], weights[rows], damping[rows])
        trial = parameters[rows] + step
        trial[:, 2] = np.clip(trial[:, 2], *np.log(WIDTHS))
        trial_cost = _cost(trial, times, values[rows], weights[rows])
        better = trial_cost <= cost[rows]
        parameters[rows[better]] = trial[better]
        cost[rows[better]] = trial_cost[better]
        damping[rows] *= np.where(better, 0.2, 8.0)
        small = np.abs(step).max(axis=1) < TOLERANCE * (1 + np.abs(parameters[rows]).max(axis=1))
        active[rows[small | (damping[rows] > 1e12)]] = False
    return _finish(parameters, times, values, weights, ~active)


def _start(times: Floats, values: Floats, weights: Floats) -> Floats:
    """A from the peak, mu at the peak, width from the weighted second moment."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    spread = np.sqrt((weights * times**2).sum(axis=1) / total)
    log_width = np.log(np.clip(spread, 0.01, 1.0))
    return np.stack([values.max(axis=1), np.zeros(len(values)), log_width], axis=1)


def _model(parameters: Floats, times: Floats) -> tuple[Floats, Floats]:
    """Scaled times (t - mu) / w, and the unit normal; each of shape (n, sample)."""
    scaled = (times - parameters[:, 1:2]) * np.exp(-parameters[:, 2:3])
    return scaled, np.exp(-0.5 * scaled**2)


def _cost(parameters: Floats, times: Floats, values: Floats, weights: Floats) -> Floats:
    _, shape = _model(parameters, times)
    return np.asarray((weights * (values - parameters[:, :1] * shape) ** 2).sum(axis=1))


def _normal_equations(
    parameters: Floats, times: Floats, values: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """J'WJ and J'Wr for (A, mu, log w): shapes (n, 3, 3) and (n, 3)."""
    scaled, shape = _model(parameters, times)
    height = parameters[:, :1] * shape
    jacobian = np.stack(
        [shape, height * scaled * np.exp(-parameters[:, 2:3]), height * scaled**2], axis=2
    )
    weighted = jacobian * weights[:, :, None]
    residual = values - height
    return np.einsum("nsi,nsj->nij", weighted, jacobian), np.einsum(
        "nsi,ns->ni", weighted, residual
    )


def _step(
    parameters: Floats, times: Floats, values: Floats, weights: Floats, damping: Floats
) -> Floats:
    matrix, gradient = _normal_equations(parameters, times, values, weights)
    diagonal = np.einsum("nii->ni", matrix)
    added = damping[:, None] * diagonal + 1e-14 * (1 + diagonal.max(axis=1, keepdims=True))
    matrix = matrix + added[:, :, None] * np.eye(3)
    return np.asarray(np.linalg.solve(matrix, gradient[:, :, None])[:, :, 0])


def _finish(
    parameters: Floats,
    times: Floats,
    values: Floats,
    weights: Floats,
    converged: npt.NDArray[np.bool_],
) -> NormalFit:
    matrix, _ = _normal_equations(parameters, times, values, weights)
    cost = _cost(parameters, times, values, weights)
    total = weights.sum(axis=1)
    freedom = np.maximum((weights > 0).sum(axis=1) - 3, 1)
    width = np.exp(parameters[:, 2])
    unit = np.stack([np.ones_like(width), np.ones_like(width), width], axis=1)
    regular = np.linalg.cond(matrix) < 1e14
    safe = np.where(regular[:, None, None], matrix, np.eye(3))
    covariance = np.linalg.inv(safe) * (cost / freedom)[:, None, None]
    covariance = covariance * unit[:, :, None] * unit[:, None, :]
    covariance[~regular] = np.nan
    misfit = np.sqrt(cost / np.maximum(total, 1e-12))
    return NormalFit(
        parameters[:, 0], parameters[:, 1], width, covariance, misfit, converged & regular
    )
