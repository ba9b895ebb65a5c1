"""The vectorised fit of normal distributions, against SciPy peak by peak."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import least_squares

from ml_prediction.core.fitting import NormalFit, fit_normals

Floats = npt.NDArray[np.float64]

TIMES = np.arange(-25, 26) / 100


def normal(scale: float, mu: float, width: float, right: float | None = None) -> Floats:
    """A scaled normal; with another width right of the centre if given."""
    widths = np.where(mu > TIMES, width, width if right is None else right)
    return np.asarray(scale * np.exp(-0.5 * ((TIMES - mu) / widths) ** 2))


def peaks() -> Floats:
    """As models give them: noisy, cut off by gaps, lopsided, on a floor; centred on the peak."""
    generator = np.random.default_rng(11)
    rows = []
    for number in range(200):
        scale, mu = generator.uniform(0.1, 0.99), generator.uniform(-0.005, 0.005)
        left = generator.uniform(0.04, 0.13)
        right = left * (generator.uniform(0.6, 1.7) if number % 3 == 1 else 1.0)
        row = normal(scale, mu, left, right) + generator.normal(0, 0.01, len(TIMES))
        row = np.clip(row, 0, 1)
        if number % 3 == 2:
            row[: generator.integers(1, 16)] = np.nan
        if number % 5 == 4:
            row[-generator.integers(1, 16) :] = np.nan
        rows.append(row.astype(np.float32).astype(np.float64))
    return np.array(rows)


def by_scipy(values: Floats) -> tuple[Floats, Floats]:
    """A, mu and width, and their covariance, of one peak; a sample's weight is its value."""
    known = np.isfinite(values)
    times, heights = TIMES[known], values[known]
    roots = np.sqrt(np.clip(heights, 0, None))

    def residuals(p: Floats) -> Floats:
        return np.asarray(roots * (heights - p[0] * np.exp(-0.5 * ((times - p[1]) / p[2]) ** 2)))

    found = least_squares(
        residuals, [heights.max(), 0.0, 0.08], jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    freedom = int((heights > 0).sum()) - 3
    jacobian: Floats = np.asarray(found.jac)
    matrix = np.linalg.inv(jacobian.T @ jacobian)
    return np.asarray(found.x), np.asarray(matrix * 2 * found.cost / freedom)


def test_equals_scipys_least_squares_on_real_looking_peaks() -> None:
    values = peaks()
    fit = fit_normals(TIMES, values)
    assert fit.converged.all()
    for row, peak in enumerate(values):
        found, covariance = by_scipy(peak)
        assert fit.scale[row] == pytest.approx(found[0], rel=1e-6)
        assert fit.mu[row] == pytest.approx(found[1], rel=1e-6, abs=1e-8)
        assert fit.width[row] == pytest.approx(abs(found[2]), rel=1e-6)
        size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        np.testing.assert_allclose(fit.covariance[row] / size, covariance / size, atol=1e-4)


@settings(derandomize=True, deadline=None)
@given(st.floats(0.1, 1.0), st.floats(-0.1, 0.1), st.floats(0.02, 0.2))
def test_exact_normals_are_recovered(scale: float, mu: float, width: float) -> None:
    fit = fit_normals(TIMES, normal(scale, mu, width)[None, :])
    assert fit.converged[0]
    assert fit.scale[0] == pytest.approx(scale, abs=1e-8)
    assert fit.mu[0] == pytest.approx(mu, abs=1e-8)
    assert fit.width[0] == pytest.approx(width, abs=1e-8)
    assert fit.misfit[0] < 1e-8


def test_a_row_does_not_depend_on_the_others() -> None:
    values = peaks()
    together = fit_normals(TIMES, values)
    for row in (0, 7, 199):
        alone = fit_normals(TIMES, values[row : row + 1])
        assert alone.mu[0] == pytest.approx(together.mu[row], abs=1e-9)
        assert alone.width[0] == pytest.approx(together.width[row], rel=1e-9)


def test_a_shift_of_the_samples_shifts_mu_alone() -> None:
    near, far = fit_normals(TIMES, np.array([normal(0.8, 0.0, 0.08), normal(0.8, 0.03, 0.08)])).mu
    assert far - near == pytest.approx(0.03, abs=1e-8)


def test_missing_samples_of_an_exact_normal_change_nothing() -> None:
    values = normal(0.7, 0.01, 0.07)
    values[:12] = np.nan
    values[40] = np.nan
    fit = fit_normals(TIMES, values[None, :])
    assert fit.converged[0]
    assert fit.mu[0] == pytest.approx(0.01, abs=1e-8)


def test_misfit_is_the_weighted_root_mean_square() -> None:
    values = peaks()[:5]
    fit = fit_normals(TIMES, values)
    for row, peak in enumerate(values):
        known = np.isfinite(peak)
        model = normal(fit.scale[row], fit.mu[row], fit.width[row])
        mean = np.average((peak - model)[known] ** 2, weights=peak[known])
        assert fit.misfit[row] == pytest.approx(np.sqrt(mean), rel=1e-9)


def single(value: float, place: int = 25) -> Floats:
    row = np.full(len(TIMES), np.nan)
    row[place] = value
    return row


@pytest.mark.parametrize(
    "values",
    [
        np.full(len(TIMES), np.nan),
        np.zeros(len(TIMES)),
        np.full(len(TIMES), 0.5),
        np.full(len(TIMES), 1.0),
        single(0.9),
        single(0.9, 0),
        np.nan_to_num(single(0.9)),
        np.where(np.abs(TIMES) < 0.015, 0.5, np.nan),
        np.full(len(TIMES), -0.1),
        np.full(len(TIMES), np.inf),
    ],
    ids=[
        *("all nan", "all zero", "flat", "flat one", "one sample", "one at the edge"),
        *("a spike", "three equal", "negative", "infinite"),
    ],
)
def test_degenerate_peaks_do_not_converge_and_harm_nobody(values: Floats) -> None:
    good = normal(0.8, 0.01, 0.08)
    fit = fit_normals(TIMES, np.array([good, values]))
    assert not fit.converged[1]
    assert fit.converged[0]
    assert fit.mu[0] == pytest.approx(0.01, abs=1e-8)


def test_no_peaks_at_all() -> None:
    fit = fit_normals(TIMES, np.zeros((0, len(TIMES))))
    assert fit.mu.shape == (0,)
    assert fit.covariance.shape == (0, 3, 3)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    hnp.arrays(
        np.float32,
        (3, len(TIMES)),
        elements=st.floats(0, 1, width=32) | st.sampled_from([np.nan, 0.0, 1.0]),
    )
)
def test_nothing_that_a_model_can_give_warns_or_raises(values: npt.NDArray[np.float32]) -> None:
    fit = fit_normals(TIMES, values.astype(np.float64))
    done = fit.converged
    for part in (fit.scale, fit.mu, fit.width, fit.misfit):
        assert np.isfinite(part[done]).all()
    variances = np.diagonal(fit.covariance[done], axis1=1, axis2=2)
    assert (variances >= 0).all()


def test_any_kind_of_array_will_do() -> None:
    times = np.linspace(-0.25, 0.25, 51)
    values = np.exp(-0.5 * (times / 0.1) ** 2)[None] * np.array([[0.5], [0.9]])
    expected = fit_normals(times, values)
    times.setflags(write=False)
    found = fit_normals(times, np.asfortranarray(values))
    np.testing.assert_array_equal(found.mu, expected.mu)
    np.testing.assert_allclose(fit_normals(times, values.astype(np.float32)).scale, expected.scale)


def test_a_fit_is_the_same_to_the_bit_whatever_is_fitted_beside_it() -> None:
    rows = peaks()
    everything = fit_normals(TIMES, rows)
    for count in range(1, 101):  # and so at other places in memory
        some = fit_normals(TIMES, rows[:count])
        for field in fields(NormalFit):
            whole, part = getattr(everything, field.name), getattr(some, field.name)
            same = np.array_equal(part, whole[:count], equal_nan=part.dtype != bool)
            assert same, (count, field.name)
