"""A site of which an instrument is silent: it goes on when told, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from core.packetise import (
    START_NS,
    Outcome,
    assert_same,
    channels_of,
    fake_model,
    in_time_order,
    joined,
    make_packet,
    run,
    three_components,
    utc,
)
from core.test_sites import EN, HH, SHORT, loud, renamed, six_components

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import NANOSECONDS


def of(instrument: Instrument, packets: Iterable[Packet]) -> list[Packet]:
    return [p for p in packets if p.nslc.instrument == instrument]


def test_a_site_waits_for_an_instrument_until_it_is_told_the_time() -> None:
    packets = six_components(3, 60.0)
    pipeline = Pipeline(fake_model(), expected=channels_of(packets), site="max")
    outcome = Outcome()
    for push in in_time_order(of(HH, packets), 1.0):
        outcome.add(pipeline.push(push))
    assert not outcome.picks
    outcome.add(pipeline.advance(EN, utc(50.0)))  # of which nothing has come
    some = len(outcome.picks)
    assert some > 5
    assert max(p.time for p in outcome.picks) < utc(40.0)
    outcome.add(pipeline.advance(EN, utc(300.0)))
    outcome.add(pipeline.flush())
    alone = run(fake_model(), [of(HH, packets)], expected=channels_of(packets))
    assert [p.id for p in outcome.picks] == [p.id for p in alone.picks]


@pytest.mark.parametrize("queue", [None, 1000])
def test_an_instrument_that_comes_back_is_merged_again(queue: int | None) -> None:
    packets = six_components(3, 90.0)
    silent = [
        part
        for p in packets
        for part in ([p] if p.nslc.instrument == HH else [p.slice(0, 1800), p.slice(5800, len(p))])
    ]
    options: dict[str, Any] = {"expected": channels_of(packets), "site": "max"}
    whole = run(fake_model(), [silent], **options)
    pipeline, outcome = Pipeline(fake_model(), queue=queue, **options), Outcome()
    for number, push in enumerate(in_time_order(silent, 1.0)):
        outcome.add(pipeline.push(push))
        if 25 <= number < 60:
            outcome.add(pipeline.advance(EN, utc(number)))
        while pipeline.waiting:
            outcome.add(pipeline.work())
        if number == 55:
            assert max(p.time for p in outcome.picks) > utc(40.0)
    outcome.add(pipeline.flush())
    assert_same(whole, outcome)
    assert whole.summary.skipped["probabilities: late for their site"] == 0


def test_what_comes_when_its_site_has_gone_on_is_counted() -> None:
    packets = six_components(3, 60.0)
    pipeline = Pipeline(fake_model(), expected=channels_of(packets), site="max")
    outcome = Outcome()
    outcome.add(pipeline.push(of(HH, packets)))
    outcome.add(pipeline.advance(EN, utc(40.0)))
    outcome.add(pipeline.push(of(EN, packets)))
    outcome.add(pipeline.flush())
    late = pipeline.summary.skipped["probabilities: late for their site"]
    assert late == (30 - 2) * 100 - 1  # lateness is 10 s; an index may be a sample off
    joined(outcome.fragments)  # none comes twice


@pytest.mark.parametrize("overlap", [False, True])
def test_finishing_an_instrument_is_as_the_end_of_its_data(overlap: bool) -> None:
    packets = [p if p.nslc.instrument == HH else p.slice(0, 2500) for p in six_components(3, 60.0)]
    options: dict[str, Any] = {"expected": channels_of(packets), "site": "max"}
    whole = run(fake_model(), [packets], **options)
    pipeline, outcome = Pipeline(fake_model(), overlap=overlap, **options), Outcome()
    for number, push in enumerate(in_time_order(packets, 1.0)):
        outcome.add(pipeline.push(push))
        if number == 40:
            outcome.add(pipeline.finish(EN))
    assert overlap or max(p.time for p in outcome.picks) > utc(50.0)
    outcome.add(pipeline.flush())
    assert_same(whole, outcome)


def test_packets_that_can_not_be_used_do_not_stop_their_site() -> None:
    packets = of(HH, six_components(3, 60.0))
    slow = [make_packet(np.zeros(300), "BNZ", rate=5.0)]
    expected = channels_of(packets) | channels_of(slow)
    pipeline, outcome = Pipeline(fake_model(), expected=expected, site="max"), Outcome()
    for push in in_time_order(packets + slow, 1.0):
        outcome.add(pipeline.push(push))
    assert max(p.time for p in outcome.picks) > utc(40.0)
    outcome.add(pipeline.flush())
    assert [p.id for p in outcome.picks] == [p.id for p in run(fake_model(), [packets]).picks]


def test_a_site_begins_anew_when_an_instrument_is_forgotten() -> None:
    ahead = 86_400 * NANOSECONDS
    packets = six_components(3, 60.0)
    wrong = [replace(p, start_ns=p.start_ns + ahead) for p in six_components(4, 20.0)]
    options: dict[str, Any] = {"expected": channels_of(packets), "site": "max"}
    pipeline, outcome = Pipeline(fake_model(), **options), Outcome()
    pipeline.push(wrong)
    for push in in_time_order(packets, 1.0):
        if push and push[0].start_ns == START_NS:
            pipeline.forget(EN)
            pipeline.forget(HH)
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.flush())
    assert_same(run(fake_model(), [packets], **options), outcome)


def test_nothing_grows_with_time() -> None:
    rng = np.random.default_rng(8)
    packets = three_components(rng, 200.0) + renamed(three_components(rng, 200.0), "EN")
    packets = loud(packets, *((t, t + 0.1) for t in range(5, 200, 5)))
    pipeline = Pipeline(fake_model(), expected=channels_of(packets), site="mean", **SHORT)
    sizes = []
    for push in in_time_order(packets, 1.0):
        pipeline.push(push)
        sizes.append(len(pipeline.snapshot()))
    assert max(sizes[100:]) < 1.1 * max(sizes[20:100])


def test_long_gaps_cost_no_memory_and_are_passed_over() -> None:
    first = six_components(7, 30.0)
    later = [replace(p, start_ns=p.start_ns + 400 * 86_400 * 10**9) for p in first]
    options: dict[str, Any] = {"expected": channels_of(first), "site": "max"}
    found = run(fake_model(), [first, later], **options)
    assert sum(fragment.values.shape[1] for fragment in found.fragments) < 10_000
    half = len(found.picks) // 2
    assert half
    assert [p.phase for p in found.picks[:half]] == [p.phase for p in found.picks[half:]]


def test_what_was_said_of_an_instrument_is_forgotten_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Codes made of garbage are without end; and one that comes back is warned of again."""
    caplog.set_level(logging.INFO)
    samples = np.full(3000, np.nan)
    pipeline = Pipeline(fake_model(), lateness=1.0)
    said = []
    for turn in range(2):
        start_ns = START_NS + turn * 60 * NANOSECONDS
        packet = make_packet(samples, "HH3", start_ns=start_ns)
        good = make_packet(np.arange(3000.0), "HHZ", start_ns=start_ns)
        pipeline.push([packet, good])
        said.append(len(caplog.records))
        pipeline.forget(packet.nslc.instrument)
    assert said[1] == 2 * said[0] > 0
    for family in pipeline._families:
        stage = family.preprocessor
        assert not stage._told
        assert not stage._assumed
        assert not stage._roles._known
        assert not stage._explain._said
