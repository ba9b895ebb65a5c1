"""Times are exact integer nanoseconds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import UTCDateTime

from ml_prediction.util.times import NANOSECONDS, isoformat, seconds_to_ns, to_ns, to_utc

times_ns = st.integers(-(10**18), 4 * 10**18)  # 1938 to 2096


@settings(derandomize=True, deadline=None)
@given(times_ns)
def test_a_time_survives_the_way_through_obspy(time_ns: int) -> None:
    assert to_ns(to_utc(time_ns)) == time_ns


@settings(derandomize=True, deadline=None)
@given(times_ns, st.integers(-(10**12), 10**12))
def test_differences_are_exact(time_ns: int, step_ns: int) -> None:
    assert to_ns(to_utc(time_ns + step_ns)) - to_ns(to_utc(time_ns)) == step_ns


@settings(derandomize=True, deadline=None)
@given(st.floats(-1e6, 1e6))
def test_seconds_become_the_nearest_nanosecond(seconds: float) -> None:
    error = abs(Fraction(seconds_to_ns(seconds), NANOSECONDS) - Fraction(seconds))
    # half a nanosecond, and the one rounding of a float product
    assert error <= Fraction(1, 2 * NANOSECONDS) + abs(Fraction(seconds)) * Fraction(1, 2**53)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1_000, "1969-12-31T23:59:59.999999Z"),
        (1_251_073_207_720_000_000, "2009-08-24T00:20:07.720000Z"),
        (1_251_073_207_720_000_499, "2009-08-24T00:20:07.720000Z"),
        (1_251_073_207_720_000_500, "2009-08-24T00:20:07.720001Z"),
        (1_251_073_199_999_999_999, "2009-08-24T00:20:00.000000Z"),
    ],
)
def test_isoformat_rounds_to_microseconds_and_carries(time_ns: int, text: str) -> None:
    assert isoformat(to_utc(time_ns)) == text


@settings(derandomize=True, deadline=None)
@given(times_ns)
def test_isoformat_is_read_back_to_half_a_microsecond(time_ns: int) -> None:
    assert abs(to_ns(UTCDateTime(isoformat(to_utc(time_ns)))) - time_ns) <= 500


@settings(derandomize=True, deadline=None)
@given(times_ns, times_ns)
def test_isoformat_sorts_as_time_does(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert isoformat(to_utc(first)) <= isoformat(to_utc(second))
