"""A run that is cut in two by a snapshot gives what the whole run gives."""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from core.packetise import (
    Outcome,
    Pushes,
    arrivals,
    assert_same,
    cut,
    fake_model,
    in_time_order,
    packets_of,
    run,
    three_components,
    with_gaps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.pipeline import SNAPSHOT_VERSION, Pipeline
from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.errors import DataError
from ml_prediction.models import Model


def run_in_parts(model: Model, pushes: Pushes, cuts: list[int], **options: Any) -> Outcome:
    """As :func:`run`, but a new pipeline takes over before each of the pushes in ``cuts``."""
    pipeline = Pipeline(model, **options)
    outcome = Outcome()
    for number, push in enumerate(pushes):
        if number in cuts:
            saved = pipeline.snapshot()
            pipeline = Pipeline(model, **options)
            pipeline.restore(saved)
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.flush())
    return outcome


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([40.0, 100.0, 200.0]),
    horizon=st.sampled_from([1.0, 1.7, float("inf")]),
    parts=st.integers(2, 6),
)
def test_runs_joined_by_snapshots_equal_one_run(
    seed: int, rate: float, horizon: float, parts: int
) -> None:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, 25.0, rate) + three_components(rng, 25.0, rate, station="B")
    pushes = arrivals(cut(with_gaps(packets, rng), rng, longest=800), rng)
    cuts = rng.integers(0, len(pushes), parts - 1).tolist()
    options: dict[str, Any] = {"horizon": horizon}
    whole = run(fake_model(), pushes, **options)
    assert whole.picks
    assert_same(whole, run_in_parts(fake_model(), pushes, cuts, **options))


@pytest.mark.slow
@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_a_snapshot_before_every_push_changes_nothing(rate: float) -> None:
    rng = np.random.default_rng(3)
    packets = three_components(rng, 9.0, rate)
    pushes = arrivals(cut(packets, rng, longest=60, repeats=0.0), rng, lateness=0.5)
    options: dict[str, Any] = {"lateness": 0.5, "horizon": 1.0}
    whole = run(fake_model(), pushes, **options)
    assert any(len(detection.pick_ids) >= 2 for detection in whole.detections)
    everywhere = run_in_parts(fake_model(), pushes, list(range(len(pushes))), **options)
    assert_same(whole, everywhere)


def test_replayed_data_are_known_as_duplicates_after_a_snapshot() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(5), 40.0), 1.0)
    again = run_in_parts(fake_model(), [*pushes, *pushes], [len(pushes)])
    assert again.late == []
    assert_same(run(fake_model(), pushes), again)


@pytest.mark.parametrize("seed", range(8))
def test_an_earthquake_cut_into_two_runs_gives_the_same_picks(
    shared: Path, phasenet: Model, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    packets = packets_of(stream.select(station="HANS"))
    packets = with_gaps(packets, rng) if seed % 2 else packets
    pushes = arrivals(cut(packets, rng), rng)
    options: dict[str, Any] = {"stride": 100, "horizon": 2.0} if seed % 4 >= 2 else {}
    whole = run(phasenet, pushes, **options)
    assert whole.picks
    cuts = [int(rng.integers(1, len(pushes)))]
    assert_same(whole, run_in_parts(phasenet, pushes, cuts, **options))


@pytest.mark.parametrize("push", [0, 60, 95, 100, 105])
def test_detections_keep_their_picks_across_a_snapshot(shared: Path, eqt: Model, push: int) -> None:
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    pushes = in_time_order(packets_of(stream.select(station="HANS", channel="HH?")), 1.0)
    whole = run(eqt, pushes)
    assert any(len(detection.pick_ids) >= 2 for detection in whole.detections)
    assert_same(whole, run_in_parts(eqt, pushes, [push]))


def test_a_snapshot_leaves_the_pipeline_as_it_was() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(4), 30.0), 1.0)
    pipeline = Pipeline(fake_model())
    outcome = Outcome()
    for push in pushes:
        outcome.add(pipeline.push(push))
        assert pipeline.snapshot() == pipeline.snapshot()
    outcome.add(pipeline.flush())
    assert_same(run(fake_model(), pushes), outcome)


# -- snapshots that can't be used -------------------------------------------------------------


def saved_state(**options: Any) -> bytes:
    pipeline = Pipeline(fake_model(), **options)
    pipeline.push(three_components(np.random.default_rng(1), 15.5))
    return pipeline.snapshot()


def test_a_truncated_snapshot_is_a_data_error() -> None:
    data = saved_state()
    for size in (0, 1, 10, 100, len(data) // 2, len(data) - 100, len(data) - 1):
        with pytest.raises(DataError):
            Pipeline(fake_model()).restore(data[:size])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 1, 4, 100]))
def test_a_damaged_snapshot_is_a_data_error_or_does_no_harm(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(GOOD)
    half = rng.random() < 0.5  # half of the time in the directory at the end of the archive
    for place in rng.integers(len(data) - 1500 if half else 0, len(data), count):
        data[place] ^= 1 << int(rng.integers(8))
    pipeline = Pipeline(fake_model())
    try:
        pipeline.restore(bytes(data))
    except DataError:
        return
    assert pipeline.snapshot() == GOOD


GOOD = saved_state()


@pytest.mark.parametrize("key", ["version", "identity", "preprocessors", "members", "finders"])
def test_a_snapshot_without_a_part_is_a_data_error(key: str) -> None:
    state = from_bytes(GOOD)
    del state[key]
    with pytest.raises(DataError):
        Pipeline(fake_model()).restore(to_bytes(state))


def test_a_refused_snapshot_changes_nothing() -> None:
    pushes = in_time_order(three_components(np.random.default_rng(2), 30.0), 1.0)
    pipeline = Pipeline(fake_model())
    outcome = Outcome()
    for push in pushes:
        with pytest.raises(DataError):
            pipeline.restore(GOOD[:-200])
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.flush())
    assert_same(run(fake_model(), pushes), outcome)


@pytest.mark.parametrize(
    "options", [{"stride": 50}, {"lateness": 5.0}, {"horizon": 1.5}, {"thresholds": {"P": 0.9}}]
)
def test_a_snapshot_of_other_settings_is_a_data_error(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="settings"):
        Pipeline(fake_model(), **options).restore(GOOD)


@pytest.mark.parametrize(
    "other",
    [
        fake_model(weights_sha256="11" * 32),
        fake_model(in_samples=300),
        fake_model(thresholds={"Detection": 0.5, "P": 0.6, "S": 0.5}),
    ],
    ids=["weights", "window", "thresholds"],
)
def test_a_snapshot_of_another_model_is_a_data_error(other: Model) -> None:
    with pytest.raises(DataError, match="settings"):
        Pipeline(other).restore(GOOD)


def test_a_snapshot_of_another_number_of_models_is_a_data_error() -> None:
    with pytest.raises(DataError, match="settings"):
        Pipeline([fake_model(), fake_model(name="Other")]).restore(GOOD)


@pytest.mark.parametrize("nothing", [None, "text", b"", 5])
def test_what_is_no_snapshot_is_a_data_error(nothing: Any) -> None:
    with pytest.raises(DataError, match="not a snapshot"):
        Pipeline(fake_model()).restore(nothing)


def test_a_restored_pipeline_says_again_that_a_vertical_is_assumed() -> None:
    names = {"HHZ": "HH1", "HHN": "HH2", "HHE": "HH3"}
    packets = [
        replace(packet, nslc=packet.nslc._replace(channel=names[packet.nslc.channel]))
        for packet in three_components(np.random.default_rng(0), 5.0)
    ]
    pipeline, other = Pipeline(fake_model()), Pipeline(fake_model())
    pipeline.push(packets)
    other.restore(pipeline.snapshot())
    assert other.summary.notes["orientation assumed"] == 1
    assert other.flush().summary.notes["orientation assumed"] == 1


def test_a_snapshot_holds_arrays_and_json_only() -> None:
    content = zlib.decompress(GOOD[GOOD.index(b"\n") + 1 + hashlib.sha256().digest_size :])
    length = int.from_bytes(content[:8], "little")
    state = json.loads(content[8 : 8 + length])
    assert state["version"] == SNAPSHOT_VERSION

    def bytes_of(value: Any) -> int:
        if isinstance(value, dict):
            if "__array__" in value:
                kind, *shape = value["__array__"]
                assert np.dtype(kind).kind in "biuf"
                return int(math.prod(shape) * np.dtype(kind).itemsize)
            return sum(map(bytes_of, value.values()))
        return sum(map(bytes_of, value)) if isinstance(value, list) else 0

    assert len(content) == 8 + length + bytes_of(state)


class Trap:
    """Runs when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _spring, ()


def _spring() -> None:
    Trap.sprung = True


@pytest.mark.parametrize("form", ["npz", "pickle"])
def test_nothing_is_unpickled(form: str) -> None:
    buffer = io.BytesIO()
    if form == "npz":
        np.savez(buffer, state=np.array([Trap()], dtype=object))
    else:
        pickle.dump(Trap(), buffer)
    with pytest.raises(DataError):
        Pipeline(fake_model()).restore(buffer.getvalue())
    assert not Trap.sprung
