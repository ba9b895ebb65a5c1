"""Instruments that change, and headers that are not quite true: the same whatever the pushes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from core.packetise import (
    START_NS,
    assert_same,
    assert_same_windows,
    fake_model,
    in_time_order,
    make_packet,
    noise_with_pulses,
    run,
    three_components,
    windows,
    without,
)

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.util.times import NANOSECONDS

SECONDS = 60.0


def named(packet: Packet, channel: str) -> Packet:
    return replace(packet, nslc=packet.nslc._replace(channel=channel))


def after(packet: Packet, seconds: float) -> Packet:
    return packet.slice(round(seconds * packet.sampling_rate), len(packet))


def before(packet: Packet, seconds: float) -> Packet:
    return packet.slice(0, round(seconds * packet.sampling_rate))


def recording(seed: int = 3) -> dict[str, Packet]:
    packets = three_components(np.random.default_rng(seed), SECONDS)
    return {packet.nslc.component: packet for packet in packets}


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_third_component_that_begins_late_changes_nothing_before(
    declared: bool, seconds: float
) -> None:
    parts = recording()
    packets = [
        named(parts["Z"], "HH1"),
        named(parts["N"], "HH2"),
        after(named(parts["E"], "HH3"), 30.0),
    ]
    expected = [packet.nslc for packet in packets] if declared else []
    whole = windows(fake_model().spec, [packets], expected=expected)
    pushed = windows(fake_model().spec, in_time_order(packets, seconds), expected=expected)
    assert_same_windows(whole, pushed)


@pytest.mark.parametrize("declared", [False, True])
def test_a_renamed_sensor_goes_on(declared: bool) -> None:
    parts = recording()
    packets = [parts["Z"]]
    for old, new in (("N", "HH1"), ("E", "HH2")):
        packets += [before(named(parts[old], new), 30.0), after(parts[old], 30.0)]
    expected = [packet.nslc for packet in packets] if declared else []
    whole = run(fake_model(), [packets], expected=expected)
    assert_same(whole, run(fake_model(), in_time_order(packets, 2.0), expected=expected))
    phases = {pick.phase for pick in whole.picks if pick.peak_time.ns < START_NS + 28 * NANOSECONDS}
    assert "S" in phases
    channels = {pick.channel for pick in whole.picks if pick.phase == "S"}
    assert channels == {"HH1", "HHN"}


def test_an_undeclared_channel_of_a_declared_instrument_is_left_out_and_counted() -> None:
    parts = recording()
    outcome = run(fake_model(), [list(parts.values())], expected=[parts["Z"].nslc])
    assert outcome.summary.skipped["samples: undeclared channel"] == 2 * len(parts["Z"])
    alone = run(fake_model(), [[parts["Z"]]], expected=[parts["Z"].nslc])
    assert [pick.id for pick in outcome.picks] == [pick.id for pick in alone.picks]


@pytest.mark.parametrize("header", [99.991, 100.009, 100.04, 99.96, 50.02, 200.05])
def test_a_header_that_is_not_quite_the_grids_never_drifts(header: float) -> None:
    """A pulse every 4 s by the header's time is picked there after ten minutes as at the start."""
    samples = noise_with_pulses(np.random.default_rng(5), 600.0, header)
    whole = make_packet(samples, rate=header)
    size = round(5 * header)
    cut = [whole.slice(n, min(n + size, len(whole))) for n in range(0, len(whole), size)]
    one = run(fake_model(), [[whole]], expected=[whole.nslc])
    many = run(fake_model(), [[packet] for packet in cut], expected=[whole.nslc])
    for outcome in (one, many):
        times = np.array([p.peak_time.ns - START_NS for p in outcome.picks if p.phase == "P"])
        assert len(times) > 100
        errors = (times / NANOSECONDS - 2.0 + 2.0) % 4.0 - 2.0
        assert np.ptp(errors[np.abs(errors) < 0.5]) < 0.2
    assert [pick.phase for pick in one.picks] == [pick.phase for pick in many.picks]
    apart = [abs(a.time - b.time) for a, b in zip(one.picks, many.picks, strict=True)]
    assert max(apart) <= 0.001


def test_picks_are_forgotten_where_no_detection_ever_comes() -> None:
    model = fake_model(thresholds={"Detection": 1.0, "P": 0.5, "S": 0.5})
    packets = three_components(np.random.default_rng(1), 400.0)
    pipeline = Pipeline(model, expected=[packet.nslc for packet in packets])
    sizes = []
    for push in in_time_order(packets, 5.0):
        pipeline.push(push)
        sizes.append(len(pipeline.snapshot()))
    assert pipeline.summary.picks > 50
    assert max(sizes[40:]) < 1.1 * max(sizes[10:40])


def test_several_models_are_counted_together() -> None:
    packets = three_components(np.random.default_rng(1), SECONDS)
    alone = run(fake_model(), [packets]).summary
    pipeline = Pipeline([fake_model(), fake_model(name="Other")])
    picks = [*pipeline.push(packets).picks, *pipeline.flush().picks]
    summary = pipeline.summary
    assert summary.picks == len(picks) == 2 * alone.picks
    assert summary.windows == 2 * alone.windows
    assert summary.samples == alone.samples


def test_notes_of_every_model_are_counted_and_those_of_packets_once() -> None:
    packets = three_components(np.random.default_rng(1), SECONDS)
    dead = replace(packets[1], samples=np.zeros(len(packets[1])))
    parts = [packets[0], dead, *without(packets[2], [(10.0, 0.1)])]
    models = [fake_model(), fake_model(name="Other", stride=50)]
    alone = [run(model, [parts]).summary.notes for model in models]
    together = Pipeline(models)
    together.push(parts)
    together.flush()
    notes = together.summary.notes
    assert notes["short gap"] == alone[0]["short gap"] == 1
    assert notes["flat component"] == sum(found["flat component"] for found in alone) > 0


def test_the_summary_of_a_result_does_not_change_afterwards() -> None:
    pipeline = Pipeline(fake_model())
    packets = three_components(np.random.default_rng(1), SECONDS)
    first = pipeline.push(packets[:1]).summary
    before = first.to_dict()
    pipeline.push(packets[1:])
    assert first.to_dict() == before
