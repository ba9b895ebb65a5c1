"""Data from the future are kept out, and right data never, whatever the host's clock says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live import clock_guard
from ml_prediction.drivers.live.clock_guard import AHEAD_NS, ClockGuard
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

NOW = 1_700_000_000
YEAR = 31_556_952
HOUR = 3600


def packet(station: str, end: float, channel: str = "HHZ") -> Packet:
    """A packet of a second whose last sample is so many seconds after NOW."""
    start_ns = NOW * NANOSECONDS + round((end - 0.99) * NANOSECONDS)
    return Packet(NSLC("UW", station, "", channel), start_ns, 100.0, np.zeros(100, np.int32))


def network(end: float, stations: int = 10) -> list[Packet]:
    return [packet(f"S{n:02}", end - 0.1 * n) for n in range(stations)]


def at(seconds: float) -> int:
    return NOW * NANOSECONDS + round(seconds * NANOSECONDS)


def test_right_data_pass_in_their_order() -> None:
    packets = network(-1.0)
    assert ClockGuard().part(packets, at(0)) == (packets, [])
    assert ClockGuard().part([], at(0)) == ([], [])


@pytest.mark.parametrize(("end", "good"), [(60.0, True), (60.001, False), (59.0, True)])
def test_the_limit_is_60_s_after_the_hosts_clock(end: float, good: bool) -> None:
    guard = ClockGuard()
    guard.part(network(-1.0), at(0))
    odd = packet("ODD", end)
    assert guard.part([odd], at(0)) == (([odd], []) if good else ([], [odd]))
    assert AHEAD_NS == 60 * NANOSECONDS


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("seconds", [YEAR, 2 * HOUR, 90])
def test_a_station_that_is_ahead_is_told_from_its_network_in_the_first_batch(
    first: bool, seconds: float
) -> None:
    guard = ClockGuard()
    odd, right = packet("ODD", seconds), network(0.0)
    packets = [odd, *right] if first else [*right, odd]
    assert guard.part(packets, at(0)) == (right, [odd])
    for later in range(1, 5):
        odd, right = packet("ODD", seconds + later), network(later)
        assert guard.part([odd, *right], at(later)) == (right, [odd])


@pytest.mark.parametrize("slow", [HOUR, 10 * YEAR])
def test_a_host_whose_clock_is_slow_loses_nothing(slow: float) -> None:
    guard = ClockGuard()
    for second in range(5):
        packets = network(second)
        assert guard.part(packets, at(second - slow)) == (packets, [])
        for each in packets:  # one station at a time, as the ring hands them over
            assert guard.part([each], at(second - slow)) == ([each], [])


def test_a_host_whose_clock_is_slow_still_tells_a_station_that_is_a_year_ahead() -> None:
    guard = ClockGuard()
    for second in range(5):
        odd, right = packet("ODD", second + YEAR), network(second)
        assert guard.part([odd, *right], at(second - HOUR)) == (right, [odd])
    assert guard.part([packet("ODD", YEAR)], at(-HOUR))[0] == []


def test_a_host_whose_clock_is_fast_does_no_harm() -> None:
    guard = ClockGuard()
    packets = network(0.0)
    assert guard.part(packets, at(YEAR)) == (packets, [])


def test_a_host_whose_clock_steps_back_an_hour_loses_nothing() -> None:
    guard = ClockGuard()
    for second in range(10):
        packets = network(second)
        assert guard.part(packets, at(second - (HOUR if second > 5 else 0))) == (packets, [])


def test_old_data_can_be_replayed_beside_new_ones() -> None:
    guard = ClockGuard()
    guard.part(network(0.0), at(0))
    old = network(-YEAR)
    assert guard.part(old, at(1)) == (old, [])
    new = network(1.0)
    assert guard.part(new, at(1)) == (new, [])


def test_of_two_stations_the_host_decides_which_is_ahead() -> None:
    right, odd = packet("AAA", 0.0), packet("ODD", YEAR)
    assert ClockGuard().part([right, odd], at(0)) == ([right], [odd])


def test_a_clock_that_was_mended_is_trusted_at_once() -> None:
    guard = ClockGuard()
    guard.part([*network(0.0), packet("ODD", YEAR)], at(0))
    mended = packet("ODD", 1.0)
    assert guard.part([mended], at(1)) == ([mended], [])


def test_each_station_counts_once_however_many_channels_it_has() -> None:
    guard = ClockGuard()
    odd = [packet("ODD", YEAR, channel) for channel in ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")]
    right = network(0.0, 3)
    assert guard.part([*odd, *right], at(0)) == (right, odd)


def test_the_newest_packet_of_each_station_is_known() -> None:
    guard = ClockGuard()
    guard.part([packet("AAA", 1.0), packet("AAA", -3.0, "HHN"), packet("BBB", 2.0)], at(0))
    assert guard.newest == {("UW", "AAA"): at(1.0), ("UW", "BBB"): at(2.0)}


def test_garbage_that_looks_like_stations_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock_guard, "MOST_STATIONS", 50)
    guard = ClockGuard()
    for n in range(500):
        guard.part([packet(f"X{n}", -n)], at(0))
    assert len(guard.newest) <= 52


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    ends=st.lists(st.floats(-100, 1000), min_size=1, max_size=12),
    host=st.floats(-5000, 5000),
)
def test_the_rule_as_it_is_written(ends: list[float], host: float) -> None:
    packets = [packet(f"S{n}", end) for n, end in enumerate(ends)]
    good, future = ClockGuard().part(packets, at(host))
    sorted_ends = sorted(each.end_ns for each in packets)
    median = sorted_ends[(len(ends) - 1) // 2]
    limit = max(at(host), median) + 60 * NANOSECONDS
    assert good == [each for each in packets if each.end_ns <= limit]
    assert future == [each for each in packets if each.end_ns > limit]
