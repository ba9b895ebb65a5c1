"""A model that works while the caller goes on finds the same, only later."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from core.packetise import (
    LATENESS,
    START_NS,
    EnergyEngine,
    Outcome,
    arrivals,
    assert_same,
    cut,
    fake_spec,
    in_time_order,
    packets_of,
    run,
    three_components,
    with_gaps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.prediction import Output, Predictor
from ml_prediction.core.windows import Skipped, Window
from ml_prediction.models import Model
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import NANOSECONDS, to_utc

Floats32 = npt.NDArray[np.float32]


@dataclass(eq=False)
class Lagging:
    """Computes when it is asked for the result, and remembers what it was given."""

    engine: EnergyEngine
    batch_size: int = 3
    under_way: int = 4
    running: int = 0
    most: int = 0
    batches: list[int] = field(default_factory=list)

    def start(self, batch: Floats32) -> Lag:
        self.running += 1
        self.most = max(self.most, self.running)
        self.batches.append(len(batch))
        return Lag(self, batch)

    def __call__(self, batch: Floats32) -> Floats32:
        return self.engine(batch)


@dataclass(eq=False)
class Lag:
    owner: Lagging
    batch: Floats32

    def result(self) -> Floats32:
        self.owner.running -= 1
        return self.owner.engine(self.batch)


def lagging_model() -> Model:
    spec = fake_spec()
    return Model(spec, Lagging(EnergyEngine(spec.components)))


def plain_model() -> Model:
    spec = fake_spec()
    return Model(spec, EnergyEngine(spec.components))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), horizon=st.sampled_from([1.0, 1.7, float("inf")]))
def test_overlap_changes_neither_picks_nor_probabilities(seed: int, horizon: float) -> None:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, 25.0) + three_components(rng, 25.0, station="B")
    pushes = arrivals(cut(with_gaps(packets, rng), rng, longest=800), rng)
    plain = run(plain_model(), pushes, horizon=horizon)
    assert plain.picks
    overlapped = run(lagging_model(), pushes, horizon=horizon, overlap=True)
    assert_same(plain, overlapped)
    assert overlapped.summary.to_dict()["skipped"] == plain.summary.to_dict()["skipped"]


def test_work_is_kept_under_way_and_bounded() -> None:
    model = lagging_model()
    engine: Any = model.engine
    pipeline = Pipeline(model, overlap=True)
    for push in in_time_order(three_components(np.random.default_rng(0), 60.0), 2.0):
        pipeline.push(push)
    assert engine.running == engine.under_way
    assert engine.most == engine.under_way + 1
    assert set(engine.batches) == {engine.batch_size}
    pipeline.flush()
    assert engine.running == 0


def test_without_overlap_a_push_leaves_nothing_under_way() -> None:
    model = lagging_model()
    engine: Any = model.engine
    pipeline = Pipeline(model)
    for push in in_time_order(three_components(np.random.default_rng(0), 20.0), 2.0):
        pipeline.push(push)
        assert engine.running == 0


@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_snapshot_keeps_windows_that_have_not_reported(every: int) -> None:
    rng = np.random.default_rng(every)
    pushes = in_time_order(with_gaps(three_components(rng, 60.0), rng), 2.0)
    whole = run(plain_model(), pushes)
    pipeline = Pipeline(lagging_model(), overlap=True)
    outcome = Outcome()
    for number, push in enumerate(pushes):
        outcome.add(pipeline.push(push))
        if number % every == 0:
            saved = pipeline.snapshot()
            pipeline = Pipeline(lagging_model(), overlap=True)
            pipeline.restore(saved)
    outcome.add(pipeline.flush())
    assert whole.picks
    assert_same(whole, outcome)


def test_picks_wait_for_others_but_not_for_ever() -> None:
    rng = np.random.default_rng(0)
    pushes = in_time_order(three_components(rng, 300.0), 5.0)
    whole = run(plain_model(), pushes)
    pipeline = Pipeline(lagging_model(), overlap=True)
    counts = [len(pipeline.push(push).picks) for push in pushes]
    assert max(counts) > 1  # several at once
    assert sum(counts) + len(pipeline.flush().picks) == len(whole.picks)
    # A quiet network: fewer picks than are described together, yet none waits for the end.
    lone = Outcome()
    pipeline = Pipeline(lagging_model(), overlap=True)
    for push in in_time_order(three_components(rng, 8.0), 2.0):
        lone.add(pipeline.push(push))
    assert not lone.picks
    pipeline.restore(pipeline.snapshot())
    start = START_NS + 900 * NANOSECONDS
    for push in in_time_order(three_components(rng, 60.0, start_ns=start), 2.0):
        lone.add(pipeline.push(push))
        if lone.picks:
            break
    assert lone.picks


def test_without_probabilities_the_picks_are_the_same() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(0), 30.0), 2.0)
    full, bare = (run(plain_model(), pushes, probabilities=wanted) for wanted in (True, False))
    assert full.fragments
    assert not bare.fragments
    assert [pick.to_dict() for pick in bare.picks] == [pick.to_dict() for pick in full.picks]


def test_a_silent_instrument_gets_what_was_under_way() -> None:
    packets = three_components(np.random.default_rng(0), 30.0)
    end = to_utc(max(packet.end_ns for packet in packets)) + 60.0
    outcomes = []
    for model, overlap in ((plain_model(), False), (lagging_model(), True)):
        pipeline = Pipeline(model, overlap=overlap)
        outcome = Outcome()
        outcome.add(pipeline.push(packets))
        outcome.add(pipeline.advance(packets[0].nslc.instrument, end))
        outcome.add(pipeline.flush())
        outcomes.append(outcome)
    assert outcomes[0].picks
    assert_same(*outcomes)


@pytest.mark.parametrize("name", ["eqt", "phasenet"])
def test_real_earthquakes_with_the_compiled_engine(
    request: pytest.FixtureRequest, shared: Path, name: str
) -> None:
    model: Model = request.getfixturevalue(name)
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    pushes = in_time_order(packets_of(stream), LATENESS / 2)
    plain, overlapped = (run(model, pushes, overlap=overlap) for overlap in (False, True))
    assert plain.picks
    assert_same(plain, overlapped)


@given(
    kinds=st.lists(st.booleans(), max_size=40),
    batch_size=st.integers(1, 7),
    under_way=st.integers(1, 5),
    overlap=st.booleans(),
)
def test_every_item_is_reported_once_and_in_order(
    kinds: list[bool], batch_size: int, under_way: int, overlap: bool
) -> None:
    spec = fake_spec()
    engine = Lagging(EnergyEngine(spec.components), batch_size, under_way)
    predictor = Predictor(Model(spec, engine), overlap=overlap)
    whose = Instrument("XX", "ABC", "", "HH")
    data = np.zeros((3, 200), dtype=np.float32)
    mask = np.ones((3, 200), dtype=np.bool_)
    items = [
        Window(whose, spec.id, index, data, mask)
        if is_window
        else Skipped(whose, spec.id, index, index + 1, "no data")
        for index, is_window in enumerate(kinds)
    ]
    reported = [item for batch in predictor.add(items) for item in batch]
    assert overlap or len(reported) == len(items)
    reported += [item for batch in predictor.drain() for item in batch]
    assert [item.index for item in reported] == list(range(len(kinds)))
    assert [isinstance(item, Output) for item in reported] == kinds
