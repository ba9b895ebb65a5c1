"""Scaled normal distributions fitted to probability peaks, all peaks at once.

Model: ``A exp(-(t - mu)^2 / (2 w^2))``. Weighted least squares by the Levenberg-Marquardt method
(Marquardt 1963, doi 10.1137/0111030) on A, mu and log w.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_prediction.core.kernels.peaks import fit_peaks

Floats = npt.NDArray[np.float64]


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
    times = np.array(times, dtype=np.float64)
    values = np.array(values, dtype=np.float64, order="C")
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    weights = np.where(known, np.clip(values, 0.0, None), 0.0)
    count = len(values)
    parameters = _start(times, values, weights)
    matrices, costs = np.empty((count, 3, 3)), np.empty(count)
    converged = np.empty(count, dtype=np.bool_)
    fit_peaks(times, values, weights, parameters, matrices, costs, converged)
    return _finish(parameters, weights, matrices, costs, converged)


def _start(times: Floats, values: Floats, weights: Floats) -> Floats:
    """A from the peak, mu at the peak, width from the weighted second moment: (n, 3)."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    spread = np.sqrt((weights * times**2).sum(axis=1) / total)
    width = np.clip(spread, 0.01, 1.0)
    return np.stack([values.max(axis=1), np.zeros(len(values)), width], axis=1)


def _finish(
    parameters: Floats,
    weights: Floats,
    matrices: Floats,
    costs: Floats,
    converged: npt.NDArray[np.bool_],
) -> NormalFit:
    size, axes = np.linalg.eigh(matrices)  # in rising order
    regular = size[:, 0] > 1e-14 * size[:, 2]
    scale, mu, width = parameters.T
    unit = np.stack([np.ones_like(width), np.ones_like(width), width], axis=1)
    freedom = np.maximum((weights > 0).sum(axis=1) - 3, 1)
    size[~regular] = np.nan
    axes *= unit[:, :, None]
    covariance = (axes / size[:, None]) @ axes.swapaxes(1, 2)
    covariance *= (costs / freedom)[:, None, None]
    misfit = np.sqrt(costs / np.maximum(weights.sum(axis=1), 1e-12))
    return NormalFit(scale, mu, width, covariance, misfit, converged & regular)
