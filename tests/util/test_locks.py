"""Locks: one process has them, until it closes the file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from ml_prediction.util import locks


def test_a_lock_is_had_once_and_ends_with_its_file(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert locks.take(first) == "ours"
    assert locks.take(second) == "another's"
    os.close(first)
    assert locks.take(second) == "ours"
    os.close(second)


def test_a_file_system_without_locks_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert locks.take(descriptor) == "impossible"
    os.close(descriptor)
