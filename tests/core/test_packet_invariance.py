"""I1: cuts, order and duplicates of packets change nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from core.packetise import (
    START_NS,
    arrivals,
    assert_same,
    assert_same_windows,
    channels_of,
    cut,
    fake_model,
    fake_spec,
    make_packet,
    noise_with_pulses,
    packets_of,
    run,
    three_components,
    upsampled,
    windows,
    with_gaps,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.windows import Window
from ml_prediction.models import Model, ModelSpec, load_model
from ml_prediction.util.times import NANOSECONDS

SHORT_HORIZON = {"stride": 100, "horizon": 2.0}
LONGEST_CUTS = (100, 1000, 6000)  # samples: three flavours, from many small to few large packets


@pytest.fixture(scope="session")
def m43(shared: Path) -> list[Packet]:
    """95 s of the M4.3: three components and a lone vertical."""
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    stream = stream.select(channel="HH?", station="HANS") + stream.select(
        channel="EHZ", station="MCW"
    )
    start = obspy.UTCDateTime(2023, 10, 9, 2, 21, 5)
    return packets_of(stream.slice(start, start + 95))


@pytest.fixture(scope="session")
def cx(shared: Path) -> list[Packet]:
    """Two minutes with a small event; its samples lie 1.6 ms off the grid."""
    stream = obspy.read(shared / "data/Continuous_CX/CX.PB01..HH.mseed")
    start = stream[0].stats.starttime + BUSY
    return packets_of(stream.slice(start, start + 120))


BUSY = 440.0  # seconds after the start of the CX hour


def broadband(packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.nslc.channel.startswith("HH")]


def variant(packets: list[Packet], rng: np.random.Generator, seed: int) -> list[Packet]:
    """By turns: as recorded, with gaps, at 200 Hz, at 200 Hz with gaps."""
    if seed % 4 >= 2:
        packets = upsampled(packets)
    return with_gaps(packets, rng) if seed % 2 else packets


def declared(packets: list[Packet], seed: int) -> dict[str, Any]:
    """Every other four seeds, the channels are known beforehand."""
    return {"expected": channels_of(packets)} if seed % 8 >= 4 else {}


# -- real data ----------------------------------------------------------------------------------


def check_windows(spec: ModelSpec, packets: list[Packet], seed: int, **options: Any) -> None:
    rng = np.random.default_rng(seed)
    data = variant(packets, rng, seed)
    pieces = cut(data, rng, longest=LONGEST_CUTS[seed % 3])
    options |= declared(data, seed)
    whole = windows(spec, [data], **options)
    assert len(whole.arrays) > 3
    assert_same_windows(whole, windows(spec, arrivals(pieces, rng), **options))


@pytest.mark.parametrize("seed", range(90))
def test_windows_of_an_earthquake_do_not_depend_on_packets(
    m43: list[Packet], eqt: Model, seed: int
) -> None:
    check_windows(eqt.spec, m43, seed)


@pytest.mark.parametrize("seed", range(100, 190))
def test_windows_of_continuous_data_do_not_depend_on_packets(
    cx: list[Packet], phasenet: Model, seed: int
) -> None:
    check_windows(phasenet.spec, cx, seed, stride=500 if seed % 16 >= 8 else None)


def check_picks(model: Model, packets: list[Packet], seed: int, **options: Any) -> int:
    rng = np.random.default_rng(seed)
    data = variant(packets, rng, seed)
    pieces = cut(data, rng, longest=LONGEST_CUTS[1 + seed % 2])
    options |= declared(data, seed)
    whole = run(model, [data], **options)
    assert_same(whole, run(model, arrivals(pieces, rng), **options))
    return len(whole.picks)


@pytest.mark.parametrize("seed", range(200, 248))
def test_picks_of_an_earthquake_do_not_depend_on_packets(
    m43: list[Packet], phasenet: Model, seed: int
) -> None:
    assert check_picks(phasenet, m43, seed) > 0


@pytest.mark.parametrize("seed", range(300, 336))
def test_picks_with_a_short_horizon_do_not_depend_on_packets(
    m43: list[Packet], phasenet: Model, seed: int
) -> None:
    assert check_picks(phasenet, broadband(m43), seed, **SHORT_HORIZON) > 0


@pytest.mark.parametrize("seed", range(400, 430))
def test_picks_of_continuous_data_do_not_depend_on_packets(
    cx: list[Packet], phasenet: Model, seed: int
) -> None:
    count = check_picks(phasenet, cx, seed)
    assert count > 0 or seed % 2  # a gap may cover the event


@pytest.mark.parametrize("seed", range(500, 512))
def test_eqtransformer_picks_and_detections_do_not_depend_on_packets(
    m43: list[Packet], eqt: Model, seed: int
) -> None:
    assert check_picks(eqt, broadband(m43), seed) > 0


# -- pushes that complete one window --------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("name", ["EQTransformer", "PhaseNet"])
def test_picks_on_torch_do_not_depend_on_packets(
    shared: Path, m43: list[Packet], name: str, seed: int
) -> None:
    path = shared / "models" / name.lower() / "original"
    model = load_model(name, path, device="cpu", engine="torch")
    assert check_picks(model, broadband(m43), seed) > 0


@pytest.mark.parametrize("name", ["eqt", "phasenet"])
def test_both_engines_find_the_same(
    request: pytest.FixtureRequest, shared: Path, cx: list[Packet], m43: list[Packet], name: str
) -> None:
    compiled: Model = request.getfixturevalue(name)
    path = shared / "models" / compiled.spec.name.lower() / "original"
    reference = load_model(compiled.spec.name, path, device="cpu", engine="torch")
    for packets in (cx, m43):
        one, other = (run(model, [packets]) for model in (compiled, reference))
        assert one.picks
        assert_same(one, other)


@pytest.mark.parametrize("name", ["eqt", "phasenet"])
def test_pushes_that_complete_exactly_one_window_give_the_same_windows(
    m43: list[Packet], name: str, request: pytest.FixtureRequest
) -> None:
    spec: ModelSpec = request.getfixturevalue(name).spec
    stride = 300
    packets = broadband(m43)
    rate = packets[0].sampling_rate
    first = math.ceil(packets[0].start_ns * rate / NANOSECONDS)
    edges = [n for n in range(len(packets[0])) if (first + n - spec.in_samples) % stride == 0]
    edges = [0, *edges[1:], len(packets[0])]
    stage = Preprocessor(spec, stride=stride, lateness=10.0)
    found, counts = {}, []
    for low, high in pairwise(edges):
        items, _ = stage.add([p.slice(low, high) for p in packets])
        new = [item for item in items if isinstance(item, Window)]
        counts.append(len(new))
        for item in new:
            found[str(item.instrument), item.index] = (item.data.tobytes(), item.mask.tobytes())
    assert set(counts[5:-1]) == {1}  # the start of the data waited for the lateness
    whole = windows(spec, [packets], stride=stride)
    assert len(found) > 10
    assert found.items() <= whole.arrays.items()


def test_picks_are_the_same_one_window_at_a_time() -> None:
    rng = np.random.default_rng(1)
    packets = three_components(rng, 60.0)
    pushes = [[p.slice(n, n + 100) for p in packets] for n in range(0, 6000, 100)]
    one_by_one = run(fake_model(), pushes)
    whole = run(fake_model(), [packets])
    assert len(whole.picks) > 10
    assert_same(whole, one_by_one)


# -- synthetic data, everything drawn -------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """8 s of an instrument; every component has its own start, gaps and clock."""

    station: str
    letters: str
    seed: int
    gaps: int  # on each component
    moved: float  # samples by which the clock is off after the first gap

    def packets(self, rate: float) -> list[Packet]:
        rng = np.random.default_rng(self.seed)
        moved_ns = round(self.moved * NANOSECONDS / rate)
        packets = []
        for letter in self.letters:
            whole = make_packet(
                noise_with_pulses(rng, 8.0, rate),
                "HH" + letter,
                start_ns=START_NS + int(rng.integers(0, 2 * NANOSECONDS)),
                rate=rate,
                station=self.station,
            )
            lengths = np.exp(rng.uniform(math.log(0.01), math.log(4.0), self.gaps))
            places = rng.uniform(0.0, 8.0, self.gaps)
            first, *rest = without(whole, zip(places, lengths, strict=True))
            packets += [first, *(replace(p, start_ns=p.start_ns + moved_ns) for p in rest)]
        return packets


def recordings(station: str) -> st.SearchStrategy[Recording]:
    return st.builds(
        Recording,
        station=st.just(station),
        letters=st.sampled_from(["ZNE", "ZNE", "Z", "ZN", "Z12", "123"]),
        seed=st.integers(0, 2**32),
        gaps=st.integers(0, 3),
        moved=st.sampled_from([0.0, 0.0, 0.4]),
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    instruments=st.one_of(
        st.tuples(recordings("AAA")), st.tuples(recordings("B"), recordings("C"))
    ),
    rate=st.sampled_from([20.0, 40.0, 50.0, 62.5, 97.3, 100.0, 100.0, 125.0, 200.0, 1000.0]),
    seed=st.integers(0, 2**32),
    longest=st.sampled_from([30, 200, 2000]),
    lateness=st.sampled_from([0.5, 3.0, 10.0]),
    stride=st.sampled_from([37, 50, 100, 150]),
    blinding=st.sampled_from([(0, 0), (20, 20), (0, 30)]),
    slack=st.sampled_from([0.0, 0.3, math.inf]),
    stacking=st.sampled_from(["max", "mean"]),
    one_component=st.sampled_from(["zero", "clone", "skip"]),
    resampling=st.sampled_from(["linear", "minimum"]),
    known=st.booleans(),
)
def test_nothing_depends_on_packets(
    instruments: tuple[Recording, ...],
    rate: float,
    seed: int,
    longest: int,
    lateness: float,
    stride: int,
    blinding: tuple[int, int],
    slack: float,
    stacking: str,
    one_component: str,
    resampling: str,
    known: bool,
) -> None:
    rng = np.random.default_rng(seed)
    packets = [packet for instrument in instruments for packet in instrument.packets(rate)]
    pieces = cut(packets, rng, longest=longest)
    options: dict[str, Any] = {
        "lateness": lateness,
        "stride": stride,
        "blinding": blinding,
        "horizon": (stride + blinding[1]) / 100 + slack,
        "stacking": stacking,
        "one_component": one_component,
        "resampling": resampling,
        "expected": channels_of(packets) if known else (),
    }
    whole = run(fake_model(), [packets], **options)
    assert_same(whole, run(fake_model(), arrivals(pieces, rng, lateness), **options))


def test_the_synthetic_data_of_the_property_test_give_picks() -> None:
    rng = np.random.default_rng(5)
    for rate in (20.0, 97.3, 100.0, 1000.0):
        packets = three_components(rng, 12.0, rate)
        assert len(run(fake_model(), [packets]).picks) >= 3


def test_the_sub_sample_offset_of_the_channel_is_given_back() -> None:
    rng = np.random.default_rng(6)
    samples = [noise_with_pulses(rng, 20.0, 100.0) for _ in "ZNE"]
    runs = []
    for offset_ns in (0, 4_000_000):
        packets = [
            make_packet(row, "HH" + letter, start_ns=START_NS + offset_ns)
            for row, letter in zip(samples, "ZNE", strict=True)
        ]
        runs.append(run(fake_model(), [packets]))
    assert len(runs[0].picks) > 3
    moves = [b.time - a.time for a, b in zip(runs[0].picks, runs[1].picks, strict=True)]
    np.testing.assert_allclose(moves, 0.004, atol=1e-6)


@pytest.mark.parametrize("offset_us", [0, 5000, 7400, 7500])
def test_rounded_header_times_move_no_sample(offset_us: int) -> None:
    rng = np.random.default_rng(10)
    whole = [
        replace(p, start_ns=p.start_ns + offset_us * 1000) for p in three_components(rng, 20.0)
    ]
    pieces = cut(whole, rng, longest=300, repeats=0.0)
    first = {p.start_ns for p in whole}
    pieces = [
        p if p.start_ns in first else replace(p, start_ns=p.start_ns + round(rng.normal(0, 1e5)))
        for p in pieces
    ]
    outcome = run(fake_model(), [pieces])
    assert outcome.summary.notes["slip"] == 0
    assert_same(run(fake_model(), [whole]), outcome)


def test_windows_start_on_the_absolute_grid() -> None:
    rng = np.random.default_rng(7)
    (packet,) = three_components(rng, 20.0, start_ns=START_NS + 1_230_000_000, letters="Z")
    spec = fake_spec()
    early = windows(spec, [[packet]], expected=[packet.nslc])
    later = windows(spec, [[packet.slice(777, len(packet))]], expected=[packet.nslc])
    shared = early.arrays.keys() & later.arrays.keys()
    assert len(shared) >= 10
    full = [key for key in shared if key[1] * 100 >= START_NS // 10_000_000 + 123 + 777]
    assert len(full) >= 8
    assert all(early.arrays[key] == later.arrays[key] for key in full)


def test_the_number_of_windows_in_a_batch_changes_nothing() -> None:
    packets = three_components(np.random.default_rng(8), 60.0)
    one, many = (run(fake_model(), [packets], batch_size=size) for size in (1, 50))
    assert one.picks
    assert [p.time for p in one.picks] == [p.time for p in many.picks]


def test_two_models_give_what_each_gives_alone() -> None:
    packets = three_components(np.random.default_rng(9), 60.0)
    models = [fake_model(), fake_model(name="Other", stride=50)]
    pipeline = Pipeline(models)
    parts = [pipeline.push(packets), pipeline.flush()]
    together = [pick.id for part in parts for pick in part.picks]
    alone = [pick.id for model in models for pick in run(model, [packets]).picks]
    assert sorted(together) == sorted(alone)
