"""What is late, what becomes of it, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from core.packetise import (
    START_NS,
    Pushes,
    assert_same,
    assert_same_windows,
    between,
    channels_of,
    fake_model,
    fake_spec,
    in_time_order,
    make_packet,
    run,
    three_components,
    utc,
    windows,
    without,
)

from ml_prediction.core.lateness import Accepted
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.windows import Window
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS

LATENESS = 10.0
WINDOW, STRIDE = 2.0, 1.0  # seconds, of the fake model
ABC = Instrument("XX", "ABC", "", "HH")


@pytest.fixture
def zne() -> list[Packet]:
    """30 s of three components; the newest sample is at 29.99 s, so the limit is at 19.99 s."""
    return three_components(np.random.default_rng(11), 30.0)


def ends(pushes: Pushes, expected: Iterable[NSLC] = ()) -> dict[str, list[tuple[float, float]]]:
    """By station: for each push the watermark, and the end of the windows out by then."""
    spec = fake_spec()
    stage = Preprocessor(spec, stride=spec.stride, lateness=LATENESS, expected=expected)
    result: dict[str, list[tuple[float, float]]] = {}
    newest: dict[str, float] = {}
    reached: dict[str, float] = {}
    for push in pushes:
        for packet in push:
            end = (packet.end_ns - START_NS) / NANOSECONDS
            station = packet.nslc.station
            newest[station] = max(newest.get(station, end), end)
        for item in stage.add(push)[0]:
            if isinstance(item, Window):
                start = item.index * STRIDE - START_NS / NANOSECONDS
                reached[item.instrument.station] = start + WINDOW
        for station, time in newest.items():
            result.setdefault(station, []).append((time, reached.get(station, -np.inf)))
    return result


def delays(steps: list[tuple[float, float]]) -> list[float]:
    """How far the windows lag behind what the watermark allows, past the start-up."""
    return [
        np.floor(watermark + 0.01) - end for watermark, end in steps if watermark > LATENESS + 5
    ]


# -- late samples -------------------------------------------------------------------------------


def test_late_samples_are_discarded_counted_and_returned(zne: list[Packet]) -> None:
    z, n, e = zne
    late = between(z, 5, 6)
    rest = [*without(z, [(5.0, 1.0)]), n, e]
    pipeline = Pipeline(fake_model())
    first = pipeline.push(rest)
    assert first.late == []
    second = pipeline.push([late])
    (returned,) = second.late
    assert (returned.nslc, returned.start_ns) == (late.nslc, late.start_ns)
    assert returned.sampling_rate == late.sampling_rate
    np.testing.assert_array_equal(returned.samples, late.samples)
    assert pipeline.summary.skipped["samples: late"] == 100
    assert second.picks == []
    with_late, without_it = windows(fake_spec(), [rest, [late]]), windows(fake_spec(), [rest])
    assert with_late.arrays == without_it.arrays


def test_late_data_is_never_used_even_where_no_window_has_closed(zne: list[Packet]) -> None:
    vertical = zne[0]  # no window can close: the others may still come
    early, recent = between(vertical, 0, 1), between(vertical, 12, 13)
    stage = Preprocessor(fake_spec(), stride=100, lateness=LATENESS)
    items, late = stage.add([recent])
    assert not late
    assert list(items) == []
    items, late = stage.add([early])
    assert list(items) == []
    assert [len(p) for p in late] == [100]


def test_samples_within_the_lateness_are_used(zne: list[Packet]) -> None:
    z, n, e = zne
    pushes = [[*without(z, [(21.0, 2.0)]), n, e], [between(z, 22, 23)], [between(z, 21, 22)]]
    outcome = run(fake_model(), pushes)
    assert outcome.late == []
    assert_same(run(fake_model(), [zne]), outcome)


def test_a_packet_that_is_half_late_is_split(zne: list[Packet]) -> None:
    z, n, e = zne
    pushes = [[*without(z, [(18.0, 4.0)]), n, e], [between(z, 18, 22)]]
    result = windows(fake_spec(), pushes)
    (late,) = result.late
    assert late.start_ns == z.sample_ns(1800)
    assert len(late) == 199  # the sample at 19.99 s is exactly as old as allowed
    assert result.summary.skipped["samples: late"] == 199
    kept = windows(fake_spec(), [[*without(z, [(18.0, 1.99)]), n, e]])
    assert result.arrays == kept.arrays


def test_all_packets_of_a_push_are_simultaneous(zne: list[Packet]) -> None:
    hour = three_components(np.random.default_rng(1), 600.0)
    pieces = [between(p, start, start + 20) for p in hour for start in range(0, 600, 20)]
    backwards = windows(fake_spec(), [pieces[::-1]])
    assert_same_windows(windows(fake_spec(), [hour]), backwards)


def test_what_was_accepted_is_remembered_for_an_hour_and_no_longer() -> None:
    second, accepted = NANOSECONDS, Accepted()
    for number in range(10_000):
        accepted.add(2 * number * second, (2 * number + 1) * second, second // 200)
    remembered = accepted.snapshot()
    newest = remembered[-1][1]
    assert newest == 19_999 * second
    assert len(remembered) == 1801
    assert remembered[0][1] == newest - 3600 * second


def test_the_time_of_one_instrument_is_not_that_of_another(zne: list[Packet]) -> None:
    """Not even of one that is known already."""
    ahead = [replace(p, nslc=p.nslc._replace(station="OLD")) for p in zne]
    ahead = [replace(p, start_ns=p.start_ns + 10**6 * NANOSECONDS) for p in ahead]
    pipeline = Pipeline(fake_model())
    pipeline.push([between(p, 0, 1) for p in zne])
    pipeline.push(ahead)
    assert pipeline.push([p.slice(100, len(p)) for p in zne]).late == []


def test_other_instruments_make_nothing_late(zne: list[Packet]) -> None:
    later = [replace(p, nslc=p.nslc._replace(station="OLD")) for p in zne]
    later = [replace(p, start_ns=p.start_ns + 10**6 * NANOSECONDS) for p in later]
    strong = [replace(p, nslc=p.nslc._replace(channel="EN" + p.nslc.component)) for p in later]
    strong = [replace(p, nslc=p.nslc._replace(station="ABC")) for p in strong]
    pipeline = Pipeline(fake_model())
    pipeline.push(later + strong)
    assert pipeline.push(zne).late == []


def test_another_channel_of_the_instrument_makes_older_data_late(zne: list[Packet]) -> None:
    z, n, e = zne
    result = windows(fake_spec(), [[z, e], [between(n, 0, 5)]])
    assert [len(p) for p in result.late] == [500]


def test_with_no_lateness_only_data_in_order_count(zne: list[Packet]) -> None:
    ordered = in_time_order(zne, 0.5)
    whole = windows(fake_spec(), ordered, lateness=0.0)
    assert whole.late == []
    assert_same_windows(windows(fake_spec(), [zne], lateness=0.0), whole)
    swapped = [*ordered[:20], ordered[21], ordered[20], *ordered[22:]]
    late = windows(fake_spec(), swapped, lateness=0.0).late
    assert sum(map(len, late)) == 150


# -- duplicates ---------------------------------------------------------------------------------


def test_old_duplicates_of_accepted_data_are_duplicates_not_late(zne: list[Packet]) -> None:
    result = windows(fake_spec(), [zne, [between(p, 3, 8) for p in zne]])
    assert result.late == []
    assert result.summary.skipped["samples: duplicate"] == 1500
    assert "samples: late" not in result.summary.skipped


def test_of_an_old_packet_only_what_is_new_is_late(zne: list[Packet]) -> None:
    z, n, e = zne
    result = windows(fake_spec(), [[*without(z, [(5.0, 1.0)]), n, e], [between(z, 4.5, 6.5)]])
    (late,) = result.late
    assert late.start_ns == z.sample_ns(500)
    assert len(late) == 100
    assert result.summary.skipped["samples: late"] == 100
    assert result.summary.skipped["samples: duplicate"] == 100


def test_replayed_backlog_of_an_hour_is_duplicate() -> None:
    long = three_components(np.random.default_rng(2), 3500.0, 20.0)
    pushes = in_time_order(long, 50.0)
    result = windows(fake_spec(), [*pushes, *pushes])
    assert result.late == []
    assert result.summary.skipped["samples: duplicate"] == 3 * 3500 * 20


# -- who waits ----------------------------------------------------------------------------------


def test_complete_instruments_wait_for_nothing() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(3), 60.0), 1.0)
    assert set(delays(ends(pushes)["ABC"])) == {0.0}


@pytest.mark.parametrize("known", [False, True])
def test_a_dead_component_holds_back_by_the_lateness_at_most(known: bool) -> None:
    z, n, e = three_components(np.random.default_rng(4), 90.0)
    packets = [z, n, between(e, 0, 30)]
    steps = ends(in_time_order(packets, 1.0), channels_of(packets) if known else ())["ABC"]
    after = [lag for lag, (time, _) in zip(delays(steps), steps[15:], strict=False) if time > 45]
    assert set(delays(steps)[:10]) == {0.0}
    assert max(after) <= LATENESS + 1
    assert max(after) >= LATENESS


def test_a_gap_on_one_component_waits_for_the_lateness_and_then_catches_up() -> None:
    z, n, e = three_components(np.random.default_rng(5), 90.0)
    pushes = in_time_order([z, n, *without(e, [(30.0, 2.0)])], 1.0)
    steps = dict(ends(pushes)["ABC"])
    lags = {round(time): np.floor(time + 0.01) - end for time, end in steps.items()}
    assert lags[36] == pytest.approx(6.0, abs=1.0)
    assert max(lag for time, lag in lags.items() if time > 15) <= LATENESS + 3
    assert all(lag == 0 for time, lag in lags.items() if time > 44)


def test_a_short_gap_is_not_interpolated_before_its_samples_may_no_longer_come() -> None:
    zne = three_components(np.random.default_rng(6), 60.0)
    z, n, e = zne
    missing = between(z, 30, 30.1)
    holed = in_time_order([*without(z, [(30.0, 0.1)]), n, e], 1.0)
    filled_in = [*holed[:39], [missing], *holed[39:]]
    whole = windows(fake_spec(), [zne])
    assert_same_windows(whole, windows(fake_spec(), filled_in))


def test_a_dead_station_holds_back_nobody() -> None:
    alive = three_components(np.random.default_rng(7), 60.0, station="ABC")
    dead = three_components(np.random.default_rng(8), 20.0, station="DEAD")
    alone, both = ends(in_time_order(alive, 1.0)), ends(in_time_order(alive + dead, 1.0))
    assert both["ABC"] == alone["ABC"]
    lonely = ends(in_time_order(dead, 1.0))["DEAD"]
    found, later = both["DEAD"][: len(lonely)], both["DEAD"][len(lonely) :]
    assert found == lonely  # nor do others drive it on
    assert all(step == lonely[-1] for step in later)


def test_an_undeclared_vertical_runs_one_lateness_behind_and_a_declared_one_does_not() -> None:
    (z,) = three_components(np.random.default_rng(9), 60.0, letters="Z")
    pushes = in_time_order([z], 1.0)
    behind = delays(ends(pushes)["ABC"])
    assert min(behind) >= LATENESS
    assert max(behind) <= LATENESS + 1
    assert set(delays(ends(pushes, [z.nslc])["ABC"])) == {0.0}


def test_a_missing_declared_channel_is_waited_for() -> None:
    z, n, e = three_components(np.random.default_rng(10), 60.0)
    behind = delays(ends(in_time_order([z, n], 1.0), channels_of([z, n, e]))["ABC"])
    assert min(behind) >= LATENESS


def test_declaring_changes_when_windows_close_but_not_the_windows() -> None:
    (z,) = three_components(np.random.default_rng(12), 60.0, letters="Z")
    pushes = in_time_order([z], 1.0)
    declared = windows(fake_spec(), pushes, expected=[z.nslc])
    assert_same_windows(windows(fake_spec(), pushes), declared)


# -- the start of the data ------------------------------------------------------------------------


def test_data_before_the_first_packet_may_still_come(zne: list[Packet]) -> None:
    pushes = [[between(p, 10, 15) for p in zne], [between(p, 5.5, 10) for p in zne]]
    pushes += [[between(p, 15, 30) for p in zne]]
    whole = [[between(p, 5.5, 30) for p in zne]]
    assert_same(run(fake_model(), whole), run(fake_model(), pushes))


def test_components_that_start_one_after_the_other_give_the_same_windows(
    zne: list[Packet],
) -> None:
    z, n, e = zne
    pushes = [[between(z, 0, 4)], [between(n, 0, 8)], [between(e, 0, 6)]]
    pushes += [[between(z, 4, 30), between(n, 8, 30), between(e, 6, 30)]]
    assert_same_windows(windows(fake_spec(), [zne]), windows(fake_spec(), pushes))


# -- silence --------------------------------------------------------------------------------------


def test_advance_closes_the_windows_of_a_silent_instrument(zne: list[Packet]) -> None:
    whole = run(fake_model(), [zne])
    pipeline = Pipeline(fake_model())
    picks = pipeline.push(zne).picks
    part = pipeline.advance(ABC, utc(29.99 + 120))
    picks += part.picks
    assert part.picks or len(picks) == len(whole.picks)
    assert {p.id for p in picks} == {p.id for p in whole.picks if p.peak_time < utc(29)}
    assert {p.id for p in whole.picks} - {p.id for p in picks} == {
        p.id for p in pipeline.flush().picks
    }


def test_what_comes_for_the_time_before_an_advance_is_late() -> None:
    zne = three_components(np.random.default_rng(13), 60.0)
    pipeline = Pipeline(fake_model())
    pipeline.push([between(p, 0, 20) for p in zne])
    pipeline.advance(ABC, utc(50))
    late = pipeline.push([between(p, 20, 60) for p in zne]).late
    assert [(p.start_ns, len(p)) for p in late] == [(p.sample_ns(2000), 2000) for p in zne]


def test_advance_of_what_is_unknown_or_in_the_past_does_nothing(zne: list[Packet]) -> None:
    pipeline = Pipeline(fake_model())
    unknown = pipeline.advance(Instrument("XX", "NONE", "", "HH"), utc(0))
    assert not unknown.picks
    pushes = in_time_order(zne, 1.0)
    picks = []
    for push in pushes:
        picks += pipeline.push(push).picks
        picks += pipeline.advance(ABC, utc(-1000)).picks
    picks += pipeline.flush().picks
    assert [p.id for p in picks] == [p.id for p in run(fake_model(), pushes).picks]


def test_an_instrument_goes_on_after_silence() -> None:
    zne = three_components(np.random.default_rng(14), 200.0)
    pipeline = Pipeline(fake_model())
    picks = pipeline.push([between(p, 0, 20) for p in zne]).picks
    picks += pipeline.advance(ABC, utc(140)).picks
    picks += pipeline.push([between(p, 150, 200) for p in zne]).picks
    picks += pipeline.flush().picks
    gap = [between(p, a, b) for p in zne for a, b in ((0, 20), (150, 200))]
    whole = run(fake_model(), [gap])
    assert {p.id for p in picks} == {p.id for p in whole.picks}


def test_declared_channels_that_never_come_are_no_error() -> None:
    packet = make_packet(np.arange(100.0))
    assert run(fake_model(), [[packet]], expected=[NSLC("XX", "NO", "", "HHZ")]).late == []
