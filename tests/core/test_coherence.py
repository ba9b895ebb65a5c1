"""Mean and semblance, against the formulas written out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_prediction.core.coherence import semblance, weighted_mean

Floats = npt.NDArray[np.float64]
PROBABILITIES = st.one_of(st.just(np.nan), st.just(0.0), st.floats(0, 1, width=32))


def traces(most: int = 4) -> st.SearchStrategy[Floats]:
    shapes = st.tuples(st.integers(1, most), st.integers(1, 60))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=PROBABILITIES))


def directly(values: Floats, half: int, at: int) -> float:
    """Semblance at one sample, as the papers write it: sums over time of sums over members."""
    numerator = denominator = 0.0
    for t in range(at - half, at + half + 1):
        members = [float(p) for p in values[:, t] if not np.isnan(p)]
        numerator += sum(members) ** 2
        denominator += len(members) * sum(p * p for p in members)
    return numerator / denominator if denominator else 0.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(values=traces(), half=st.integers(0, 12), start=st.integers(0, 2**40))
def test_semblance_is_the_formula_of_the_papers(values: Floats, half: int, start: int) -> None:
    if values.shape[1] <= 2 * half:
        return
    found = semblance(values, half, start)
    expected = [directly(values, half, at) for at in range(half, values.shape[1] - half)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(values=traces(), half=st.integers(0, 5), start=st.integers(0, 2**40), data=st.data())
def test_semblance_is_the_same_bit_for_bit_however_the_traces_are_cut(
    values: Floats, half: int, start: int, data: st.DataObject
) -> None:
    whole = semblance(values, half, start) if values.shape[1] > 2 * half else np.zeros(0)
    if not len(whole):
        return
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first + 1, len(whole)))
    part = semblance(values[:, first : last + 2 * half], half, start + first)
    assert part.tobytes() == whole[first:last].tobytes()


def test_semblance_is_one_where_all_agree_and_a_fraction_where_one_stands_alone() -> None:
    bump = np.exp(-(np.linspace(-3, 3, 101) ** 2))
    np.testing.assert_allclose(semblance(np.array([bump, bump, bump]), 5), 1.0)
    alone = np.array([bump, 0 * bump, 0 * bump])
    np.testing.assert_allclose(semblance(alone, 5), 1 / 3)
    nobody_else = np.array([bump, np.nan * bump, np.nan * bump])
    np.testing.assert_allclose(semblance(nobody_else, 5), 1.0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(values=traces(), data=st.data())
def test_the_mean_is_that_of_the_members_that_have_a_number(
    values: Floats, data: st.DataObject
) -> None:
    shares = np.array(
        data.draw(st.lists(st.floats(0.1, 10), min_size=len(values), max_size=len(values)))
    )
    found = weighted_mean(values, shares)
    for column, mean in zip(values.T, found, strict=True):
        known = ~np.isnan(column)
        if known.any():
            np.testing.assert_allclose(mean, np.average(column[known], weights=shares[known]))
        else:
            assert np.isnan(mean)
