"""Data from the future are kept out, and right data never, whatever the host's clock says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.clock_guard import AHEAD_NS, HEARD_SECONDS, STEADY, ClockGuard
from ml_prediction.drivers.live.silence import FORGET_SECONDS
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


def test_what_was_heard_is_ahead_only_by_the_later_of_host_and_network() -> None:
    guard = ClockGuard()
    assert not guard.is_ahead(at(YEAR), at(0))  # nobody knows better
    guard.part(network(0.0), at(-HOUR))
    assert guard.is_ahead(at(61), at(-HOUR))
    assert not guard.is_ahead(at(59), at(-HOUR))
    assert guard.is_ahead(at(HOUR + 61), at(HOUR))
    assert not guard.is_ahead(at(HOUR + 59), at(HOUR))


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


# -- who counts -------------------------------------------------------------------------------


class Clock:
    """Monotonic seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def garbage(count: int, end: float = YEAR) -> list[Packet]:
    """Codes that nobody has, each once."""
    return [packet(f"X{n:03}", end + n) for n in range(count)]


def test_many_codes_in_garbage_seen_once_do_not_let_the_future_in() -> None:
    guard = ClockGuard()
    for second in range(STEADY):
        guard.part(network(second, 200), at(second))
    odd = garbage(201)
    for each in odd:
        assert guard.part([each], at(3)) == ([], [each])
    right = network(4.0, 200)
    assert guard.part([*right, *odd], at(4)) == (right, odd)  # they come again: not steady yet


@pytest.mark.parametrize("slow", [HOUR, YEAR])
def test_garbage_in_a_network_does_not_shut_it_out_of_a_host_that_is_slow(slow: float) -> None:
    guard = ClockGuard()
    for second in range(STEADY):
        guard.part(network(second, 200), at(second - slow))
    guard.part(garbage(300, -10 * YEAR), at(3 - slow))
    for each in network(4.0, 200):
        assert guard.part([each], at(4 - slow)) == ([each], [])


@pytest.mark.parametrize("stations", [1, 2, 3, 50])
@pytest.mark.parametrize("packets", [1, 2, 3, 7])
def test_a_host_that_is_an_hour_slow_loses_nothing_of_the_first_batch(
    stations: int, packets: int
) -> None:
    """As after a start: the ring holds several packets of a station."""
    guard = ClockGuard()
    batch = [each for second in range(packets) for each in network(second, stations)]
    assert guard.part(batch, at(packets - HOUR)) == (batch, [])


def test_a_clock_of_the_host_that_goes_wrong_costs_a_running_network_nothing() -> None:
    guard = ClockGuard()
    for second in range(20):
        slow = HOUR if second >= 10 else 0
        for each in network(second, 30):
            assert guard.part([each], at(second - slow)) == ([each], [])


def test_new_stations_of_a_network_pass_beside_its_steady_ones() -> None:
    guard = ClockGuard()
    for second in range(5):
        guard.part(network(second), at(second - HOUR))
    new = packet("NEW", 5.0)
    assert guard.part([new], at(5 - HOUR)) == ([new], [])


@pytest.mark.parametrize(("steady", "good"), [(2, False), (3, True)])
def test_three_steady_stations_are_a_network(steady: int, good: bool) -> None:
    """With fewer all count, those of garbage too."""
    guard = ClockGuard()
    for second in range(3):
        guard.part(network(second, steady), at(second - HOUR))
    guard.part(garbage(9, -10 * YEAR), at(3 - HOUR))
    each = packet("S00", 4.0)
    assert guard.part([each], at(4 - HOUR)) == (([each], []) if good else ([], [each]))


@pytest.mark.parametrize(("pause", "counts"), [(599.0, True), (601.0, False)])
def test_stations_that_have_sent_nothing_for_10_minutes_do_not_count(
    pause: float, counts: bool
) -> None:
    clock = Clock()
    guard = ClockGuard(clock)
    for second in range(3):  # they ran ahead of a host that is slow
        guard.part(network(HOUR + second), at(0))
    clock.now += pause
    right = network(pause, 3)
    guard.part(right, at(pause))
    odd = packet("ODD", HOUR)
    assert guard.part([odd], at(pause)) == (([odd], []) if counts else ([], [odd]))
    assert HEARD_SECONDS == 600.0


def test_what_has_sent_nothing_for_an_hour_is_forgotten() -> None:
    clock = Clock()
    guard = ClockGuard(clock)
    guard.part(garbage(500, -YEAR), at(0))
    assert len(guard.newest) == 500
    clock.now += FORGET_SECONDS
    guard.part(network(HOUR), at(HOUR))
    guard.forget()
    assert len(guard.newest) == 510
    clock.now += 1.0
    guard.forget()
    assert sorted(guard.newest) == [("UW", f"S{n:02}") for n in range(10)]


def test_a_station_that_was_forgotten_begins_anew() -> None:
    clock = Clock()
    guard = ClockGuard(clock)
    for second in range(3):
        guard.part(network(second), at(second))
    clock.now += FORGET_SECONDS + 1
    guard.forget()
    assert guard.newest == {}
    guard.part(garbage(20), at(HOUR))  # nobody is steady now, and all of them say the same
    assert guard.part([packet("S00", YEAR)], at(HOUR))[1] == []


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
