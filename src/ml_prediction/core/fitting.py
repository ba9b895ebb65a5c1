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
TOLERANCE = 1e-8  # of the last step: what is left after it is far smaller
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
    peaks = _Peaks(times, values, weights, parameters)
    damping = np.full(len(values), 1e-3)
    open_rows = np.arange(len(values))
    for _ in range(ITERATIONS):
        if not len(open_rows):
            break
        step = _step(peaks, damping)
        trial = peaks.moved(step)
        better = trial.cost <= peaks.cost
        if not better.all():
            trial.put_back(np.flatnonzero(~better), peaks)
        peaks = trial
        damping *= np.where(better, 0.2, 8.0)
        small = TOLERANCE * (1 + np.abs(peaks.parameters).max(axis=0))
        over = (np.abs(step).max(axis=0) < small) | (damping > 1e12)
        if over.any():
            parameters[:, open_rows[over]] = peaks.parameters[:, over]
            left = np.flatnonzero(~over)
            peaks, damping, open_rows = peaks.rows(left), damping[left], open_rows[left]
    parameters[:, open_rows] = peaks.parameters
    converged = np.ones(len(values), dtype=np.bool_)
    converged[open_rows] = False
    return _finish(_Peaks(times, values, weights, parameters), converged)


def _start(times: Floats, values: Floats, weights: Floats) -> Floats:
    """A from the peak, mu at the peak, log width from the weighted second moment: (3, n)."""
    total = np.maximum(weights.sum(axis=1), 1e-12)
    spread = np.sqrt((weights * times**2).sum(axis=1) / total)
    log_width = np.log(np.clip(spread, 0.01, 1.0))
    return np.stack([values.max(axis=1), np.zeros(len(values)), log_width])


class _Peaks:
    """Some peaks, and how well the parameters (A, mu, log w), shape (3, n), fit them."""

    def __init__(self, times: Floats, values: Floats, weights: Floats, parameters: Floats) -> None:
        self.times, self.values, self.weights = times, values, weights
        self.parameters = parameters
        scale, mu, log_width = parameters[:, :, None]
        self.scaled = times - mu
        self.scaled *= np.exp(-log_width)
        self.shape = self.scaled * self.scaled
        self.shape *= -0.5
        np.exp(self.shape, out=self.shape)
        self.residual = self.shape * -scale
        self.residual += values
        self.cost = _sums(weights * self.residual, self.residual)

    def rows(self, which: npt.NDArray[np.intp]) -> _Peaks:
        """Some of the peaks."""
        chosen = object.__new__(_Peaks)
        chosen.times, chosen.parameters = self.times, self.parameters[:, which]
        for name in _BY_ROW:
            setattr(chosen, name, getattr(self, name)[which])
        return chosen

    def moved(self, step: Floats) -> _Peaks:
        """The same peaks with other parameters."""
        parameters = self.parameters + step
        parameters[2] = np.clip(parameters[2], *np.log(WIDTHS))
        return _Peaks(self.times, self.values, self.weights, parameters)

    def put_back(self, rows: npt.NDArray[np.intp], before: _Peaks) -> None:
        """For some of the peaks, take what was before."""
        self.parameters[:, rows] = before.parameters[:, rows]
        for name in ("scaled", "shape", "residual", "cost"):
            getattr(self, name)[rows] = getattr(before, name)[rows]

    def normal_equations(self) -> tuple[Floats, Floats]:
        """J'WJ and J'Wr for (A, mu, log w): shapes (n, 3, 3) and (n, 3, 1)."""
        first = self.shape * self.scaled
        # rows of J, but for what all samples of a peak have in common
        jacobian = (self.shape, first, first * self.scaled)
        scale, _, log_width = self.parameters
        common = np.stack([np.ones_like(scale), scale * np.exp(-log_width), scale], axis=1)
        matrix = np.empty((len(scale), 3, 3))
        gradient = np.empty((len(scale), 3, 1))
        weighted = np.empty_like(first)
        for i, row in enumerate(jacobian):
            np.multiply(self.weights, row, out=weighted)
            gradient[:, i, 0] = _sums(weighted, self.residual)
            for j in range(i, 3):
                matrix[:, i, j] = matrix[:, j, i] = _sums(weighted, jacobian[j])
        matrix *= common[:, :, None] * common[:, None, :]
        gradient *= common[:, :, None]
        return matrix, gradient


def _sums(one: Floats, other: Floats) -> Floats:
    """Sum of products of each row."""
    return np.asarray(np.einsum("ns,ns->n", one, other))


_BY_ROW = ("values", "weights", "scaled", "shape", "residual", "cost")


def _step(peaks: _Peaks, damping: Floats) -> Floats:
    matrix, gradient = peaks.normal_equations()
    diagonal = np.einsum("nii->ni", matrix)  # a view
    diagonal += damping[:, None] * diagonal + 1e-14 * (1 + diagonal.max(axis=1, keepdims=True))
    return np.asarray(np.linalg.solve(matrix, gradient)[:, :, 0].T)


def _finish(peaks: _Peaks, converged: npt.NDArray[np.bool_]) -> NormalFit:
    matrix, _ = peaks.normal_equations()
    size, axes = np.linalg.eigh(matrix)  # in rising order
    regular = size[:, 0] > 1e-14 * size[:, 2]
    scale, mu, log_width = peaks.parameters
    width = np.exp(log_width)
    unit = np.stack([np.ones_like(width), np.ones_like(width), width], axis=1)
    freedom = np.maximum((peaks.weights > 0).sum(axis=1) - 3, 1)
    size[~regular] = np.nan
    axes *= unit[:, :, None]
    covariance = (axes / size[:, None]) @ axes.swapaxes(1, 2)
    covariance *= (peaks.cost / freedom)[:, None, None]
    misfit = np.sqrt(peaks.cost / np.maximum(peaks.weights.sum(axis=1), 1e-12))
    return NormalFit(scale, mu, width, covariance, misfit, converged & regular)
