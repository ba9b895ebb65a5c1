"""Windows that wait for the engine: each reports once, and what is dropped is the oldest."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import (
    EnergyEngine,
    Outcome,
    Pushes,
    arrivals,
    assert_same,
    assert_same_detections,
    assert_same_picks,
    cut,
    fake_model,
    fake_spec,
    in_time_order,
    run,
    three_components,
    with_gaps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.prediction import Output, Predictor
from ml_prediction.core.state import gather, write
from ml_prediction.core.summary import Summary
from ml_prediction.core.window_queue import OVERLOAD, WindowQueue
from ml_prediction.core.windows import Skipped, Window, everywhere
from ml_prediction.models import Model
from ml_prediction.models.engine import Ticket
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_utc

Floats32 = npt.NDArray[np.float32]

WHO = Instrument("XX", "ABC", "", "HH")
SPEC = fake_spec(in_samples=8)
LOTS = 10**6


# -- engines ----------------------------------------------------------------------------------


@dataclass
class Later:
    """Computes only when the result is asked for."""

    engine: EnergyEngine
    batch: Floats32

    def result(self) -> Floats32:
        return self.engine(self.batch)


@dataclass
class SlowEngine:
    """A concurrent engine around another; passes end when they are asked for."""

    inner: EnergyEngine = field(default_factory=EnergyEngine)
    batch_size: int = 4
    under_way: int = 2

    def start(self, batch: Floats32) -> Ticket:
        return Later(self.inner, batch.copy())

    def __call__(self, batch: Floats32) -> Floats32:
        return self.inner(batch)


def slow_model(batch_size: int = 4, under_way: int = 2) -> Model:
    return Model(fake_spec(), SlowEngine(EnergyEngine(), batch_size, under_way))


class Echo:
    """Says in each output which window it is of."""

    def __call__(self, batch: Floats32) -> Floats32:
        return np.repeat(batch[:, :1], len(SPEC.labels), axis=1)


# -- the queue --------------------------------------------------------------------------------


def window(number: int) -> Window:
    data = np.full((3, 8), number, dtype=np.float32)
    return Window(WHO, SPEC.id, number, data, everywhere(3, 8))


def skipped(number: int) -> Skipped:
    return Skipped(WHO, SPEC.id, number, number + 1, "too few samples")


def items_of(kinds: Iterable[bool]) -> list[Window | Skipped]:
    return [window(n) if full else skipped(n) for n, full in enumerate(kinds)]


def test_a_queue_with_room_gives_back_what_came_in() -> None:
    queue = WindowQueue(3)
    items = items_of([True, False, True, True])
    assert [queue.add(item) for item in items] == [None] * 4
    assert (len(queue), queue.windows) == (4, 3)
    assert list(queue) == items
    assert [queue.pop() for _ in items] == items
    assert (len(queue), queue.windows) == (0, 0)
    with pytest.raises(IndexError):
        queue.pop()


def test_what_was_skipped_for_other_reasons_takes_no_room() -> None:
    queue = WindowQueue(1)
    for item in items_of([True, *[False] * 50]):
        assert queue.add(item) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    most=st.integers(0, 4),
    steps=st.lists(st.sampled_from(["window", "skipped", "pop"]), max_size=40),
)
def test_the_oldest_windows_turn_into_skipped_ones_in_their_places(
    most: int, steps: list[str]
) -> None:
    queue, number = WindowQueue(most), 0
    model: list[Window | Skipped] = []
    for step in steps:
        if step == "pop":
            assert len(queue) == len(model)
            if model:
                assert (found := queue.pop()).index == model[0].index
                assert type(found) is type(model.pop(0))
            continue
        item = window(number) if step == "window" else skipped(number)
        number += 1
        model.append(item)
        dropped = queue.add(item)
        full = [n for n, each in enumerate(model) if isinstance(each, Window)]
        if len(full) > most:
            old = model[full[0]]
            assert dropped is not None
            assert (dropped.index, dropped.stop) == (old.index, old.index + 1)
            assert dropped.reason == OVERLOAD
            assert dropped.mask is not None
            assert dropped.mask.all()
            model[full[0]] = dropped
        else:
            assert dropped is None
        assert [each.index for each in queue] == [each.index for each in model]
        assert queue.windows == sum(isinstance(each, Window) for each in model) <= most


@settings(max_examples=100, deadline=None, derandomize=True)
@given(kinds=st.lists(st.booleans(), max_size=12), before=st.integers(0, 4), most=st.integers(0, 8))
def test_shedding_leaves_so_many_windows_and_drops_the_oldest(
    kinds: list[bool], before: int, most: int
) -> None:
    queue = WindowQueue(LOTS)
    for item in items_of(kinds):
        queue.add(item)
    for _ in range(min(before, len(queue))):
        queue.pop()
    there = list(queue)
    windows = [each.index for each in there if isinstance(each, Window)]
    dropped = queue.shed(most)
    kept = windows[max(0, len(windows) - most) :]
    assert [each.index for each in dropped] == windows[: len(windows) - len(kept)]
    assert {each.reason for each in dropped} <= {OVERLOAD}
    assert [each.index for each in queue] == [each.index for each in there]
    assert [each.index for each in queue if isinstance(each, Window)] == kept
    assert queue.windows == len(kept)


# -- the predictor ----------------------------------------------------------------------------


def predictor(queue: int, batch_size: int, under_way: int, summary: Summary) -> Predictor:
    engine = SlowEngine(EnergyEngine(), batch_size, under_way)
    engine.inner = Echo()  # type: ignore[assignment]
    return Predictor(Model(SPEC, engine), queue=queue, summary=summary)


STEPS = st.lists(st.sampled_from(["window", "window", "window", "skipped", "step"]), max_size=60)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    queue=st.integers(1, 8), batch_size=st.integers(1, 4), under_way=st.integers(0, 3), steps=STEPS
)
def test_every_window_reports_once_in_order_and_the_count_is_that_of_the_dropped(
    queue: int, batch_size: int, under_way: int, steps: list[str]
) -> None:
    summary, number = Summary(), 0
    stage = predictor(queue, batch_size, under_way, summary)
    reports: list[Output | Skipped] = []
    kinds: list[bool] = []
    for step in steps:
        if step == "step":
            for batch in stage.step():
                assert sum(isinstance(each, Output) for each in batch) <= batch_size
                reports += batch
        else:
            kinds.append(step == "window")
            assert list(stage.add([window(number) if kinds[-1] else skipped(number)])) == []
            number += 1
        assert stage.waiting <= number - len(reports)
        assert stage.waiting or len(reports) == number
    reports += [each for batch in stage.drain() for each in batch]
    assert stage.waiting == 0
    assert [each.index for each in reports] == list(range(number))
    dropped = [each for each in reports if isinstance(each, Skipped) and each.reason == OVERLOAD]
    assert summary.skipped == Counter({f"windows: {OVERLOAD}": len(dropped)} if dropped else {})
    for each in reports:
        assert kinds[each.index] == (isinstance(each, Output) or each.reason == OVERLOAD)
        if isinstance(each, Output):
            assert (each.probabilities == each.index).all()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    queue=st.integers(1, 8),
    batch_size=st.integers(1, 4),
    under_way=st.integers(0, 3),
    steps=STEPS.filter(bool),
    cut_at=st.floats(0, 1, exclude_max=True),
)
def test_a_snapshot_in_the_midst_loses_no_window_and_drops_none(
    queue: int, batch_size: int, under_way: int, steps: list[str], cut_at: float
) -> None:
    summary, number = Summary(), 0
    stage = predictor(queue, batch_size, under_way, summary)
    reports: list[Output | Skipped] = []
    for at, step in enumerate(steps):
        if at == int(cut_at * len(steps)):
            state, waiting = stage.snapshot(), stage.waiting
            restored = predictor(queue, batch_size, under_way, again := Summary())
            restored.restore(state)
            assert restored.waiting == waiting
            assert not again.skipped
            stage = restored
        if step == "step":
            reports += [each for batch in stage.step() for each in batch]
        else:
            assert not list(stage.add([window(number) if step == "window" else skipped(number)]))
            number += 1
    reports += [each for batch in stage.drain() for each in batch]
    assert [each.index for each in reports] == list(range(number))


def test_a_snapshot_replaces_what_waits() -> None:
    stage = predictor(10, 2, 1, Summary())
    list(stage.add(items_of([True, True, False])))
    saved = stage.snapshot()
    list(stage.step())
    stage.restore(saved)
    assert stage.waiting == 2
    assert [each.index for batch in stage.drain() for each in batch] == [0, 1, 2]

    list(stage.add(items_of([True] * 5)))
    stage.restore(saved)
    assert [each.index for batch in stage.drain() for each in batch] == [0, 1, 2]


# -- the pipeline -----------------------------------------------------------------------------


def run_with_work(model: Model, pushes: Pushes, works: list[int], **options: Any) -> Outcome:
    """As :func:`run` with a queue, and so many calls of `work` after each push."""
    pipeline = Pipeline(model, **{"queue": LOTS, **options})
    outcome = Outcome()
    for number, push in enumerate(pushes):
        part = pipeline.push(push)
        assert not part.picks
        assert not part.fragments
        outcome.add(part)
        for _ in range(works[number % len(works)] if works else 0):
            outcome.add(pipeline.work())
    outcome.add(pipeline.flush())
    assert pipeline.waiting == 0
    return outcome


def two_stations(seed: int, seconds: float = 20.0) -> Pushes:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, seconds) + three_components(rng, seconds, station="B")
    return arrivals(cut(with_gaps(packets, rng), rng, longest=800), rng)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    works=st.lists(st.integers(0, 3), max_size=12),
    horizon=st.sampled_from([1.0, float("inf")]),
    batch_size=st.integers(1, 7),
    under_way=st.sampled_from([None, 0, 2]),
)
def test_any_interleaving_of_push_and_work_gives_what_push_alone_gives(
    seed: int, works: list[int], horizon: float, batch_size: int, under_way: int | None
) -> None:
    pushes = two_stations(seed)
    model = fake_model() if under_way is None else slow_model(batch_size, under_way)
    options: dict[str, Any] = {"horizon": horizon, "batch_size": batch_size}
    whole = run(fake_model(), pushes, **options)
    assert whole.picks
    assert_same(whole, run_with_work(model, pushes, works, **options))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), horizon=st.sampled_from([1.0, float("inf")]))
def test_working_as_long_as_something_waits_gives_everything_as_soon_as_push_alone(
    seed: int, horizon: float
) -> None:
    direct = Pipeline(fake_model(), horizon=horizon)
    queued = Pipeline(fake_model(), horizon=horizon, queue=LOTS)
    for push in two_stations(seed):
        whole, part = direct.push(push), Outcome()
        queued.push(push)
        while queued.waiting:
            part.add(queued.work())
        assert sorted(pick.id for pick in part.picks) == sorted(pick.id for pick in whole.picks)
        assert len(part.detections) == len(whole.detections)


def test_windows_that_are_skipped_do_not_keep_picks_waiting() -> None:
    """A station whose digitiser sends zeros after a while: no window is left for the model."""
    packets = [
        replace(packet, samples=np.concatenate([packet.samples, np.zeros(2000)]))
        for packet in three_components(np.random.default_rng(12), 20.0)
    ]
    direct, queued = Pipeline(fake_model()), Pipeline(fake_model(), queue=LOTS)
    whole, parts = Outcome(), Outcome()
    for push in in_time_order(packets, 1.0):
        whole.add(direct.push(push))
        queued.push(push)
        while queued.waiting:
            parts.add(queued.work())
    assert whole.picks
    assert_same_picks(whole.picks, parts.picks)
    assert_same_detections(whole.detections, parts.detections)


def test_silence_is_told_to_windows_that_wait_too() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(6), 20.0), 1.0)
    direct, queued = Pipeline(fake_model()), Pipeline(fake_model(), queue=LOTS)
    whole, parts = Outcome(), Outcome()
    for push in pushes:
        whole.add(direct.push(push))
        parts.add(queued.push(push))
    time = to_utc(pushes[-1][0].end_ns + 120 * 10**9)
    whole.add(direct.advance(WHO, time))
    parts.add(queued.advance(WHO, time))
    assert not parts.picks  # it only closes windows: the caller is not kept
    while queued.waiting:
        parts.add(queued.work())
    assert whole.picks
    assert_same(whole, parts)


def test_several_models_have_a_queue_each() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(7), 20.0), 1.0)
    models = [fake_model(), fake_model(name="Other", stride=50)]
    whole, parts = Outcome(), Outcome()
    direct, queued = Pipeline(models), Pipeline(models, queue=LOTS)
    for push in pushes:
        whole.add(direct.push(push))
        parts.add(queued.push(push))
    whole.add(direct.flush())
    while queued.waiting:
        parts.add(queued.work())
    parts.add(queued.flush())
    assert {pick.model for pick in whole.picks} == {"Energy", "Other"}
    assert_same_picks(whole.picks, parts.picks)


def test_work_with_nothing_waiting_gives_nothing() -> None:
    pipeline = Pipeline(fake_model(), queue=5)
    part = pipeline.work()
    assert (part.picks, part.detections, part.fragments) == ([], [], [])
    assert pipeline.waiting == 0


@pytest.mark.parametrize("queue", [1, 5, 12])
def test_overload_costs_the_oldest_windows_only_and_later_picks_are_as_ever(queue: int) -> None:
    pushes = in_time_order(three_components(np.random.default_rng(8), 90.0), 1.0)
    whole = run(fake_model(), pushes)
    pipeline, outcome = Pipeline(fake_model(), queue=queue, batch_size=2), Outcome()
    for number, push in enumerate(pushes):
        outcome.add(pipeline.push(push))
        assert pipeline.waiting <= queue + 4
        while number >= 40 and pipeline.waiting:
            outcome.add(pipeline.work())
    outcome.add(pipeline.flush())
    dropped = outcome.summary.skipped[f"windows: {OVERLOAD}"]
    assert 40 - queue - 4 <= dropped <= 42 - queue
    assert outcome.summary.examples[f"windows: {OVERLOAD}"] == str(WHO)
    assert outcome.summary.windows == whole.summary.windows
    clean = to_utc(pushes[0][0].start_ns + (dropped + 4) * 10**9)
    later = [pick for pick in whole.picks if pick.peak_time > clean]
    assert len(later) > 10
    assert_same_picks(later, [pick for pick in outcome.picks if pick.peak_time > clean])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    works=st.lists(st.integers(0, 2), min_size=1, max_size=9),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_a_state_in_the_midst_of_work_loses_nothing(
    seed: int, works: list[int], cuts: list[int]
) -> None:
    pushes = two_stations(seed)
    whole = run(fake_model(), pushes)
    options: dict[str, Any] = {"queue": LOTS, "batch_size": 3}
    pipeline, outcome = Pipeline(slow_model(), **options), Outcome()
    for number, push in enumerate(pushes):
        outcome.add(pipeline.push(push))
        for _ in range(works[number % len(works)]):
            outcome.add(pipeline.work())
        if number in cuts:
            other = Pipeline(slow_model(), **options)
            other.restore(pipeline.snapshot())
            assert other.waiting == pipeline.waiting
            pipeline = other
    outcome.add(pipeline.flush())
    assert_same(whole, outcome)


def test_a_state_taken_under_overload_keeps_what_waits_and_what_was_dropped() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(9), 40.0), 1.0)
    options: dict[str, Any] = {"queue": 6, "batch_size": 4}
    pipeline = Pipeline(slow_model(), **options)
    outcome = Outcome()
    for push in pushes[:20]:
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.work())
    for push in pushes[20:30]:
        outcome.add(pipeline.push(push))
    other = Pipeline(slow_model(), **options)
    other.restore(pipeline.snapshot())
    assert other.waiting == pipeline.waiting
    assert not other.summary.skipped
    rest, again = Outcome(), Outcome()
    for push in pushes[30:]:
        while pipeline.waiting:
            rest.add(pipeline.work())
        while other.waiting:
            again.add(other.work())
        rest.add(pipeline.push(push))
        again.add(other.push(push))
    rest.add(pipeline.flush())
    again.add(other.flush())
    assert rest.picks
    assert_same(rest, again)


def test_a_gathered_state_does_not_see_what_comes_after_it() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(10), 40.0), 1.0)
    pipeline = Pipeline(fake_model(), queue=LOTS)
    for push in pushes[:20]:
        pipeline.push(push)
    expected, state = pipeline.snapshot(), gather(pipeline.state())
    for push in pushes[20:]:
        pipeline.push(push)
        pipeline.work()
    pipeline.flush()
    found = io.BytesIO()
    write(state, found)
    assert found.getvalue() == expected
