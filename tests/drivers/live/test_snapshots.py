"""The state on disk is always a whole one."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.packetise import fake_model, in_time_order, three_components

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.state import to_bytes
from ml_prediction.drivers.live import snapshots as module
from ml_prediction.drivers.live.snapshots import SnapshotFile
from ml_prediction.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> SnapshotFile:
    return SnapshotFile(tmp_path / "state")


def state(number: int) -> dict[str, Any]:
    return {"number": number, "array": np.arange(number * 1000, dtype=np.float32)}


def same(one: Any, other: dict[str, Any]) -> bool:
    return one["number"] == other["number"] and np.array_equal(one["array"], other["array"])


def finished(file: SnapshotFile) -> None:
    assert file._thread is not None
    file._thread.join(10)
    assert not file.busy


def full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_a_file_there_is_no_state(file: SnapshotFile) -> None:
    assert file.load() is None
    assert not file.busy


def test_what_was_saved_is_loaded(file: SnapshotFile) -> None:
    file.save(state(3))
    assert same(SnapshotFile(file.path).load(), state(3))
    assert file.size == file.path.stat().st_size
    file.start(state(4))
    finished(file)
    assert same(file.load(), state(4))
    assert file.size == file.path.stat().st_size
    assert file.take_error() is None


@pytest.mark.parametrize("where", ["fsync", "replace", "write"])
def test_an_error_leaves_the_state_before(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    file.save(state(3))
    size = file.size
    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", full)
        elif where == "replace":
            patch.setattr(Path, "replace", full)
        else:
            patch.setattr(Path, "open", full)
        with pytest.raises(OSError, match="No space"):
            file.save(state(4))
        file.start(state(5))
        finished(file)
    error = file.take_error()
    assert error is not None
    assert error.errno == errno.ENOSPC
    assert file.take_error() is None
    assert same(file.load(), state(3))
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]
    assert file.size == size
    file.save(state(6))
    assert same(file.load(), state(6))


def test_what_a_killed_process_left_half_written_does_no_harm(file: SnapshotFile) -> None:
    file.save(state(3))
    part = file.path.with_name(".state.part")
    part.write_bytes(to_bytes(state(4))[:100])
    again = SnapshotFile(file.path)
    assert same(again.load(), state(3))
    again.save(state(5))
    assert same(again.load(), state(5))
    assert not part.exists()


def test_a_damaged_file_is_a_data_error(file: SnapshotFile) -> None:
    file.save(state(3))
    whole = file.path.read_bytes()
    for size in (0, 1, 50, len(whole) - 1):
        file.path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            file.load()


def test_saving_waits_for_what_is_being_written(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, pack = threading.Event(), to_bytes

    def slowly(value: Any, *, quick: bool = False) -> bytes:
        if not quick:
            assert go.wait(10)
        return pack(value, quick=quick)

    monkeypatch.setattr(module, "to_bytes", slowly)
    file.start(state(1))
    busy = [file.busy]
    threading.Timer(0.05, go.set).start()
    file.save(state(2))
    assert [*busy, file.busy] == [True, False]
    assert same(file.load(), state(2))


def test_a_state_that_is_being_written_does_not_see_what_comes_later(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, pack = threading.Event(), to_bytes

    def slowly(value: Any, *, quick: bool = False) -> bytes:
        assert go.wait(10)
        return pack(value, quick=quick)

    monkeypatch.setattr(module, "to_bytes", slowly)
    pushes = in_time_order(three_components(np.random.default_rng(1), 40.0), 1.0)
    pipeline = Pipeline(fake_model(), queue=100)
    for push in pushes[:25]:
        pipeline.push(push)
    pipeline.work()
    for push in pushes[25:30]:
        pipeline.push(push)
    expected = pipeline.snapshot()
    file.start(pipeline.state())
    for push in pushes[30:]:
        pipeline.push(push)
        pipeline.work()
    pipeline.flush()
    go.set()
    finished(file)
    monkeypatch.undo()
    restored = Pipeline(fake_model(), queue=100)
    restored.restore_state(file.load())
    assert restored.snapshot() == expected


def test_compressed_or_not_it_is_the_same_state(file: SnapshotFile) -> None:
    file.save(state(5))
    quick = file.size
    file.start(state(5))
    finished(file)
    assert file.size < quick
    assert same(file.load(), state(5))
