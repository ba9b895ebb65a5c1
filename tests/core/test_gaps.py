"""Gaps: short ones cost nothing, long ones are guarded, and nothing is invented in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from core.packetise import (
    START_NS,
    Outcome,
    between,
    contradicting,
    fake_model,
    in_time_order,
    joined,
    make_packet,
    noise_with_pulses,
    packets_of,
    run,
    three_components,
    without,
)

from ml_prediction.core.packets import Packet
from ml_prediction.core.results import Pick
from ml_prediction.core.run import pick
from ml_prediction.models import Model
from ml_prediction.util.times import NANOSECONDS, to_ns

Gaps = list[tuple[float, float]]
INSTRUMENT = "XX.ABC..HH"


@pytest.fixture
def zne() -> list[Packet]:
    """30 s of three components."""
    return three_components(np.random.default_rng(21), 30.0)


def holed(packets: Iterable[Packet], gaps: Gaps) -> list[Packet]:
    return [part for packet in packets for part in without(packet, gaps)]


def unknown(outcome: Outcome, seconds: float = 30.0) -> npt.NDArray[np.bool_]:
    """Which hundredths of a second after START_NS have no probability."""
    times, values = joined(outcome.fragments)[INSTRUMENT]
    result = np.ones(round(seconds * 100), dtype=np.bool_)
    result[(times - START_NS) // 10_000_000] = np.isnan(values).any(axis=0)
    return result


def stretches(flags: npt.NDArray[np.bool_]) -> Gaps:
    """Runs of True, as (first second, length in seconds)."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False)) / 100
    return [(round(a, 2), round(b - a, 2)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def found_again(reference: list[Pick], picks: list[Pick], tolerance: float = 0.1) -> int:
    return sum(
        any(p.phase == q.phase and abs(p.time - q.time) < tolerance for q in picks)
        for p in reference
    )


# -- guards -------------------------------------------------------------------------------------


def test_data_without_gaps_have_probabilities_from_the_first_sample_to_the_last(
    zne: list[Packet],
) -> None:
    assert not unknown(run(fake_model(), [zne])).any()


@pytest.mark.parametrize("length", [0.21, 0.5, 1.0, 3.0, 12.0])
def test_long_gaps_have_a_guard_of_half_a_second_on_both_sides(
    zne: list[Packet], length: float
) -> None:
    outcome = run(fake_model(), [holed(zne, [(10.0, length)])])
    assert stretches(unknown(outcome)) == [(9.5, round(length + 1.0, 2))]
    assert outcome.summary.skipped["probabilities: guard"] == 100


@pytest.mark.parametrize("rate", [20.0, 40.0, 100.0, 250.0, 1000.0])
def test_gaps_up_to_a_fifth_of_a_second_have_no_guard_at_any_rate(rate: float) -> None:
    packets = three_components(np.random.default_rng(1), 30.0, rate)
    outcome = run(fake_model(), [holed(packets, [(10.0, 0.2), (20.0, 0.1)])])
    assert not unknown(outcome).any()
    assert outcome.summary.notes["short gap"] == 6


@pytest.mark.parametrize("rate", [20.0, 40.0, 250.0, 1000.0])
def test_longer_gaps_are_gaps_at_any_rate(rate: float) -> None:
    packets = three_components(np.random.default_rng(1), 30.0, rate)
    outcome = run(fake_model(), [holed(packets, [(10.0, 0.3)])])
    ((start, length),) = stretches(unknown(outcome))
    assert start == pytest.approx(9.5, abs=0.06)
    assert length == pytest.approx(1.3, abs=0.12)
    assert "short gap" not in outcome.summary.notes


def test_short_gaps_are_interpolated(zne: list[Packet]) -> None:
    ramps = [replace(p, samples=np.arange(3000.0) * k) for k, p in enumerate(zne, start=1)]
    whole = run(fake_model(), [ramps])
    gaps = run(fake_model(), [holed(ramps, [(10.0, 0.15), (17.33, 0.01)])])
    one, other = joined(whole.fragments)[INSTRUMENT], joined(gaps.fragments)[INSTRUMENT]
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], atol=1e-6)


def test_a_gap_on_one_component_needs_no_guard(zne: list[Packet]) -> None:
    z, n, e = zne
    assert not unknown(run(fake_model(), [[z, n, *without(e, [(10.0, 1.0)])]])).any()


def test_data_between_gaps_too_short_for_two_guards_have_no_probability(
    zne: list[Packet],
) -> None:
    outcome = run(fake_model(), [holed(zne, [(10.0, 1.0), (11.9, 1.0)])])
    assert stretches(unknown(outcome)) == [(9.5, 3.9)]


def test_the_ends_of_the_input_have_no_guard(zne: list[Packet]) -> None:
    parts = [between(packet, 3.21, 24.56) for packet in zne]
    assert stretches(~unknown(run(fake_model(), [parts]))) == [(3.21, 21.35)]


@pytest.mark.parametrize("seed", range(20))
def test_no_pick_lies_in_a_gap_or_its_guard(seed: int) -> None:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, 60.0)
    gaps = [
        (float(a), float(b)) for a, b in zip(range(5, 60, 7), rng.uniform(0.22, 4, 8), strict=True)
    ]
    outcome = run(fake_model(), [holed(packets, gaps)])
    assert outcome.picks
    for item in outcome.picks:
        time = (to_ns(item.peak_time) - START_NS) / NANOSECONDS
        assert all(not a - 0.49 < time < a + b + 0.49 for a, b in gaps), item.id


def test_nothing_is_invented_far_from_a_gap(zne: list[Packet]) -> None:
    whole = run(fake_model(), [zne])
    gaps = run(fake_model(), [holed(zne, [(12.0, 0.5)])])  # a pulse is at 14 s, none before 10 s
    assert len(whole.picks) > 10
    far = [p for p in gaps.picks if abs(to_ns(p.peak_time) - START_NS - 12.25e9) > 2.5e9]
    assert {p.id for p in far} <= {p.id for p in whole.picks}


# -- the ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rate", [40.0, 100.0, 200.0])
def test_the_first_and_last_sample_of_every_input_are_covered(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    start_ns = START_NS + int(rng.integers(0, 10)) * 100_000_000
    packets = three_components(rng, float(rng.uniform(3.0, 12.0)), rate, start_ns=start_ns)
    times, values = joined(run(fake_model(), [packets]).fragments)[INSTRUMENT]
    assert times[0] - packets[0].start_ns < 10_000_000
    assert packets[0].end_ns - times[-1] < 10_000_000
    assert np.isfinite(values).all()


def test_the_last_sample_of_an_earthquake_record_is_covered(shared: Path, eqt: Model) -> None:
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    packets = packets_of(stream.select(station="HANS", channel="HH?"))
    times, values = joined(run(eqt, [packets]).fragments)["UW.HANS..HH"]
    assert abs(int(times[-1]) - packets[0].end_ns) < 10_000_000
    assert np.isfinite(values[:, -1]).all()
    assert np.isfinite(values[:, 0]).all()


@pytest.mark.parametrize("seconds", [15, 20, 25])
def test_short_records_give_picks(eqt: Model, seconds: int) -> None:
    stream = obspy.read()
    start = stream[0].stats.starttime
    result = pick(stream.slice(start, start + seconds), eqt)
    times = {p.phase: p.time for p in result.picks}
    assert abs(times["P"] - obspy.UTCDateTime("2009-08-24T00:20:07.72")) < 0.06
    assert abs(times["S"] - obspy.UTCDateTime("2009-08-24T00:20:08.70")) < 0.06


# -- other kinds of missing data ------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_missing(zne: list[Packet], value: float) -> None:
    samples = [packet.samples.copy() for packet in zne]
    for row in samples:
        row[1000:1100] = value
    bad = [replace(p, samples=row) for p, row in zip(zne, samples, strict=True)]
    outcome, expected = run(fake_model(), [bad]), run(fake_model(), [holed(zne, [(10.0, 1.0)])])
    assert outcome.summary.skipped["samples: not finite"] == 300
    assert [p.time for p in outcome.picks] == [p.time for p in expected.picks]
    assert stretches(unknown(outcome)) == [(9.5, 2.0)]


def test_a_lone_sample_that_is_no_number_is_interpolated(zne: list[Packet]) -> None:
    samples = zne[0].samples.copy()
    samples[1000] = np.nan
    outcome = run(fake_model(), [[replace(zne[0], samples=samples), *zne[1:]]])
    assert not unknown(outcome).any()
    assert outcome.summary.skipped["samples: not finite"] == 1


@pytest.mark.parametrize("order", [0, 1])
def test_samples_with_different_values_become_missing_in_any_order(
    zne: list[Packet], order: int
) -> None:
    other = [contradicting(between(p, 10, 11)) for p in zne]
    push = [*zne, *other] if order else [*other, *zne]
    outcome, expected = run(fake_model(), [push]), run(fake_model(), [holed(zne, [(10.0, 1.0)])])
    assert outcome.summary.skipped["samples: disagree"] == 300
    assert stretches(unknown(outcome)) == [(9.5, 2.0)]
    assert [p.time for p in outcome.picks] == [p.time for p in expected.picks]


def test_a_third_opinion_does_not_bring_back_what_disagreed(zne: list[Packet]) -> None:
    other = [contradicting(between(p, 10, 11)) for p in zne]
    again = [between(p, 10, 11) for p in zne]
    for push in ([*zne, *other, *again], [*other, *again, *zne], [*again, *other, *zne]):
        assert stretches(unknown(run(fake_model(), [push]))) == [(9.5, 2.0)]


def test_agreeing_duplicates_are_counted_and_cost_nothing(zne: list[Packet]) -> None:
    outcome = run(fake_model(), [[*zne, *(between(p, 10, 11) for p in zne)]])
    assert outcome.summary.skipped["samples: duplicate"] == 300
    assert "samples: disagree" not in outcome.summary.skipped
    assert not unknown(outcome).any()


def test_long_disagreement_is_explained_once_for_each_channel(
    zne: list[Packet], caplog: pytest.LogCaptureFixture
) -> None:
    shifted = replace(zne[0], samples=np.roll(zne[0].samples, 3))
    run(fake_model(), [[*zne, between(shifted, 5, 10), between(shifted, 15, 20)]])
    assert [r.message.split(":")[0] for r in caplog.records] == ["XX.ABC..HHZ"]
    assert "time shift" in caplog.text


@pytest.mark.parametrize("drift", [-1, 1])
def test_a_digitiser_that_is_a_little_off_slips_without_gaps(drift: int) -> None:
    """One sample too many or too few every 5 s."""
    rng = np.random.default_rng(4)
    packets = []
    for letter in "ZNE":
        samples = noise_with_pulses(rng, 40.0, 100.0)
        for k in range(7):
            start_ns = START_NS + (k * 500 + k * drift) * 10_000_000
            part = samples[k * 500 : (k + 1) * 500]
            packets.append(make_packet(part, "HH" + letter, start_ns=start_ns))
    outcome = run(fake_model(), [packets])
    assert outcome.summary.notes["slip"] == 18
    assert not any(reason.startswith("samples") for reason in outcome.summary.skipped)
    assert not unknown(outcome, 36.0)[:3490].any()


def test_a_change_of_rate_is_a_gap_and_both_parts_are_picked() -> None:
    rng = np.random.default_rng(5)
    packets = [
        *three_components(rng, 20.0, 100.0),
        *three_components(rng, 20.0, 50.0, start_ns=START_NS + 20 * NANOSECONDS),
    ]
    outcome = run(fake_model(), [packets])
    times = [(to_ns(p.peak_time) - START_NS) / NANOSECONDS for p in outcome.picks]
    assert any(time < 19 for time in times)
    assert any(time > 21 for time in times)


def test_rates_that_a_header_rounds_are_one_rate() -> None:
    whole = three_components(np.random.default_rng(6), 30.0)
    rates = [100.0, 99.9998, 100.0003]
    parts = [
        replace(p.slice(k * 1000, (k + 1) * 1000), sampling_rate=rate)
        for p in whole
        for k, rate in enumerate(rates)
    ]
    assert [p.id for p in run(fake_model(), [parts]).picks] == [
        p.id for p in run(fake_model(), [whole]).picks
    ]


# -- an hour ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hour(shared: Path) -> list[Packet]:
    return packets_of(obspy.read(shared / "data/Continuous_CX/CX.PB01..HH.mseed"))


@pytest.mark.parametrize("name", ["phasenet", "eqt"])
def test_a_sample_missing_every_half_minute_costs_hardly_a_pick(
    hour: list[Packet], name: str, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(name)
    whole = run(model, [hour])
    gaps = [(30.0 * k, 0.01) for k in range(1, 120)]
    outcome = run(model, [holed(hour, gaps)])
    assert len(whole.picks) >= 20
    assert found_again(whole.picks, outcome.picks) >= 0.95 * len(whole.picks)
    assert found_again(outcome.picks, whole.picks) >= 0.95 * len(outcome.picks)


def test_long_gaps_every_half_minute_have_no_pick_in_them(
    hour: list[Packet], phasenet: Model
) -> None:
    outcome = run(phasenet, [holed(hour, [(30.0 * k, 1.0) for k in range(1, 120)])])
    assert len(outcome.picks) >= 10
    for item in outcome.picks:
        phase = (to_ns(item.peak_time) - hour[0].start_ns) / NANOSECONDS % 30.0
        assert 1.49 < phase < 29.51, item.id


def test_a_thousand_gaps_give_the_picks_of_the_whole(hour: list[Packet], phasenet: Model) -> None:
    whole = run(phasenet, [hour])
    outcome = run(phasenet, [holed(hour, [(3.6 * k, 0.05) for k in range(1, 1000)])])
    assert outcome.summary.notes["short gap"] >= 2990
    assert found_again(whole.picks, outcome.picks) >= 0.9 * len(whole.picks)


def test_gaps_give_the_same_picks_live_as_from_files(zne: list[Packet]) -> None:
    data = holed(zne, [(7.0, 0.1), (10.0, 3.0), (20.0, 0.2)])
    live = run(fake_model(), in_time_order(data, 0.5))
    assert [p.id for p in run(fake_model(), [data]).picks] == [p.id for p in live.picks]
