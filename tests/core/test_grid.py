"""The sample grid, against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.grid import (
    USUAL_RATES,
    grid_rate,
    index_from,
    index_of,
    phase_of,
    same_rate,
    samples_in,
    time_of,
)
from ml_prediction.util.times import NANOSECONDS

rates = st.sampled_from(USUAL_RATES)
phases = st.integers(-25, 74)
times_ns = st.integers(-(10**18), 4 * 10**18)
indices = st.integers(-(10**12), 4 * 10**12)


def samples(time_ns: int, rate: Fraction) -> Fraction:
    """Time in samples, exactly."""
    return Fraction(time_ns, NANOSECONDS) * rate


def distance(time_ns: int, index: int, rate: Fraction, phase: int) -> Fraction:
    """From a grid point to a time, in samples, exactly."""
    return samples(time_ns, rate) - index - Fraction(phase, 100)


@settings(derandomize=True, deadline=None)
@given(indices, rates, phases)
def test_time_of_is_the_nearest_nanosecond(index: int, rate: Fraction, phase: int) -> None:
    exact = (index + Fraction(phase, 100)) / rate * NANOSECONDS
    assert abs(time_of(index, rate, phase) - exact) <= Fraction(1, 2)


@settings(derandomize=True, deadline=None)
@given(indices, rates, phases)
def test_index_to_time_and_back(index: int, rate: Fraction, phase: int) -> None:
    assert index_of(time_of(index, rate, phase), rate, phase) == index


@settings(derandomize=True, deadline=None)
@given(times_ns, rates, phases)
def test_index_of_is_the_nearest_sample(time_ns: int, rate: Fraction, phase: int) -> None:
    index = index_of(time_ns, rate, phase)
    assert -Fraction(1, 2) <= distance(time_ns, index, rate, phase) < Fraction(1, 2)


@settings(derandomize=True, deadline=None)
@given(times_ns, rates, phases)
def test_index_from_is_the_first_sample_not_before(
    time_ns: int, rate: Fraction, phase: int
) -> None:
    index = index_from(time_ns, rate, phase)
    assert -1 < distance(time_ns, index, rate, phase) <= 0


@settings(derandomize=True, deadline=None)
@given(times_ns, rates)
def test_a_phase_lies_in_its_range_and_within_half_a_hundredth(
    time_ns: int, rate: Fraction
) -> None:
    index, phase = phase_of(time_ns, rate)
    assert -25 <= phase < 75
    assert abs(distance(time_ns, index, rate, phase)) <= Fraction(1, 200)
    assert index_of(time_ns, rate, phase) == index


@settings(derandomize=True, deadline=None)
@given(indices, rates, phases)
def test_phase_of_a_grid_time_is_that_phase(index: int, rate: Fraction, phase: int) -> None:
    assert phase_of(time_of(index, rate, phase), rate) == (index, phase)


@settings(derandomize=True, deadline=None)
@given(
    st.integers(10**10, 10**11),
    st.integers(0, 10**6),
    st.sampled_from([Fraction(r) for r in (20, 40, 50, 100, 125, 200, 250, 500, 1000)]),
    st.sampled_from([0, 10, 25, 50, 60]),
    st.sampled_from([100_000, 1_000]),
)
def test_rounded_headers_move_no_index(
    first: int, later: int, rate: Fraction, hundredths: int, unit: int
) -> None:
    """0.1 ms (miniSEED) and 1 us: joints stay joints, on the grid and half a sample off it."""

    def header(index: int) -> int:
        exact = (index + Fraction(hundredths, 100)) / rate * NANOSECONDS
        return round(exact / unit) * unit

    start, phase = phase_of(header(first), rate)
    assert start == first
    assert index_of(header(first + later), rate, phase) == first + later


@pytest.mark.parametrize("unit", [100_000, 1_000, 1])
@pytest.mark.parametrize("rate", [100, 128, 200, 500])
def test_half_sample_channels_have_no_broken_joint(rate: int, unit: int) -> None:
    grid = Fraction(rate)
    begin = 1_700_000_000 * rate
    exact = [(begin + n + Fraction(1, 2)) / grid * NANOSECONDS for n in range(0, 100_000, 37)]
    headers = [round(time / unit) * unit for time in exact]
    _, phase = phase_of(headers[0], grid)
    found = [index_of(time, grid, phase) - begin for time in headers]
    assert found == list(range(0, 100_000, 37))


@settings(derandomize=True, deadline=None)
@given(rates, st.floats(-0.99e-4, 0.99e-4))
def test_headers_near_a_usual_rate_mean_it(rate: Fraction, error: float) -> None:
    assert grid_rate(float(rate) * (1 + error), 100.0) == rate


@settings(derandomize=True, deadline=None)
@given(st.floats(20, 1000))
def test_any_rate_between_20_and_1000_is_supported_and_close(header: float) -> None:
    rate = grid_rate(header, 100.0)
    assert rate is not None
    assert same_rate(header, rate)
    assert max((rate / 100).denominator, rate.denominator) <= 1000


@pytest.mark.parametrize(
    "header",
    [0.0, -100.0, math.nan, math.inf, -math.inf, 1e-300, 1.0, 10.0, 19.99, 1000.2, 4000.0, 1e300],
)
def test_unsupported_rates(header: float) -> None:
    assert grid_rate(header, 100.0) is None


@pytest.mark.parametrize(
    ("header", "rate"),
    [(19.9985, 20), (1000.05, 1000), (99.9998, 100), (62.4999, Fraction(125, 2))],
)
def test_the_ends_of_the_range_are_usual_rates_too(header: float, rate: Fraction) -> None:
    assert grid_rate(header, 100.0) == rate


@pytest.mark.parametrize("model_rate", [50.0, 66.667, 100.0, 125.0])
def test_an_odd_rate_is_a_ratio_of_small_integers_to_the_models(model_rate: float) -> None:
    rate = grid_rate(37.7, model_rate)
    assert rate is not None
    assert same_rate(37.7, rate)


@pytest.mark.parametrize(
    ("seconds", "rate", "count"),
    [(0.2, Fraction(100), 20), (0.2, Fraction(125, 2), 12), (0.2, Fraction(20), 4), (0.3, 10, 3)],
)
def test_samples_in_a_span(seconds: float, rate: Fraction, count: int) -> None:
    assert samples_in(seconds, Fraction(rate)) == count


def test_nanoseconds_stay_exact_far_from_the_epoch() -> None:
    time_ns = 2**62 + 1
    index, phase = phase_of(time_ns, Fraction(1000))
    assert time_ns - time_of(index, Fraction(1000), phase) <= 5_000
    assert phase_of(time_of(index, Fraction(1000), phase), Fraction(1000)) == (index, phase)
