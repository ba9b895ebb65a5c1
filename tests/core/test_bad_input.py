"""I4 and I6: bad input costs itself, is counted under a named reason, and stops nothing."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from core.packetise import (
    START_NS,
    EnergyEngine,
    Outcome,
    assert_same_picks,
    contradicting,
    cut,
    fake_model,
    joined,
    make_packet,
    noise_with_pulses,
    run,
    three_components,
    utc,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.run import pick
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Model
from ml_prediction.util.times import NANOSECONDS

MA: Any = np.ma  # NumPy's own annotations of it are incomplete
GOOD = three_components(np.random.default_rng(31), 30.0, station="GOOD")
NOISE = noise_with_pulses(np.random.default_rng(32), 30.0, 100.0)


def only(outcome: Outcome, station: str) -> Outcome:
    picks = [p for p in outcome.picks if p.station == station]
    fragments = [f for f in outcome.fragments if f.instrument.station == station]
    return Outcome(picks, [d for d in outcome.detections if d.station == station], fragments)


# -- packets that can't be used -----------------------------------------------------------------

BAD: dict[str, tuple[Packet, str]] = {
    "zero length": (make_packet(np.zeros(0)), "packets: empty"),
    "1 Hz": (make_packet(NOISE, rate=1.0), "samples: unsupported rate"),
    "0 Hz": (make_packet(NOISE, rate=0.0), "samples: unsupported rate"),
    "negative rate": (make_packet(NOISE, rate=-100.0), "samples: unsupported rate"),
    "NaN rate": (make_packet(NOISE, rate=np.nan), "samples: unsupported rate"),
    "infinite rate": (make_packet(NOISE, rate=np.inf), "samples: unsupported rate"),
    "5 kHz": (make_packet(NOISE, rate=5000.0), "samples: unsupported rate"),
    "unknown component": (make_packet(NOISE, "HHX"), "samples: unknown component"),
    "no channel code": (make_packet(NOISE, ""), "samples: unknown component"),
    "all NaN": (make_packet(np.full(500, np.nan)), "samples: not finite"),
    "all infinite": (make_packet(np.full(500, -np.inf)), "samples: not finite"),
    "text": (make_packet(np.array(["a", "b"])), "samples: not numeric"),
    "complex": (make_packet(NOISE.astype(complex)), "samples: not numeric"),
    "objects": (make_packet(np.array([None] * 10)), "samples: not numeric"),
    "two dimensions": (make_packet(np.zeros((10, 3))), "samples: not one-dimensional"),
    "all absurd": (make_packet(np.full(500, 1.7e308)), "samples: absurd value"),
}
BAD_CODES: dict[str, tuple[Packet, str]] = {
    "blank in a code": (make_packet(NOISE, station="A B"), "samples: bad code"),
    "control character": (make_packet(NOISE, station="A\x01"), "samples: bad code"),
    "dot in a code": (make_packet(NOISE, location="0.0"), "samples: bad code"),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_CODES])
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_packet_is_counted_and_touches_nobody(name: str, first: bool) -> None:
    bad, reason = (BAD | BAD_CODES)[name]
    outcome = run(fake_model(), [[bad], GOOD] if first else [GOOD, [bad]])
    assert outcome.summary.skipped[reason] == max(bad.samples.size, 1)
    assert outcome.summary.examples[reason] == str(bad.nslc)
    expected = run(fake_model(), [GOOD])
    assert expected.picks
    assert_same_picks(expected.picks, outcome.picks)


@pytest.mark.parametrize("value", [1.7e308, -1e300, 1e39, 1.1e15])
def test_one_absurd_sample_costs_only_itself(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    samples = GOOD[0].samples.copy()
    samples[1000] = value
    outcome = run(fake_model(), [[replace(GOOD[0], samples=samples), *GOOD[1:]]])
    assert outcome.summary.skipped == {"samples: absurd value": 1}
    assert str(GOOD[0].nslc) in caplog.text
    expected = run(fake_model(), [[*without(GOOD[0], [(10.0, 0.01)]), *GOOD[1:]]])
    assert [p.id for p in outcome.picks] == [p.id for p in expected.picks]
    assert all(np.isfinite(fragment.values).all() for fragment in outcome.fragments)


def test_what_a_model_gives_for_nothing_is_counted() -> None:
    class Broken(EnergyEngine):
        def __call__(self, batch: Any) -> Any:
            return np.full_like(super().__call__(batch), np.nan)

    outcome = run(Model(fake_model().spec, Broken()), [GOOD])
    assert outcome.picks == []
    assert outcome.summary.skipped["probabilities: model gave no number"] >= 3000


@pytest.mark.parametrize("name", BAD)
def test_a_bad_packet_does_not_harm_its_own_instrument(name: str) -> None:
    bad, _ = BAD[name]
    bad = replace(bad, nslc=bad.nslc._replace(station="GOOD"), start_ns=START_NS + NANOSECONDS)
    outcome = run(fake_model(), [[GOOD[0], bad, *GOOD[1:]]])
    assert_same_picks(run(fake_model(), [GOOD]).picks, only(outcome, "GOOD").picks)


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.0, 1e9])
@pytest.mark.parametrize("masked", [False, True])
def test_traces_with_absurd_rates_are_counted(rate: float, masked: bool) -> None:
    trace = GOOD[0].to_trace()
    trace.stats.station = "BAD"
    if masked:
        trace.data = MA.masked_where(np.arange(len(trace)) % 100 == 50, trace.data)
    trace.stats.sampling_rate = rate
    pipeline = Pipeline(fake_model())
    pipeline.push([trace, *GOOD])
    assert pipeline.summary.skipped["samples: unsupported rate"] >= 2900


@pytest.mark.parametrize(
    "start_ns", [0, -1, 10**9, -(2**61), 2**61, 2**62, -(2**62), 2**63 - 1, -(2**63), 10**25]
)
def test_absurd_times_touch_no_other_instrument(start_ns: int) -> None:
    mad = replace(GOOD[0], nslc=GOOD[0].nslc._replace(station="MAD"), start_ns=start_ns)
    outcome = run(fake_model(), [[mad], GOOD, [mad]])
    assert_same_picks(run(fake_model(), [GOOD]).picks, only(outcome, "GOOD").picks)


def test_a_single_trace_will_do() -> None:
    trace = GOOD[0].to_trace()
    one, other = pick(trace, fake_model()), pick([trace], fake_model())
    assert one.picks
    assert repr(one.picks) == repr(other.picks)  # NaN among the values is no difference
    assert Pipeline(fake_model()).push(trace).summary.samples == 3000


@pytest.mark.parametrize("data", ["file.mseed", 5, None, [Stream()], ["file.mseed"], [None]])
def test_something_else_than_traces_is_one_sentence(data: Any) -> None:
    with pytest.raises(DataError, match=r"Waveforms must be ObsPy traces"):
        pick(data, fake_model())
    pipeline = Pipeline(fake_model())
    with pytest.raises(DataError, match=r"Waveforms must be ObsPy traces"):
        pipeline.push(data)
    assert pipeline.summary.packets == 0


@pytest.mark.parametrize("model", ["EQTransformer", None, [], [None], Stream()])
def test_something_else_than_a_model_is_one_sentence(model: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"load_model\(\)"):
        pick(GOOD, model)


def test_results_can_be_kept_in_sets_and_shown_in_short() -> None:
    result = pick(GOOD, fake_model())
    assert len({*result.picks, *result.picks}) == len(result.picks)
    assert len(set(result.detections)) == len(result.detections)
    assert len(repr(result)) < 200


def test_masked_samples_are_missing() -> None:
    masked, cut_out = [], []
    for packet in GOOD:
        trace = packet.to_trace()
        hidden = np.zeros(len(trace), dtype=np.bool_)
        hidden[1000:1100] = True
        trace.data = MA.masked_array(np.where(hidden, 1e9, trace.data), hidden)
        masked.append(trace)
        cut_out += without(packet, [(10.0, 1.0)])
    result = pick(masked, fake_model())
    assert_same_picks(run(fake_model(), [cut_out]).picks, result.picks)


def test_a_trace_that_is_all_masked_is_no_data() -> None:
    trace = GOOD[0].to_trace()
    trace.data = MA.masked_all(1000)
    assert pick([trace], fake_model()).picks == []


def test_nothing_gives_nothing() -> None:
    for stream in (Stream(), Stream([Trace()]), [Trace(np.zeros(0))]):
        result = pick(stream, fake_model())
        assert result.picks == []
        assert len(result.probabilities) == 0


@pytest.mark.parametrize(
    "dtype", ["i2", "i4", "i8", ">i4", "f4", ">f4", "f8", ">f8", "read-only", "strided"]
)
def test_every_real_type_of_sample_gives_the_same_picks(dtype: str) -> None:
    data = []
    for packet in GOOD:
        samples: npt.NDArray[Any]
        if dtype == "strided":
            samples = np.repeat(packet.samples, 2)[::2]
        elif dtype == "read-only":
            samples = packet.samples.copy()
            samples.flags.writeable = False
        else:
            samples = packet.samples.astype(dtype)
        data.append(replace(packet, samples=samples))
    assert_same_picks(run(fake_model(), [GOOD]).picks, run(fake_model(), [data]).picks)


def test_unsigned_and_boolean_samples_are_taken() -> None:
    square = (np.arange(3000) // 50 % 2).astype(np.uint8)
    for samples in (square, square.astype(np.bool_), square.astype(np.uint64)):
        outcome = run(fake_model(), [[make_packet(samples)]])
        assert not any(key.startswith("samples") for key in outcome.summary.skipped)
        assert outcome.summary.windows > 20


def test_the_input_is_not_changed() -> None:
    stream = Stream([packet.to_trace().copy() for packet in GOOD])
    before = stream.copy()
    pick(stream, fake_model())
    assert stream == before


# -- channels -----------------------------------------------------------------------------------


def test_the_location_of_two_hyphens_is_the_empty_one() -> None:
    traces = [packet.to_trace() for packet in GOOD]
    for trace in traces:
        trace.stats.location = "--"
    picks = pick(traces, fake_model()).picks
    assert {p.location for p in picks} == {""}
    assert [p.id for p in picks] == [p.id for p in run(fake_model(), [GOOD]).picks]


def test_a_channel_that_comes_twice_is_counted_as_duplicate() -> None:
    outcome = run(fake_model(), [[*GOOD, *GOOD]])
    assert outcome.summary.skipped["samples: duplicate"] == 9000
    assert_same_picks(run(fake_model(), [GOOD]).picks, outcome.picks)


def test_of_two_channels_for_one_component_the_fuller_is_used() -> None:
    spare = replace(GOOD[1], nslc=GOOD[1].nslc._replace(channel="HH1"))
    outcome = run(fake_model(), [[*GOOD, spare]])
    assert outcome.summary.skipped["windows of a channel: another is fuller"] > 0
    assert_same_picks(run(fake_model(), [GOOD]).picks, outcome.picks)


@pytest.mark.parametrize("dead", ["Z", "N", "E", "NE"])
def test_a_constant_channel_is_flat_and_the_others_are_used(dead: str) -> None:
    packets = [
        replace(p, samples=np.full(3000, 1234.0)) if p.nslc.component in dead else p for p in GOOD
    ]
    outcome = run(fake_model(), [packets])
    assert outcome.summary.notes["flat component"] > 0
    alone = run(fake_model(), [[p for p in GOOD if p.nslc.component not in dead]])
    assert alone.picks
    assert [p.peak_time for p in outcome.picks] == [p.peak_time for p in alone.picks]


@pytest.mark.parametrize("value", [0.0, -7.5, 1e9])
@pytest.mark.parametrize("rate", [100.0, 62.5, 200.0])
def test_an_instrument_that_is_constant_has_no_windows(value: float, rate: float) -> None:
    packets = [replace(p, samples=np.full(3000, value), sampling_rate=rate) for p in GOOD]
    outcome = run(fake_model(), [packets])
    assert outcome.picks == []
    assert outcome.summary.windows == 0
    assert outcome.summary.skipped["windows: flat"] >= 10


@pytest.mark.parametrize("name", ["phasenet", "eqt"])
def test_a_six_component_site_is_two_instruments_each_picked_as_if_alone(
    shared: Path, name: str, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(name)
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    site = stream.select(station="HANS")
    together = pick(site, model).picks
    alone = [pick(site.select(channel=code), model).picks for code in ("HH?", "EN?")]
    assert {p.channel[:2] for p in together} == {"HH", "EN"}
    assert_same_picks(sorted(alone[0] + alone[1], key=lambda p: p.id), together)


# -- far too many gaps ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_thousand_gaps_cost_seconds_and_little_memory() -> None:
    """5 samples of data, 5 missing, at 20 Hz: gaps of 0.25 s, for 14 hours."""
    samples = np.random.default_rng(1).normal(size=1_000_000)
    hidden = np.arange(1_000_000) // 5 % 2 == 1
    trace = make_packet(samples, rate=20.0).to_trace()
    trace.data = MA.masked_array(samples, hidden)
    model = fake_model(in_samples=3000, stride=1500)
    started = time.process_time()
    result = pick([trace], model)
    assert time.process_time() - started < 120
    assert result.picks == []
    assert result.summary.packets == 100_000


def test_memory_for_many_gaps_is_small() -> None:
    """Half of every half second is missing, for a quarter of an hour, in pushes."""
    model = fake_model(in_samples=3000, stride=1500)
    pipeline = Pipeline(model)
    tracemalloc.start()
    try:
        for number in range(1800):
            start_ns = START_NS + number * NANOSECONDS // 2
            pipeline.push([make_packet(np.arange(25.0), start_ns=start_ns)])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000
    assert peak < 6_000_000


# -- everything is counted ------------------------------------------------------------------------


def check_accounts(outcome: Outcome, pushed: int, conflicts: int = 0) -> None:
    """One component at the model's rate: every sample is used or counted under a reason.

    Interpolated samples come on top: 1 to 20 for every short gap, and one for a slip.
    """
    summary = outcome.summary
    values = [v for _, v in joined(outcome.fragments).values()]
    used = sum(v.shape[1] for v in values)
    refused = sum(n for key, n in summary.skipped.items() if key.startswith("samples: "))
    assert summary.samples == pushed
    extra = used + refused + conflicts - pushed
    slips, gaps = summary.notes["slip"], summary.notes["short gap"]
    assert gaps - slips <= extra <= 20 * gaps + slips
    empty = sum(int(np.isnan(v).any(axis=0).sum()) for v in values)
    counted = sum(n for key, n in summary.skipped.items() if key.startswith("probabilities: "))
    assert empty == counted
    assert sum(map(len, outcome.late)) == summary.skipped["samples: late"]


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    gaps=st.integers(0, 5),
    holes=st.integers(0, 4),
    disorder=st.floats(0.0, 30.0),
    lateness=st.sampled_from([0.0, 2.0, 10.0]),
    known=st.booleans(),
)
def test_every_sample_is_used_or_counted(
    seed: int, gaps: int, holes: int, disorder: float, lateness: float, known: bool
) -> None:
    rng = np.random.default_rng(seed)
    samples = noise_with_pulses(rng, 40.0, 100.0)
    for start in rng.integers(0, 3900, holes):
        samples[start : start + 60] = np.nan
    whole = make_packet(samples)
    lengths = rng.uniform(0.25, 3.0, gaps)
    parts = without(whole, zip(rng.uniform(0, 40, gaps), lengths, strict=True))
    pieces = cut([p for p in parts if len(p) > 20], rng, longest=800, repeats=0.3)
    order = np.argsort([p.end_ns + rng.uniform(0, disorder) * NANOSECONDS for p in pieces])
    pushes = [[pieces[k]] for k in order]
    expected = [whole.nslc] if known else []
    outcome = run(fake_model(), pushes, lateness=lateness, expected=expected)
    check_accounts(outcome, sum(map(len, pieces)))


def test_two_values_for_a_sample_are_counted_once_and_both_are_lost() -> None:
    whole = make_packet(NOISE)
    outcome = run(fake_model(), [[whole, contradicting(whole.slice(1000, 1300))]])
    assert outcome.summary.skipped["samples: disagree"] == 300
    check_accounts(outcome, 3300, conflicts=300)


def test_windows_that_are_not_used_are_counted() -> None:
    packets = [p for whole in GOOD for p in without(whole, [(5.0, 1.9), (7.1, 1.9), (9.2, 6.0)])]
    outcome = run(fake_model(), [packets])
    assert outcome.summary.skipped["windows: too few samples"] > 0
    whole = run(fake_model(), [GOOD]).summary.windows
    assert outcome.summary.windows < whole


def test_warm_up_is_counted() -> None:
    """With a short horizon nothing can be said of the first samples of a deep blinding."""
    outcome = run(fake_model(blinding=(50, 0)), [GOOD], horizon=1.0)
    values = joined(outcome.fragments)["XX.GOOD..HH"][1]
    empty = int(np.isnan(values).any(axis=0).sum())
    counted = sum(n for k, n in outcome.summary.skipped.items() if k.startswith("probabilities"))
    assert empty == counted


def test_the_end_of_the_data_is_where_it_says() -> None:
    times = joined(run(fake_model(), [GOOD]).fragments)["XX.GOOD..HH"][0]
    assert times[-1] == utc(29.99).ns
