"""Instruments of a site: their traces merged, and each arrival picked once, for any packets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from core.packetise import (
    START_NS,
    Outcome,
    Pushes,
    arrivals,
    assert_same,
    assert_same_picks,
    channels_of,
    cut,
    fake_model,
    fake_spec,
    in_time_order,
    joined,
    make_packet,
    packets_of,
    run,
    three_components,
    utc,
    with_gaps,
)
from core.test_combining import dull_model, without_detections
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.config import SiteRule
from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.sites import CLIPPED, sites_of
from ml_prediction.models import Ensemble, Model, combine
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS

RULES: tuple[SiteRule, ...] = ("max", "mean")
SHORT: dict[str, Any] = {"stride": 50, "horizon": 1.5}
HH = Instrument("XX", "ABC", "", "HH")
EN = Instrument("XX", "ABC", "", "EN")
WINDOW = fake_spec().in_samples

Traces = npt.NDArray[np.float32]


def renamed(packets: Iterable[Packet], prefix: str, **changes: Any) -> list[Packet]:
    """The same samples of another instrument."""
    return [
        replace(p, nslc=p.nslc._replace(channel=prefix + p.nslc.channel[-1]), **changes)
        for p in packets
    ]


def six_components(
    seed: int, seconds: float = 60.0, rate: float = 100.0, ahead_ns: int = 0
) -> list[Packet]:
    """A broadband, and an accelerometer beside it with noise of its own, that begins later."""
    rng = np.random.default_rng(seed)
    start_ns = START_NS + 2 * NANOSECONDS + ahead_ns
    others = three_components(rng, seconds - 2.0, rate, start_ns=start_ns)
    return three_components(rng, seconds) + renamed(others, "EN")


def loud(packets: list[Packet], *spans: tuple[float, float]) -> list[Packet]:
    """The broadband's vertical at full scale between some times (s)."""
    result = []
    for packet in packets:
        if packet.nslc.channel == "HHZ":
            samples = packet.samples.astype(np.float64)
            for start, stop in spans:
                low = round((START_NS - packet.start_ns) / 1e9 * 100) + round(start * 100)
                samples[max(low, 0) : max(low + round((stop - start) * 100), 0)] = 2.0**23 - 1
            packet = replace(packet, samples=samples)
        result.append(packet)
    return result


def variant(seed: int) -> list[Packet]:
    """By turns: gaps, a clipped broadband, an accelerometer at other rates and off the grid."""
    rate, ahead = [(100.0, 0), (200.0, 0), (100.0, 4_000_000), (40.0, 1_000_000)][seed // 4 % 4]
    packets = six_components(seed, 36.0, rate, ahead)
    if seed % 4 >= 2:
        packets = loud(packets, (13.0, 13.5), (14.5, 15.0), (25.003, 25.01))
    return with_gaps(packets, np.random.default_rng(seed)) if seed % 2 else packets


def shuffled(packets: Sequence[Packet], rng: np.random.Generator, longest: int) -> Pushes:
    return arrivals(cut(packets, rng, longest=longest), rng)


# -- what a site is -------------------------------------------------------------------------------


def codes(*names: str) -> list[NSLC]:
    return [NSLC(*name.split(".")) for name in names]


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        (["UW.A..HHZ", "UW.A..ENZ", "UW.A..ENN"], ["HH EN"]),
        (["UW.A..ENZ", "UW.A..EHZ", "UW.A..BHZ", "UW.A..HLZ"], ["BH EH EN HL"]),
        (["UW.A..HHZ", "UW.B..ENZ"], []),
        (["UW.A..HHZ", "UW.A.01.ENZ", "CC.A..ENZ"], []),
        (["UW.A..HHZ", "UW.A..HHN", "UW.A..HHE"], []),
        (["UW.A..HHZ", "UW.A..LHZ", "UW.A..VMU", "UW.A..LOG", "UW.A..HDF"], []),
        (["UW.A..HHZ", "UW.A..LNZ"], []),
        (["BO.A..UD", "BO.A..NS"], []),
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_a_site_is_what_shares_its_place_and_can_be_picked(
    channels: list[str], found: list[str]
) -> None:
    sites = sites_of(codes(*channels))
    assert [" ".join(i.prefix for i in site) for site in sites] == found


@pytest.mark.parametrize("rule", RULES)
def test_without_a_site_nothing_changes(rule: SiteRule) -> None:
    packets = three_components(np.random.default_rng(1), 40.0)
    packets += three_components(np.random.default_rng(2), 40.0, station="B")
    pushes, options = in_time_order(packets, 1.0), {"expected": channels_of(packets)}
    one, other = (
        run(fake_model(), pushes, **options),
        run(fake_model(), pushes, **options, site=rule),
    )
    assert one.picks
    without, within = ([replace(p, config_hash="") for p in o.picks] for o in (one, other))
    assert repr(without) == repr(within)  # NaN among the values is no difference
    assert_same(one, other)


def test_only_declared_instruments_make_a_site() -> None:
    pushes = in_time_order(six_components(1), 1.0)
    for expected in ([], codes("XX.ABC..HHZ", "XX.ABC..HHN", "XX.ABC..HHE")):
        options: dict[str, Any] = {"expected": expected}
        one, other = (
            run(fake_model(), pushes, **options),
            run(fake_model(), pushes, **options, site="max"),
        )
        assert_same(one, other)


# -- what is merged -------------------------------------------------------------------------------


def dense(outcome: Outcome, instrument: Instrument, low: int, high: int) -> tuple[Traces, Any]:
    """Traces by index, shape (label, sample), and where there are data."""
    values = np.full((3, high - low), np.nan, dtype=np.float32)
    valid = np.zeros(high - low, dtype=np.bool_)
    for fragment in outcome.fragments:
        if fragment.instrument == instrument:
            here = slice(fragment.start - low, fragment.start - low + fragment.values.shape[1])
            values[:, here] = fragment.values
            valid[here] = True
    return values, valid


def left_out(packets: Iterable[Packet], low: int, high: int) -> npt.NDArray[np.bool_]:
    """Where the broadband, sampled on the grid, has clipped within the last window."""
    clipped = np.zeros(high - low, dtype=np.bool_)
    for packet in packets:
        if packet.nslc.instrument == HH:
            for place in np.flatnonzero(np.abs(packet.samples.astype(float)) >= CLIPPED):
                index = packet.sample_ns(int(place)) // 10_000_000 - low
                clipped[index : index + WINDOW + 1] = True
    return clipped


def by_hand(
    rule: SiteRule, packets: list[Packet], alone: Outcome, low: int, high: int
) -> tuple[Traces, Any]:
    """The rule on the two instruments' own traces."""
    (broad, broad_valid), (strong, strong_valid) = (
        dense(alone, instrument, low, high) for instrument in (HH, EN)
    )
    broad[left_out(packets, low, high) & ~np.isnan(strong)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nobody has a number
        stack = np.array([broad, strong], dtype=np.float64)
        merged = np.nanmax(stack, axis=0) if rule == "max" else np.nanmean(stack, axis=0)
    return merged.astype(np.float32), broad_valid | strong_valid


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("horizon", [{}, SHORT], ids=["endless", "short"])
@pytest.mark.parametrize("seed", range(8))
def test_the_traces_are_those_of_the_instruments_merged(
    rule: SiteRule, horizon: dict[str, Any], seed: int
) -> None:
    packets = variant(seed)
    options: dict[str, Any] = {"expected": channels_of(packets), **horizon}
    alone = run(fake_model(), [packets], **options)
    found = run(fake_model(), [packets], site=rule, **options)
    low = min(fragment.start for fragment in alone.fragments)
    high = max(fragment.start + fragment.values.shape[1] for fragment in alone.fragments)
    values, valid = by_hand(rule, packets, alone, low, high)
    (broad, broad_valid), (strong, strong_valid) = (
        dense(found, instrument, low, high) for instrument in (HH, EN)
    )
    assert not (broad_valid & strong_valid).any()  # each sample comes once
    np.testing.assert_array_equal(broad_valid | strong_valid, valid)
    np.testing.assert_array_equal(broad_valid, dense(alone, HH, low, high)[1])
    np.testing.assert_array_equal(
        np.where(broad_valid, broad, strong), np.where(valid, values, np.nan)
    )


# -- for any packets ------------------------------------------------------------------------------


def assert_identical(one: Outcome, other: Outcome) -> None:
    """The same, and merged traces bit for bit."""
    assert_same(one, other)
    first, second = joined(one.fragments), joined(other.fragments)
    for instrument, (times, values) in first.items():
        np.testing.assert_array_equal(times, second[instrument][0])
        np.testing.assert_array_equal(values, second[instrument][1])
    members = {pick.id: pick.members for pick in one.picks}
    assert members == {pick.id: pick.members for pick in other.picks}
    assert one.summary.notes["clipped"] == other.summary.notes["clipped"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    rule=st.sampled_from(RULES),
    longest=st.sampled_from([30, 300, 3000]),
    short=st.booleans(),
)
def test_picks_and_traces_do_not_depend_on_packets(
    seed: int, rule: SiteRule, longest: int, short: bool
) -> None:
    rng = np.random.default_rng(seed)
    packets = variant(seed)
    options: dict[str, Any] = {"expected": channels_of(packets), "site": rule}
    options |= SHORT if short else {}
    whole = run(fake_model(), [packets], **options)
    assert_identical(whole, run(fake_model(), shuffled(packets, rng, longest), **options))
    assert len(whole.picks) > 5


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), rule=st.sampled_from(RULES), queue=st.sampled_from([None, 1000]))
def test_snapshots_in_the_midst_change_nothing(
    seed: int, rule: SiteRule, queue: int | None
) -> None:
    rng = np.random.default_rng(seed)
    packets = variant(seed)
    models: list[Model | Ensemble] = [fake_model(), combine([fake_model(), dull_model()], "mean")]
    options: dict[str, Any] = {"expected": channels_of(packets), "site": rule, "queue": queue}
    pushes = shuffled(packets, rng, 600)
    whole = run(models, pushes, **options)
    pipeline, outcome = Pipeline(models, **options), Outcome()
    cuts = set(rng.integers(0, len(pushes), 4).tolist())
    for number, push in enumerate(pushes):
        outcome.add(pipeline.push(push))
        outcome.add(pipeline.work())
        if number in cuts:
            saved = pipeline.snapshot()
            pipeline = Pipeline(models, **options)
            pipeline.restore(saved)
            assert pipeline.snapshot() == saved
    outcome.add(pipeline.flush())
    assert_same_picks(whole.picks, outcome.picks)
    assert {p.id: p.members for p in whole.picks} == {p.id: p.members for p in outcome.picks}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("first", ["HH", "EN"])
def test_one_instrument_after_the_other_is_as_both_together(rule: SiteRule, first: str) -> None:
    packets = variant(7)
    options: dict[str, Any] = {"expected": channels_of(packets), "site": rule}
    parts = [[p for p in packets if p.nslc.channel.startswith(each)] for each in ("HH", "EN")]
    pushes = parts if first == "HH" else parts[::-1]
    assert_identical(run(fake_model(), [packets], **options), run(fake_model(), pushes, **options))


@pytest.mark.parametrize("rule", RULES)
def test_models_side_by_side_are_each_what_they_are_alone(rule: SiteRule) -> None:
    packets = variant(3)
    pushes = in_time_order(packets, 1.0)
    options: dict[str, Any] = {"expected": channels_of(packets), "site": rule}
    everything: list[Model | Ensemble] = [
        dull_model(),
        fake_model(),
        combine([fake_model(), without_detections(dull_model())], "semblance"),
    ]
    together = run(everything, pushes, **options)
    alone = [pick for each in everything for pick in run(each, pushes, **options).picks]
    assert_same_picks(together.picks, alone)


# -- picks ----------------------------------------------------------------------------------------


def pulses(amplitudes: dict[str, Sequence[float]]) -> list[Packet]:
    """Noise, and on each instrument a pulse every 6 s of so many counts."""
    packets = []
    for number, (prefix, heights) in enumerate(amplitudes.items()):
        rng = np.random.default_rng(number)
        times = np.arange(6 * (len(heights) + 1) * 100) / 100
        for letter in "ZNE":
            samples = rng.normal(0.0, 100.0, len(times))
            for place, height in enumerate(heights):
                after = np.clip(times - 6.0 * (place + 1), 0.0, None)
                samples += height * np.exp(-after / 0.3) * np.sin(2 * np.pi * 3.0 * after)
            packets.append(make_packet(np.round(samples), prefix + letter))
    return packets


def test_an_arrival_is_picked_once_by_the_instrument_that_sees_it_best() -> None:
    packets = pulses({"HH": [3000, 0, 3000], "EN": [0, 3000, 3000]})
    options: dict[str, Any] = {"expected": channels_of(packets)}
    alone = [p for p in run(fake_model(), [packets], **options).picks if p.phase == "P"]
    picks = [p for p in run(fake_model(), [packets], site="max", **options).picks if p.phase == "P"]
    assert [p.channel for p in sorted(alone, key=lambda p: p.time)][:2] == ["HHZ", "ENZ"]
    assert len(alone) == 4
    first, second, third = picks
    assert (first.channel, first.members) == ("HHZ", ("Energy:none@HH",))
    assert (second.channel, second.members) == ("ENZ", ("Energy:none@EN",))
    assert third.members == ("Energy:none@HH", "Energy:none@EN")
    by_id = {pick.id: pick for pick in alone}
    for pick in picks:  # what is said of it is what the instrument says that leads
        assert (by_id[pick.id].amplitude, by_id[pick.id].snr) == (pick.amplitude, pick.snr)
        assert by_id[pick.id].peak_time == pick.peak_time


def test_members_of_an_ensemble_are_named_with_their_instrument() -> None:
    packets = pulses({"HH": [3000], "EN": [3000]})
    ensemble = combine([fake_model(), dull_model(blinding=(0, 0))], "max")
    found = run(ensemble, [packets], expected=channels_of(packets), site="max")
    assert {name for pick in found.picks for name in pick.members} == {
        f"{model}:none@{prefix}" for model in ("Energy", "Dull") for prefix in ("HH", "EN")
    }


def test_the_time_is_that_of_the_instrument_that_leads() -> None:
    packets = pulses({"HH": [3000, 0], "EN": [0, 3000]})
    packets = [
        replace(p, start_ns=p.start_ns + 4_000_000 * (p.nslc.instrument == EN)) for p in packets
    ]
    found = run(fake_model(), [packets], expected=channels_of(packets), site="max")
    offsets = {p.channel: p.peak_time.ns % 10_000_000 for p in found.picks if p.phase == "P"}
    assert offsets == {"HHZ": 0, "ENZ": 4_000_000}


def test_picks_of_any_instrument_belong_to_the_detections_of_the_site() -> None:
    packets = pulses({"HH": [3000, 0, 3000], "EN": [0, 3000, 2000]})
    pipeline = Pipeline(fake_model(), expected=channels_of(packets), site="max")
    linker, picks, detections = DetectionLinker(), [], []
    for push in in_time_order(packets, 1.0):
        result = pipeline.push(push)
        assert {key[0] for key in result.linked_until} in ({str(HH), str(EN)}, set())
        ready, found = linker.add(result)
        picks += ready
        detections += found
    assert {pick.instrument for pick in picks} == {HH, EN}  # before the end: none is held back
    ready, found = linker.add(pipeline.flush())
    picks += ready + linker.close()
    detections += found
    linked = {pick.id: pick.detection_id for pick in picks if pick.detection_id}
    assert linked == {each: d.id for d in detections for each in d.pick_ids}
    assert len(linked) >= 5
    assert {pick.instrument for pick in picks if pick.detection_id} == {HH, EN}


# -- clipping -------------------------------------------------------------------------------------


def test_a_clipped_broadband_is_left_to_the_accelerometer_and_counted() -> None:
    quiet = pulses({"HH": [0, 0], "EN": [3000, 3000]})
    packets = loud(quiet, (11.0, 11.3))
    options: dict[str, Any] = {"expected": channels_of(packets)}
    found = run(fake_model(), [packets], site="max", **options)
    strong = run(fake_model(), [quiet], **options)
    after = [p for p in found.picks if utc(11.0) <= p.time < utc(13.3)]
    assert {p.instrument for p in after} == {EN}
    assert {p.id for p in after} <= {p.id for p in strong.picks}
    assert found.summary.notes["clipped"] == 30 + WINDOW
    assert found.summary.examples["clipped"] == str(HH)


@pytest.mark.parametrize("prefix", ["EN", "HL"])
def test_what_does_not_clip_so_is_not_left_out(prefix: str) -> None:
    packets = renamed(loud(six_components(1, 30.0), (11.0, 11.3))[:3], prefix)
    packets += renamed(three_components(np.random.default_rng(2), 30.0), "HH")
    found = run(fake_model(), [packets], expected=channels_of(packets), site="max")
    assert "clipped" not in found.summary.notes


def test_a_clipped_broadband_that_is_alone_is_picked() -> None:
    packets = loud(six_components(1, 30.0), (11.0, 11.3))
    ended = [p if p.nslc.instrument == HH else p.slice(0, 700) for p in packets]
    options: dict[str, Any] = {"expected": channels_of(packets)}
    found = run(fake_model(), [ended], site="max", **options)
    alone = run(fake_model(), [ended], **options)
    assert "clipped" not in found.summary.notes
    late = [p.id for p in alone.picks if p.instrument == HH and p.time > utc(10.0)]
    assert late == [p.id for p in found.picks if p.time > utc(10.0)]


def beside(packets: list[Packet], rng: np.random.Generator) -> list[Packet]:
    """What an accelerometer records at the same place: noise."""
    noise = [replace(p, samples=rng.normal(0.0, 100.0, len(p))) for p in packets]
    return renamed(noise, "HN")


def test_clipped_records_are_told_from_others(shared: Path) -> None:
    clipped = obspy.read(shared / "data/Analogue_EQs/hawaii_clipped/*.mseed")
    others = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    teleseism = obspy.read(shared / "data/Analogue_EQs/tohoku_M9.1/IV_BOB.mseed")
    found = set()
    for stream in (clipped, others.select(channel="[HE]H?"), teleseism):
        for station in {trace.stats.station for trace in stream}:
            packets = packets_of(stream.select(station=station))
            packets += beside(packets, np.random.default_rng(1))
            model = fake_model(in_samples=3000, stride=3000)
            outcome = run(model, [packets], expected=channels_of(packets), site="max")
            if outcome.summary.notes["clipped"]:
                found.add(station)
    assert found == {trace.stats.station for trace in clipped}
    assert len(found) == 6
