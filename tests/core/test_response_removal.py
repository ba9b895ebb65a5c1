"""Windows and amplitudes after response removal, against ObsPy's."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import (
    START_NS,
    Outcome,
    Pushes,
    Windows,
    arrivals,
    assert_same,
    assert_same_windows,
    channels_of,
    cut,
    fake_model,
    fake_spec,
    in_time_order,
    make_packet,
    noise_with_pulses,
    packets_of,
    run,
    with_gaps,
)
from obspy import Inventory, Stream, Trace, read, read_inventory
from obspy.core.inventory import Channel, Network, Station
from obspy.core.inventory import Response as Metadata

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.response import Response
from ml_prediction.core.results import Pick
from ml_prediction.core.run import pick
from ml_prediction.core.windows import Window
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import ModelSpec, Normalisation
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_utc

Floats = npt.NDArray[np.float64]

RATE = 100.0
GAIN = {"H": 4e8, "N": 2e5}  # counts per m/s, per m/s**2
PASS = (0.1, 0.2, 40.0, 47.5)  # Hz
CODES = ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")
DECLARED = [NSLC("XX", "ABC", "", code) for code in CODES]
LONG = fake_spec(in_samples=6000, stride=3000, normalisation=Normalisation("peak"))


def metadata_of(code: str) -> Metadata:
    """A seismometer of 120 s, or an accelerometer; both are flat to 34 Hz, and turn the phase."""
    poles, zeros = [-150 + 150j, -150 - 150j], []
    if code[1] == "H":
        poles, zeros = [*poles, -0.037 + 0.037j, -0.037 - 0.037j], [0j, 0j]
    s = 2j * np.pi  # at 1 Hz
    factor = abs(np.prod([s - pole for pole in poles]) / np.prod([s - zero for zero in zeros]))
    return Metadata.from_paz(
        zeros,
        poles,
        stage_gain=GAIN[code[1]],
        stage_gain_frequency=1.0,
        normalization_frequency=1.0,
        input_units="M/S" if code[1] == "H" else "M/S**2",
        output_units="COUNTS",
        normalization_factor=factor,
    )


def inventory_of(codes: Iterable[str] = CODES, bare: Iterable[str] = ()) -> Inventory:
    """Station metadata; ``bare`` channels have no response."""
    channels = [
        Channel(
            code,
            "",
            *(0.0, 0.0, 0.0, 0.0),
            azimuth=0.0,
            dip=-90.0 if code[2] == "Z" else 0.0,
            response=None if code in bare else metadata_of(code),
        )
        for code in codes
    ]
    station = Station("ABC", 0.0, 0.0, 0.0, channels=channels)
    return Inventory(networks=[Network("XX", stations=[station])])


def packets_with(codes: Iterable[str], seconds: float, seed: int = 0) -> list[Packet]:
    """Noise and pulses on an offset."""
    generator = np.random.default_rng(seed)
    return [
        make_packet(noise_with_pulses(generator, seconds, RATE, every=8.0) + 3e4, code)
        for code in codes
    ]


def trace_of(packet: Packet) -> Trace:
    names = ("network", "station", "location", "channel")
    header = dict(zip(names, packet.nslc, strict=True))
    begin = to_utc(packet.start_ns)
    return Trace(packet.samples, {**header, "starttime": begin, "sampling_rate": RATE})


def by_obspy(trace: Trace, inventory: Inventory) -> Trace:
    """All of a trace at once."""
    reference = trace.copy()
    output = "ACC" if trace.stats.channel[1] == "N" else "VEL"
    reference.remove_response(inventory, output=output, water_level=60, pre_filt=PASS)
    return reference


def preprocess(
    spec: ModelSpec,
    pushes: Pushes,
    inventory: Inventory,
    expected: Iterable[NSLC] = DECLARED,
) -> tuple[list[Window], Windows]:
    """Windows, and their bytes."""
    stage = Preprocessor(
        spec,
        stride=spec.stride,
        lateness=10.0,
        expected=expected,
        response=Response(inventory),
    )
    found: list[Window] = []
    result = Windows(summary=stage.summary)
    for push in pushes:
        items, late = stage.add(push)
        found += [item for item in items if isinstance(item, Window)]
        result.late += late
    found += [item for item in stage.flush() if isinstance(item, Window)]
    for item in found:
        key = (str(item.instrument), item.index)
        assert key not in result.arrays
        result.arrays[key] = (item.data.tobytes(), item.mask.tobytes())
    return found, result


def assert_ground_motion(
    windows: Iterable[Window], traces: Iterable[Trace], inventory: Inventory
) -> int:
    """Windows but for their last 5 s, where blocks end; returns how many rows were compared."""
    motions = {trace.id: by_obspy(trace, inventory) for trace in traces}
    count = 0
    for window in windows:
        for letter, row in zip("ENZ", window.data, strict=True):
            motion = motions[f"{window.instrument}{letter}"]
            begin_ns = window.index * LONG.stride * 10**7
            first = round((begin_ns - motion.stats.starttime.ns) / 1e7)
            if first < 4000 or first + 8000 > len(motion):
                continue  # here ObsPy's trace ends
            found = row[:5500].astype(np.float64)
            found -= found.mean()
            expected = motion.data[first : first + 5500]
            expected = expected - expected.mean()
            factor = float(found @ expected / (expected @ expected))  # windows are normalised
            assert np.abs(found / factor - expected).max() <= 0.03 * np.abs(expected).max()
            assert factor > 0
            count += 1
    return count


def assert_amplitudes(picks: Iterable[Pick], traces: Iterable[Trace], inventory: Inventory) -> int:
    """Within 3 % of ObsPy's for clear picks; returns how many were compared."""
    counts = {trace.id: trace for trace in traces}
    motions = {code: by_obspy(trace, inventory) for code, trace in counts.items()}
    count = 0
    for item in picks:
        code = f"{item.network}.{item.station}.{item.location}.{item.channel}"
        at = round((item.time - motions[code].stats.starttime) * RATE)
        if item.snr < 3 or at < 4000 or at + 2000 > len(motions[code]):
            continue
        found, expected = [
            float(np.abs(x[at : at + 101] - x[at - 500 : at - 49].mean()).max())
            for x in (counts[code].data, motions[code].data)
        ]
        assert item.amplitude == pytest.approx(found)
        assert item.amplitude_physical == pytest.approx(expected, rel=0.03), item.id
        assert item.amplitude_unit == ("m/s**2" if item.channel[1] == "N" else "m/s")
        count += 1
    return count


def test_windows_are_ground_motion_as_obspy_has_it() -> None:
    packets, inventory = packets_with(CODES, 200), inventory_of()
    found, _ = preprocess(LONG, [packets], inventory)
    assert assert_ground_motion(found, map(trace_of, packets), inventory) == 18


def test_amplitudes_are_those_of_obspy_and_counts_stay_counts() -> None:
    traces, inventory = [trace_of(p) for p in packets_with(CODES, 150)], inventory_of()
    found = pick(traces, fake_model(), inventory=inventory, response="remove")
    assert assert_amplitudes(found.picks, traces, inventory) > 40
    assert {p.channel for p in found.picks} == {"HHZ", "HHN", "ENZ", "ENN"}


def test_the_real_m43_is_ground_motion_as_obspy_has_it(shared: Path) -> None:
    folder = shared / "data" / "Full_Array"
    inventory = read_inventory(folder / "uw61965081_Example_Stations.xml")
    stream = read(folder / "uw61965081_PortTownsend_M4.3.mseed").select(station="HANS")
    for trace in stream:
        trace.stats.location = ""
    packets = packets_of(stream)
    found, _ = preprocess(LONG, [packets], inventory, channels_of(packets))
    assert assert_ground_motion(found, stream, inventory) == 6
    result = pick(stream, fake_model(), inventory=inventory, response="remove")
    assert assert_amplitudes(result.picks, stream, inventory) >= 6


@pytest.mark.parametrize("seed", range(4))
def test_packets_change_no_bit_of_a_window_without_response(seed: int) -> None:
    generator, inventory, spec = np.random.default_rng(seed), inventory_of(), fake_spec()
    packets = packets_with(CODES, 80, seed)
    if seed % 2:
        packets = with_gaps(packets, generator, 3)
    pushes = arrivals(cut(packets, generator, longest=(50, 500, 3000, 6000)[seed]), generator)
    _, one = preprocess(spec, [packets], inventory)
    _, other = preprocess(spec, pushes, inventory)
    assert len(one.arrays) > 100
    assert_same_windows(one, other)


@pytest.mark.parametrize("seed", range(4))
def test_packets_change_no_pick_without_response(seed: int) -> None:
    generator = np.random.default_rng(seed)
    packets = packets_with(CODES[:3], 60, seed)
    if seed % 2:
        packets = with_gaps(packets, generator, 3)
    pushes = arrivals(cut(packets, generator, longest=(50, 500, 3000, 6000)[seed]), generator)
    one, other = without_response([packets]), without_response(pushes)
    assert len(one.picks) > 10
    assert_same(one, other)
    assert physical(one) == physical(other)


@pytest.mark.slow
def test_the_amplitude_of_a_pick_later_than_its_peak_waits_for_no_packet() -> None:
    late, differing = 0, []
    for shift in (78, 80):  # pulses at the place in a window where it matters
        generator = np.random.default_rng(shift)
        start_ns = START_NS + shift * 10**7
        packets = [
            make_packet(noise_with_pulses(generator, 60, RATE, every=8.0), code, start_ns=start_ns)
            for code in CODES[:3]
        ]
        pushes = in_time_order(cut(packets, generator, longest=10), 0.07)
        one, other = without_response([packets]), without_response(pushes)
        assert_same(one, other)
        late += sum(p.time > p.peak_time for p in one.picks)
        first, second = physical(one), physical(other)
        differing += [pick_id for pick_id in first if first[pick_id] != second[pick_id]]
    assert late > 5
    assert differing == []


def test_data_that_begin_with_their_response_are_used() -> None:
    """A window begins before its data; the response is that of the data's time."""
    inventory = inventory_of(CODES[:3])
    (station,) = inventory[0]
    for channel in station:
        channel.start_date = to_utc(START_NS)
    found = without_response([packets_with(CODES[:3], 30.0)], inventory)
    assert found.summary.windows >= 30
    assert not any("no response" in reason for reason in found.summary.skipped)


def without_response(pushes: Pushes, inventory: Inventory | None = None) -> Outcome:
    expected = {packet.nslc for push in pushes for packet in push}
    inventory = inventory or inventory_of()
    return run(fake_model(), pushes, inventory=inventory, response="remove", expected=expected)


def physical(outcome: Outcome) -> dict[str, tuple[float | None, str | None]]:
    return {p.id: (p.amplitude_physical, p.amplitude_unit) for p in outcome.picks}


@pytest.mark.parametrize("unknown", [False, True])
def test_a_channel_without_a_response_costs_only_itself(
    unknown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the inventory has it bare or has never heard of it."""
    packets = packets_with(CODES, 60)
    known = [code for code in CODES if code != "HHN"]
    some = inventory_of(known) if unknown else inventory_of(CODES, bare=["HHN"])
    with caplog.at_level(logging.WARNING):
        _, found = preprocess(fake_spec(), [packets], some)
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("ml_prediction")]
    assert len(lines) == 1
    assert "XX.ABC..HHN" in lines[0]
    assert "response" in lines[0]
    own = [key for key in found.arrays if key[0] == "XX.ABC..HH"]
    assert found.summary.skipped == {"windows of a channel: no response": len(own)}
    assert set(found.summary.examples.values()) == {"XX.ABC..HHN"}
    # the others are what they would be without it
    rest = [packet for packet in packets if packet.nslc.channel != "HHN"]
    _, expected = preprocess(fake_spec(), [rest], inventory_of(), channels_of(rest))
    assert_same_windows(found, expected)


def test_a_pick_on_a_channel_without_a_response_keeps_its_counts() -> None:
    packets = packets_with(CODES[:3], 60)
    whole = {p.id: p for p in without_response([packets]).picks}
    found = without_response([packets], inventory_of(CODES, bare=["HHN"])).picks
    shared_ids = [p.id for p in found if p.id in whole]
    assert {whole[i].phase for i in shared_ids} == {"P", "S"}
    for item in found:
        if item.phase == "S":
            assert item.channel == "HHN"
            assert (item.amplitude_physical, item.amplitude_unit) == (None, None)
        elif item.id in whole and item.time == whole[item.id].time:
            assert item == whole[item.id]


def test_an_instrument_without_any_response_gives_nothing_and_is_counted() -> None:
    packets = packets_with(CODES, 60)
    found = without_response([packets], inventory_of(CODES, bare=["ENZ", "ENN", "ENE"]))
    assert {p.channel[:2] for p in found.picks} == {"HH"}
    assert found.summary.skipped["windows of a channel: no response"] >= 3 * 59
    assert sum(n for key, n in found.summary.skipped.items() if key.startswith("windows: ")) >= 59


def test_removal_without_an_inventory_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="inventory"):
        pick(Stream(), fake_model(), response="remove")
    with pytest.raises(ConfigurationError, match="inventory"):
        Pipeline(fake_model(), response="remove")
