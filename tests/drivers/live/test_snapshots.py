"""The state on disk is always a whole one."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from core.packetise import fake_model, in_time_order, three_components

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.state import Gathered, to_bytes, write
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
    for number in (0, 1):
        part = file.path.with_name(f".state.{number}.part")
        part.write_bytes(to_bytes(state(4))[:100])
    again = SnapshotFile(file.path)
    assert same(again.load(), state(3))
    for number in (5, 6):
        again.save(state(number))
        assert same(again.load(), state(number))
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]


def test_a_damaged_file_is_a_data_error(file: SnapshotFile) -> None:
    file.save(state(3))
    whole = file.path.read_bytes()
    for size in (0, 1, 50, len(whole) - 1):
        file.path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            file.load()


def held_up(patch: pytest.MonkeyPatch, where: str) -> threading.Event:
    """What is written in the background waits there until this is set."""
    go, pack, sync = threading.Event(), write, os.fsync

    def slowly(value: Gathered, handle: BinaryIO, *, quick: bool = False) -> int:
        if not quick and where == "packing":
            assert go.wait(10)
        return pack(value, handle, quick=quick)

    def slow_sync(descriptor: int) -> None:
        if threading.current_thread().name == "snapshot" and where == "writing":
            assert go.wait(10)
        sync(descriptor)

    patch.setattr(module, "write", slowly)
    patch.setattr(os, "fsync", slow_sync)
    return go


@pytest.mark.parametrize("where", ["packing", "writing"])
def test_saving_waits_for_nobody_and_an_older_state_does_not_replace_it(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    go = held_up(monkeypatch, where)
    file.start(state(1))
    file.save(state(2))
    assert file.busy  # the older one is still under way
    assert same(file.load(), state(2))
    size, saved_at = file.size, file.saved_at
    go.set()
    finished(file)
    assert same(file.load(), state(2))
    assert (file.size, file.saved_at) == (size, saved_at)
    assert file.take_error() is None
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]


def test_saving_after_what_was_being_written_replaces_it(file: SnapshotFile) -> None:
    for number in range(1, 9, 2):
        file.start(state(number))
        finished(file)
        assert same(file.load(), state(number))
        file.save(state(number + 1))
        assert same(file.load(), state(number + 1))
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]


def test_an_older_state_counts_where_the_newer_one_could_not_be_written(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk is older still."""
    file.save(state(1))
    go = held_up(monkeypatch, "packing")
    file.start(state(2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            file.save(state(3))
    go.set()
    finished(file)
    assert same(file.load(), state(2))


def test_want_of_memory_is_told_and_leaves_the_state_before(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> int:
        raise MemoryError

    file.save(state(3))
    with monkeypatch.context() as patch:
        patch.setattr(module, "write", refuse)
        file.start(state(4))
        finished(file)
    assert "memory" in str(file.take_error())
    assert file.take_error() is None
    assert same(file.load(), state(3))
    file.start(state(5))
    finished(file)
    assert same(file.load(), state(5))


def test_it_is_known_when_a_state_was_complete(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert time.monotonic() - 60 < file.saved_at <= time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    file.save(state(1))
    assert file.saved_at == 5.0
    monkeypatch.setattr(time, "monotonic", lambda: 6.0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.save(state(2))
    assert file.saved_at == 5.0


def test_a_state_that_is_being_written_does_not_see_what_comes_later(
    file: SnapshotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = held_up(monkeypatch, "packing")
    pushes = in_time_order(three_components(np.random.default_rng(1), 40.0), 1.0)
    pipeline = Pipeline(fake_model(), queue=100)
    for push in pushes[:25]:
        pipeline.push(push)
    pipeline.work()
    for push in pushes[25:30]:
        pipeline.push(push)
    expected = pipeline.snapshot()
    file.start(pipeline.state())
    assert file.busy
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
