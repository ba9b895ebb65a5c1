"""A pipeline with a queue through failures of the engine, silence, and the end of a station."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import (
    START_NS,
    EnergyEngine,
    Outcome,
    Pushes,
    assert_same,
    assert_same_picks,
    fake_spec,
    in_time_order,
    run,
    three_components,
    utc,
)

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.prediction import ENGINE_FAILED, Output, Predictor
from ml_prediction.core.summary import Summary
from ml_prediction.core.window_queue import OVERLOAD
from ml_prediction.core.windows import Skipped, Window, everywhere
from ml_prediction.models import Model
from ml_prediction.models.engine import Ticket
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_utc

Floats32 = npt.NDArray[np.float32]

WHO = Instrument("XX", "ABC", "", "HH")
OTHER = Instrument("XX", "B", "", "HH")
SPEC = fake_spec()
FAILED = f"windows: {ENGINE_FAILED}"
LOTS = 10**6
WHERE = pytest.mark.parametrize("where", ["start", "result"])


@dataclass
class Frail:
    """A concurrent engine whose passes fail when they are told to, at one end or the other."""

    where: str = "start"
    failing: bool = False
    batch_size: int = 4
    under_way: int = 2
    batches: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    inner: EnergyEngine = field(default_factory=EnergyEngine)

    def start(self, batch: Floats32) -> Ticket:
        self.batches.append(len(batch))
        ticket = Promise(self, batch.copy(), self.failing and self.where == "result")
        if self.failing and self.where == "start":
            self.fail(batch)
        return ticket

    def fail(self, batch: Floats32) -> None:
        self.failed.append(len(batch))
        raise RuntimeError("out of memory\n  on the device")

    def __call__(self, batch: Floats32) -> Floats32:
        return self.start(batch).result()


@dataclass
class Promise:
    """A pass whose fate is sealed when it begins."""

    engine: Frail
    batch: Floats32
    failing: bool

    def result(self) -> Floats32:
        if self.failing:
            self.engine.fail(self.batch)
        return self.engine.inner(self.batch)


def model_of(engine: Frail) -> Model:
    return Model(SPEC, engine)


def worked(pipeline: Pipeline, outcome: Outcome | None = None) -> Outcome:
    """What comes out until nothing waits any more."""
    outcome = Outcome() if outcome is None else outcome
    while pipeline.waiting:
        outcome.add(pipeline.work())
    return outcome


def one_station(seed: int = 6, seconds: float = 20.0, begin: float = 0.0) -> Pushes:
    rng = np.random.default_rng(seed)
    start_ns = START_NS + round(begin * NANOSECONDS)
    return in_time_order(three_components(rng, seconds, start_ns=start_ns), 1.0)


def two_stations(seed: int = 6, seconds: float = 20.0) -> Pushes:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, seconds) + three_components(rng, seconds, station="B")
    return in_time_order(packets, 1.0)


def of(instrument: Instrument, push: Sequence[Packet]) -> list[Packet]:
    return [packet for packet in push if packet.nslc.instrument == instrument]


def picks_of(outcome: Outcome, instrument: Instrument) -> Outcome:
    """The part of an outcome that is of one instrument."""
    station = instrument.station
    return Outcome(
        [pick for pick in outcome.picks if pick.station == station],
        [detection for detection in outcome.detections if detection.station == station],
        [fragment for fragment in outcome.fragments if fragment.instrument == instrument],
        [packet for packet in outcome.late if packet.nslc.instrument == instrument],
    )


# -- an engine that fails ---------------------------------------------------------------------


def window(number: int) -> Window:
    data = np.random.default_rng(number).normal(size=(3, 200)).astype(np.float32)
    return Window(WHO, SPEC.id, number, data, everywhere(3, 200))


def skipped(number: int) -> Skipped:
    return Skipped(WHO, SPEC.id, number, number + 1, "too few samples")


@WHERE
def test_windows_of_a_pass_that_fails_report_so_in_their_places(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, summary = Frail(where), Summary()
    stage = Predictor(model_of(engine), queue=LOTS, summary=summary)
    list(stage.add([window(0), window(1), skipped(2), window(3), window(4), window(5)]))
    engine.failing = True
    with caplog.at_level(logging.ERROR, "ml_prediction"):
        (batch,) = stage.step()
    engine.failing = False
    assert [each.index for each in batch] == [0, 1, 2, 3, 4]
    reasons = [each.reason for each in batch if isinstance(each, Skipped)]
    assert reasons == [ENGINE_FAILED, ENGINE_FAILED, "too few samples", *[ENGINE_FAILED] * 2]
    assert batch[0].mask is not None  # there were data
    assert batch[0].mask.all()
    assert summary.skipped[FAILED] == 4
    assert summary.examples[FAILED] == str(WHO)
    assert caplog.messages == ["the engine failed: out of memory on the device"]
    rest = [each for batch in stage.drain() for each in batch]
    assert [each.index for each in rest] == [5]
    assert stage.waiting == 0


@WHERE
def test_failures_are_counted_until_a_pass_succeeds(where: str) -> None:
    engine = Frail(where, batch_size=1, under_way=0)
    stage = Predictor(model_of(engine), queue=LOTS)
    counts = []
    for number, failing in enumerate([False, True, True, False, True, False, False]):
        engine.failing = failing
        list(stage.add([window(number)]))
        (batch,) = stage.step()
        assert isinstance(batch[0], Skipped if failing else Output)
        counts.append(stage.failures)
    assert counts == [0, 1, 2, 0, 1, 0, 0]


def test_where_nothing_is_computed_failures_stay_as_they_are() -> None:
    engine = Frail(failing=True)
    stage = Predictor(model_of(engine), queue=LOTS)
    list(stage.add([window(0)]))
    list(stage.step())
    list(stage.add([skipped(1)]))
    assert [each.index for batch in stage.step() for each in batch] == [1]
    assert stage.failures == 1


@WHERE
def test_without_a_queue_an_error_of_the_engine_is_the_callers(where: str) -> None:
    engine, summary = Frail(where, failing=True), Summary()
    stage = Predictor(model_of(engine), summary=summary)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(stage.add([window(0)]))
    assert not summary.skipped
    pipeline = Pipeline(model_of(Frail(where, failing=True)))
    packets = three_components(np.random.default_rng(1), 20.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        pipeline.push(packets)


@WHERE
@pytest.mark.parametrize("under_way", [0, 2])
def test_a_failure_costs_its_windows_only_and_later_picks_are_as_ever(
    where: str, under_way: int
) -> None:
    pushes = two_stations(8, 60.0)
    engine = Frail(where, under_way=under_way)
    whole = run(model_of(Frail()), pushes)
    pipeline, outcome = Pipeline(model_of(engine), queue=LOTS), Outcome()
    most = 0
    for number, push in enumerate(pushes):
        engine.failing = 20 <= number < 25
        outcome.add(pipeline.push(push))
        worked(pipeline, outcome)
        most = max(most, pipeline.failures)
    outcome.add(pipeline.flush())
    assert most == len(engine.failed) >= 5
    assert pipeline.failures == 0
    assert outcome.summary.skipped[FAILED] == sum(engine.failed) >= 10
    assert outcome.summary.windows == whole.summary.windows
    for instrument in (WHO, OTHER):
        clear = [(utc(0), utc(14)), (utc(28), utc(100))]
        expected, found = (
            [
                pick
                for pick in picks_of(each, instrument).picks
                if any(begin < pick.peak_time < end for begin, end in clear)
            ]
            for each in (whole, outcome)
        )
        assert len(expected) > 10
        assert_same_picks(expected, found)


def test_of_several_models_the_one_with_most_failures_counts() -> None:
    engines = [Frail(failing=True, batch_size=1, under_way=0), Frail()]
    models = [
        Model(fake_spec(name=name), engine) for name, engine in zip("AB", engines, strict=True)
    ]
    pipeline = Pipeline(models, queue=LOTS)
    for push in one_station():
        pipeline.push(push)
    outcome = worked(pipeline)
    assert pipeline.failures == len(engines[0].failed) >= 3
    assert outcome.summary.skipped[FAILED] == len(engines[0].failed)
    assert sum(engines[1].batches) == len(engines[0].failed)


# -- shedding ---------------------------------------------------------------------------------


def test_what_is_shed_is_the_oldest_and_is_counted() -> None:
    pushes = one_station(8, 60.0)
    whole = run(model_of(Frail()), pushes)
    pipeline, outcome = Pipeline(model_of(Frail(under_way=0)), queue=LOTS), Outcome()
    for push in pushes[:40]:
        outcome.add(pipeline.push(push))
    before = pipeline.waiting
    pipeline.shed(before + 5)
    assert pipeline.waiting == before
    pipeline.shed(6)
    assert pipeline.waiting == 6
    assert pipeline.summary.skipped[f"windows: {OVERLOAD}"] == before - 6
    other = Pipeline(model_of(Frail()), queue=LOTS)
    other.restore(pipeline.snapshot())
    assert other.waiting == 6
    for each, found in ((pipeline, outcome), (other, Outcome())):
        worked(each, found)
        for push in pushes[40:]:
            found.add(each.push(push))
            worked(each, found)
        found.add(each.flush())
        late = [pick for pick in whole.picks if pick.peak_time > utc(before - 2)]
        assert len(late) > 10
        assert_same_picks(late, [p for p in found.picks if p.peak_time > utc(before - 2)])


def test_without_a_queue_there_is_nothing_to_shed() -> None:
    pipeline = Pipeline(model_of(Frail()))
    pipeline.push(one_station()[0])
    pipeline.shed(0)
    assert not pipeline.summary.skipped


# -- silence ----------------------------------------------------------------------------------


def in_silence(seconds: float, pipeline: Pipeline, outcome: Outcome) -> Outcome:
    outcome.add(pipeline.advance(WHO, utc(seconds)))
    return outcome


def test_with_a_queue_the_time_goes_on_without_a_forward_pass() -> None:
    engine = Frail()
    pipeline = Pipeline(model_of(engine), queue=LOTS)
    for push in one_station():
        pipeline.push(push)
    before = pipeline.waiting
    part = pipeline.advance(WHO, utc(140))
    assert engine.batches == []
    assert (part.picks, part.detections, part.fragments) == ([], [], [])
    assert pipeline.waiting > before
    pipeline.work()
    assert engine.batches


@pytest.mark.parametrize("works", [0, 1, LOTS])
@pytest.mark.parametrize("stops", [(140.0,), (20.5, 21.0, 22.5, 25.0, 32.0, 140.0)])
@pytest.mark.parametrize("back", [False, True], ids=["gone", "comes back"])
def test_the_tail_is_that_of_a_pipeline_without_a_queue(
    works: int, stops: tuple[float, ...], back: bool
) -> None:
    pushes = one_station()
    direct, queued = Pipeline(model_of(Frail())), Pipeline(model_of(Frail()), queue=LOTS)
    whole, parts = Outcome(), Outcome()
    for push in pushes:
        whole.add(direct.push(push))
        parts.add(queued.push(push))
        for _ in range(min(works, queued.waiting)):
            parts.add(queued.work())
    for stop in stops:
        in_silence(stop, direct, whole)
        in_silence(stop, queued, parts)
        for _ in range(min(works, queued.waiting)):
            parts.add(queued.work())
    worked(queued, parts)
    assert whole.picks
    assert max(pick.peak_time for pick in whole.picks) > utc(17)
    assert_same(whole, parts)
    for push in one_station(7, 20.0, begin=200.0) if back else ():
        whole.add(direct.push(push))
        parts.add(queued.push(push))
        worked(queued, parts)
    whole.add(direct.flush())
    parts.add(queued.flush())
    assert_same(whole, parts)


def test_the_tail_of_one_is_told_while_others_go_on() -> None:
    pushes = two_stations(9, 40.0)
    direct, queued = Pipeline(model_of(Frail())), Pipeline(model_of(Frail()), queue=LOTS)
    whole, parts = Outcome(), Outcome()
    for number, push in enumerate(pushes):
        push = push if number < 15 else of(OTHER, push)
        whole.add(direct.push(push))
        parts.add(queued.push(push))
        if number == 25:
            in_silence(100.0, direct, whole)
            in_silence(100.0, queued, parts)
    worked(queued, parts)
    assert picks_of(parts, WHO).picks
    assert_same(picks_of(whole, WHO), picks_of(parts, WHO))
    whole.add(direct.flush())
    parts.add(queued.flush())
    assert_same(whole, parts)


@pytest.mark.parametrize("what", ["a restart", "a packet again"])
def test_a_tail_that_was_told_and_still_waits_is_not_lost(what: str) -> None:
    pushes = one_station()
    whole, parts = Outcome(), Outcome()
    direct, queued = Pipeline(model_of(Frail())), Pipeline(model_of(Frail()), queue=LOTS)
    for push in pushes:
        whole.add(direct.push(push))
        queued.push(push)
    in_silence(140.0, direct, whole)
    in_silence(140.0, queued, parts)
    if what == "a restart":
        state = queued.snapshot()
        queued = Pipeline(model_of(Frail()), queue=LOTS)
        queued.restore(state)
    else:
        parts.add(queued.push(pushes[3]))
    worked(queued, parts)
    in_silence(300.0, direct, whole)  # at the latest when it is told again
    in_silence(300.0, queued, parts)
    worked(queued, parts)
    assert_same(whole, parts)


def test_the_time_of_somebody_unknown_is_nothing() -> None:
    pipeline = Pipeline(model_of(Frail()), queue=LOTS)
    before = pipeline.snapshot()
    pipeline.advance(WHO, utc(100))
    assert pipeline.snapshot() == before
    assert pipeline.waiting == 0


# -- forgetting -------------------------------------------------------------------------------


def fed(pushes: Pushes, **options: Any) -> tuple[Pipeline, Outcome]:
    pipeline, outcome = Pipeline(model_of(Frail()), queue=LOTS, **options), Outcome()
    for push in pushes:
        outcome.add(pipeline.push(push))
        worked(pipeline, outcome)
    return pipeline, outcome


def test_a_forgotten_instrument_begins_afresh() -> None:
    pipeline, outcome = fed(one_station())
    in_silence(140.0, pipeline, outcome)
    worked(pipeline, outcome)
    pipeline.forget(WHO)
    again = Outcome()
    for push in one_station(3, 20.0, begin=-5000.0):  # of any time: nothing is late
        again.add(pipeline.push(push))
        worked(pipeline, again)
    again.add(pipeline.flush())
    assert again.picks
    assert_same(run(model_of(Frail()), one_station(3, 20.0, begin=-5000.0)), again)


def test_nobody_else_notices_that_one_is_forgotten() -> None:
    pushes = two_stations(9, 40.0)
    whole = run(model_of(Frail()), pushes)
    pipeline, outcome = fed(pushes[:20])
    pipeline.forget(WHO)
    for push in pushes[20:]:
        outcome.add(pipeline.push(of(OTHER, push)))
        worked(pipeline, outcome)
    outcome.add(pipeline.flush())
    assert_same(picks_of(whole, OTHER), picks_of(outcome, OTHER))


@pytest.mark.parametrize("options", [{}, {"horizon": 1.0}], ids=["default", "horizon"])
def test_nothing_is_left_of_what_was_forgotten(options: dict[str, Any]) -> None:
    alone, _ = fed([of(OTHER, push) for push in two_stations()], **options)
    pipeline, _ = fed(two_stations(), **options)
    both = pipeline.snapshot()
    pipeline.forget(WHO)
    assert pipeline.snapshot() == alone.snapshot()
    assert len(pipeline.snapshot()) < 0.6 * len(both)
    for family in pipeline._families:
        assert len(family.preprocessor._stations) == 1
        assert len(family.preprocessor._feeds) == 3
    for finder in pipeline._finders:
        tracks = finder.extractor._tracks.values()
        assert finder.extractor._held == sum(len(track.held) for track in tracks)
    pipeline.forget(OTHER)
    assert pipeline.snapshot() == Pipeline(model_of(Frail()), queue=LOTS, **options).snapshot()
    pipeline.forget(WHO)  # nobody knows it any more


def test_many_that_come_and_go_leave_nothing() -> None:
    pipeline = Pipeline(model_of(Frail()), queue=LOTS)
    empty = len(pipeline.snapshot())
    for number in range(30):
        name = f"X{number}"
        pipeline.push(three_components(np.random.default_rng(number), 4.0, station=name))
        worked(pipeline)
        instrument = Instrument("XX", name, "", "HH")
        pipeline.advance(instrument, to_utc(START_NS + 3600 * NANOSECONDS))
        worked(pipeline)
        pipeline.forget(instrument)
    assert len(pipeline.snapshot()) == empty
    assert not pipeline._ended


def test_channels_that_were_refused_are_forgotten_too(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Pipeline(model_of(Frail()), queue=LOTS)
    samples = np.zeros(100, np.int32)
    for number in range(30):
        refused = NSLC("XX", f"X{number}", "", "HHQ")
        for _ in range(2):
            pipeline.push([Packet(refused, START_NS, 100.0, samples)])
        pipeline.forget(refused.instrument)
    assert len(caplog.records) == 30
    assert not pipeline._families[0].preprocessor._explain._said


def test_windows_of_a_forgotten_instrument_that_still_wait_harm_nobody() -> None:
    """As after a process that was stopped for an hour in the midst of its work."""
    pushes = two_stations(9, 40.0)
    whole = run(model_of(Frail()), pushes)
    pipeline, outcome = Pipeline(model_of(Frail()), queue=LOTS), Outcome()
    for push in pushes[:20]:
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.work())
    pipeline.forget(WHO)
    worked(pipeline, outcome)
    for push in pushes[20:]:
        outcome.add(pipeline.push(of(OTHER, push)))
        worked(pipeline, outcome)
    outcome.add(pipeline.flush())
    assert_same(picks_of(whole, OTHER), picks_of(outcome, OTHER))
