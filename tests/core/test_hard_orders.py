"""I1 and I4 in corners: the lateness bound, drifting headers, changes of rate and of sensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import (
    START_NS,
    EnergyEngine,
    Windows,
    assert_same,
    assert_same_picks,
    assert_same_windows,
    between,
    channels_of,
    fake_model,
    fake_spec,
    in_time_order,
    make_packet,
    noise_with_pulses,
    run,
    three_components,
    utc,
    windows,
    without,
)
from obspy import Inventory

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.models import Model
from ml_prediction.util.times import NANOSECONDS

Floats32 = npt.NDArray[np.float32]

MINUTE = noise_with_pulses(np.random.default_rng(41), 60.0, 100.0)


def fresh() -> np.random.Generator:
    """Its own for each test, so that the order of tests changes nothing."""
    return np.random.default_rng(42)


class Everything(EnergyEngine):
    """P wherever there is energy, on any component."""

    def __call__(self, batch: Floats32) -> Floats32:
        found = super().__call__(batch)
        found[:, 1] = np.maximum(found[:, 1], found[:, 2])
        return found


def everything() -> Model:
    return Model(fake_spec(), Everything())


def alone(*pushes: list[Packet], **options: Any) -> Windows:
    """Windows of one channel that is known to be alone."""
    return windows(fake_spec(), list(pushes), expected=[pushes[0][0].nslc], **options)


@pytest.mark.parametrize("rate", [99.995, 99.9998, 100.0, 100.004])
def test_a_duplicate_is_free_whatever_the_header_drifts(rate: float) -> None:
    whole = make_packet(noise_with_pulses(fresh(), 300.0, 100.0), rate=rate)
    again = whole.slice(20000, 22000)
    twice = alone([whole, again])
    assert_same_windows(alone([whole]), twice)
    assert twice.summary.skipped["samples: duplicate"] == 2000
    assert "samples: disagree" not in twice.summary.skipped


@pytest.mark.parametrize("offset_ns", [0, 40_000, 49_000])
@pytest.mark.parametrize("sample", range(100, 104))
def test_a_sample_at_the_very_bound_of_the_lateness_is_used(offset_ns: int, sample: int) -> None:
    whole = make_packet(MINUTE, start_ns=START_NS + offset_ns)
    newest = sample + 1001  # exactly 10 s later
    pushes = [(0, sample), (sample + 1, newest), (sample, sample + 1), (newest, 6000)]
    bound = alone(*([whole.slice(a, b)] for a, b in pushes))
    assert_same_windows(alone([whole]), bound)
    assert not bound.summary.skipped


@pytest.mark.parametrize("first", range(3))
def test_the_newest_sample_counts_with_its_own_time(first: int) -> None:
    """At 75 Hz no sample lies on a whole nanosecond: rounding twice would call one late."""
    whole = make_packet(np.arange(3000.0), rate=75.0)
    late = whole.slice(first, first + 1)
    newest = whole.slice(first + 1, first + 751)
    is_late = newest.end_ns - 10 * NANOSECONDS > late.start_ns
    found = alone([whole.slice(0, first)], [newest], [late])
    assert len(found.late) == is_late


@pytest.mark.parametrize("rates", [(100.0, 200.0), (200.0, 100.0)])
def test_the_old_rates_duplicate_does_not_touch_the_new_segment(rates: tuple[float, float]) -> None:
    rng = fresh()
    before, after = rates
    old = make_packet(noise_with_pulses(rng, 20.0, before), rate=before)
    new = make_packet(
        noise_with_pulses(rng, 10.0, after), rate=after, start_ns=START_NS + 20 * NANOSECONDS
    )
    again = old.slice(len(old) - 50, len(old))
    pushes = [[old], [between(new, 0, 2)], [again], [between(new, 2, 10)]]
    disturbed = alone(*pushes)
    assert_same_windows(alone([old, new]), disturbed)
    assert disturbed.summary.skipped == {"samples: duplicate": 50}


@pytest.mark.parametrize("moved_ns", [0, NANOSECONDS // 200])
def test_packets_are_placed_by_the_phase_of_their_own_segment(moved_ns: int) -> None:
    """Half a sample off after a gap, with headers that jitter by 20 microseconds."""
    first = make_packet(MINUTE[:500], start_ns=START_NS + moved_ns)
    begin = START_NS + 6 * NANOSECONDS + NANOSECONDS // 200
    parts = [
        make_packet(
            MINUTE[600 + 100 * k : 700 + 100 * k],
            start_ns=begin + k * NANOSECONDS + (20_000 if k % 2 == 0 else -20_000),
        )
        for k in range(40)
    ]
    again = parts[0].slice(50, 100)
    whole = alone([first, *parts])
    assert not whole.summary.notes
    assert_same_windows(whole, alone([first], *([part] for part in parts)))
    twice = alone([first, *parts, again])
    assert_same_windows(whole, twice)
    assert twice.summary.skipped == {"samples: duplicate": 50}


@pytest.mark.parametrize("missing", [1, 2])
def test_late_samples_that_would_fill_a_hole_are_handed_back(missing: int) -> None:
    whole = make_packet(MINUTE)
    hole = whole.slice(1000, 1000 + missing)
    found = alone([whole.slice(0, 1000)], [whole.slice(1000 + missing, 6000)], [hole])
    assert [len(packet) for packet in found.late] == [missing]
    assert found.summary.skipped == {"samples: late": missing}


def test_late_packets_keep_their_rate() -> None:
    whole = make_packet(MINUTE, rate=99.995)
    found = alone([whole.slice(3000, 6000)], [whole.slice(0, 500)])
    assert [(packet.sampling_rate, len(packet)) for packet in found.late] == [(99.995, 500)]


def test_a_duplicate_of_one_sample_is_a_duplicate() -> None:
    whole = make_packet(MINUTE)
    found = alone([whole], [whole.slice(5500, 5501)])
    assert found.summary.skipped == {"samples: duplicate": 1}
    assert not found.summary.notes


@pytest.mark.parametrize("early", [0.0, 8.0])
def test_sensors_that_are_renamed_may_come_in_any_order(early: float) -> None:
    rng = fresh()
    moved = START_NS + 20 * NANOSECONDS
    old = [make_packet(noise_with_pulses(rng, 20.0, 100.0), "HH" + c) for c in "123"]
    new = [
        make_packet(noise_with_pulses(rng, 20.0, 100.0), "HH" + c, start_ns=moved) for c in "ENZ"
    ]
    pushes = [
        [between(p, 0, 20 - early) for p in old],
        [between(p, 0, 1) for p in new],
        [between(p, 20 - early, 20) for p in old],
        [between(p, 1, 20) for p in new],
    ]
    pushes = [[packet for packet in push if len(packet)] for push in pushes]
    whole = windows(fake_spec(), [old + new])
    for others in ([new + old], in_time_order(old + new, 2.0), pushes):
        assert_same_windows(whole, windows(fake_spec(), others))


def test_odd_rates_that_wobble_are_one_rate() -> None:
    rates = [99.85, 99.858, 99.85, 99.845]
    parts = []
    start_ns = START_NS
    for rate in rates:
        packet = make_packet(noise_with_pulses(fresh(), 12.0, 100.0), rate=rate, start_ns=start_ns)
        parts.append(packet)
        start_ns = packet.sample_ns(len(packet))
    whole = alone(parts)
    assert len(whole.arrays) > 40
    assert_same_windows(whole, alone(parts[::-1]))
    assert_same_windows(whole, alone(*([part] for part in parts)))


@pytest.mark.parametrize("gap", [0.0, 16.0])
def test_odd_rates_that_wobble_may_come_twice_and_after_gaps(gap: float) -> None:
    rng = fresh()
    first = make_packet(noise_with_pulses(rng, 20.0, 47.3), rate=47.3)
    begin_ns = first.sample_ns(len(first)) + round(gap * NANOSECONDS)
    second = make_packet(noise_with_pulses(rng, 30.0, 47.3), rate=47.301, start_ns=begin_ns)
    whole = alone([first, second])
    twice = alone([first, second, replace(second, samples=second.samples.copy())])
    assert_same_windows(whole, twice)
    assert twice.summary.skipped["samples: duplicate"] == len(second)
    assert_same_windows(whole, alone(*in_time_order([first, second], 1.0)))


@pytest.mark.parametrize("rates", [(100.0, 50.0), (200.0, 50.0), (1000.0, 100.0)])
@pytest.mark.parametrize("held_back", [1, 2, 5])
def test_the_last_samples_before_a_lower_rate_may_come_after_it(
    rates: tuple[float, float], held_back: int
) -> None:
    before, after = rates
    rng = fresh()
    old = make_packet(noise_with_pulses(rng, 20.0, before), rate=before)
    moved = START_NS + 20 * NANOSECONDS
    new = make_packet(noise_with_pulses(rng, 20.0, after), rate=after, start_ns=moved)
    early, last = old.slice(0, len(old) - held_back), old.slice(len(old) - held_back, len(old))
    found = alone([early], [between(new, 0, 2)], [last], [between(new, 2, 20)])
    assert_same_windows(alone([old, new]), found)
    assert "samples: duplicate" not in found.summary.skipped


def test_a_pick_is_named_after_the_channel_that_it_was_measured_on() -> None:
    """Two sensors of one component, the second a thousand times weaker and a second long."""
    z, n, e = three_components(fresh(), 40.0)
    weak = replace(
        between(n, 17, 40),
        nslc=n.nslc._replace(channel="HHN"),
        samples=n.samples[1700:].astype(np.float64) / 1000,
    )
    strong = replace(n, nslc=n.nslc._replace(channel="HH1"))
    found = run(everything(), [[z, strong, weak, e]])
    measured = [p for p in found.picks if p.phase == "S" and p.amplitude > 0]
    assert {p.channel for p in measured} == {"HH1", "HHN"}
    for p in measured:
        assert (p.amplitude > 100) == (p.channel == "HH1"), (p.channel, p.amplitude)


def test_a_declared_component_that_starts_late_changes_no_pick_before_it() -> None:
    z, *horizontals = three_components(fresh(), 120.0)
    packets = [between(z, 60, 120), *horizontals]
    expected = channels_of(packets)
    whole = run(everything(), [packets], expected=expected)
    assert_same(whole, run(everything(), in_time_order(packets, 2.0), expected=expected))
    early = [p for p in whole.picks if p.phase == "P" and utc(10) < p.time < utc(50)]
    assert len(early) > 5
    assert {p.channel for p in early} == {"HHN"}
    assert all(p.snr > 0 for p in early)


def test_picks_go_on_what_exists_where_the_vertical_is_dead() -> None:
    z, *horizontals = three_components(fresh(), 60.0)
    packets = [between(z, 0, 30), *horizontals]
    found = run(everything(), [packets], expected=channels_of(packets)).picks
    onsets = [p for p in found if p.phase == "P"]
    assert {p.channel for p in onsets if p.time < utc(29)} == {"HHZ"}
    assert {p.channel for p in onsets if p.time > utc(40)} == {"HHN"}


@pytest.mark.parametrize("batch_size", [9, 1024])
def test_waveforms_are_measured_when_they_are_there(batch_size: int) -> None:
    """Undeclared verticals: their last windows close at the flush, a batch at a time."""
    packets = [
        make_packet(
            noise_with_pulses(fresh(), 40.0, 100.0, every=1.3, pulse=0.1), station=f"S{number}"
        )
        for number in range(8)
    ]
    model = fake_model(in_samples=3001)
    options = {"horizon": 1.0, "batch_size": batch_size}
    known = run(model, [packets], expected=channels_of(packets), horizon=1.0)
    assert len(known.picks) > 100
    assert_same_picks(known.picks, run(model, in_time_order(packets, 0.5), **options).picks)


def test_a_component_that_is_left_out_for_want_of_samples_is_counted() -> None:
    z, n, e = three_components(fresh(), 60.0)
    found = windows(fake_spec(), [[z, *without(n, [(10.0, 0.9), (30.0, 1.5)]), e]])
    assert found.summary.skipped["windows of a channel: too few samples"] > 0
    assert found.summary.examples["windows of a channel: too few samples"] == str(n.nslc)


def test_the_last_detection_of_a_dead_station_leaves_by_itself() -> None:
    packets = [between(packet, 0, 59) for packet in three_components(fresh(), 60.0)]
    pipeline = Pipeline(fake_model(), expected=channels_of(packets))
    for push in in_time_order(packets, 1.0):
        pipeline.push(push)
    instrument = packets[0].nslc.instrument
    last = pipeline.advance(instrument, utc(59 + 125)).detections
    assert last
    assert pipeline.flush().detections == []


def test_an_instrument_without_a_response_is_forgotten_in_time() -> None:
    rng = fresh()
    nothing = Inventory(networks=[], source="test")
    pipeline = Pipeline(fake_model(), inventory=nothing, response="remove")
    sizes = []
    for minute in range(6):
        start_ns = START_NS + minute * 60 * NANOSECONDS
        samples = rng.integers(-1000, 1000, 6000)  # nothing that a snapshot could compress
        pipeline.push([make_packet(samples, "HH" + c, start_ns=start_ns) for c in "ZNE"])
        sizes.append(len(pipeline.snapshot()))
    assert sizes[-1] < 1.2 * sizes[1]
    assert pipeline.summary.skipped["windows of a channel: no response"] > 900


def test_a_horizon_is_not_rounded_up() -> None:
    """A window that ends 1.01 s after a sample does not end at most 1.006 s after it."""
    packets = three_components(fresh(), 20.0)
    one, other = (run(fake_model(), [packets], horizon=h) for h in (1.0, 1.006))
    assert_same(one, other)
