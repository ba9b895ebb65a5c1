"""Output files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.base import SINKS, files_of
from ml_prediction.sinks.folder import OUTPUT_NAMES, OutputFolder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_at_commit(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "a" / "out") as folder:
        folder.part("picks.csv").write_text("new")
        folder.part("picks.xml")  # never written
        assert not (folder.path / "picks.csv").exists()
    assert names(folder.path) == {"picks.csv"}
    assert (folder.path / "picks.csv").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.EDQUOT, "quota"), KeyboardInterrupt()])
def test_nothing_is_left_when_the_flush_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(descriptor: int) -> None:
        raise error

    def run() -> None:
        with OutputFolder(tmp_path / "out") as folder:
            folder.part("picks.csv").write_text("whole")
            monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(type(error)):
        run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "a" / "out"

    def run() -> None:
        with OutputFolder(out) as folder:
            folder.part("picks.csv").write_text("half")
            raise error

    with pytest.raises(error):
        run()
    assert names(tmp_path) == set()


def test_second_run_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").write_text("old")
    with pytest.raises(ConfigurationError, match="--overwrite"):
        OutputFolder(tmp_path)
    assert names(tmp_path) == {"picks.csv"}


def test_foreign_files_are_no_obstacle_and_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with OutputFolder(tmp_path) as folder:
        folder.part("summary.json").write_text("{}")
    assert names(tmp_path) == {"notes.txt", "summary.json"}


def test_overwrite_replaces_at_commit_and_mixes_no_runs(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").write_text("old")
    (tmp_path / "picks.parquet").write_text("old")
    folder = OutputFolder(tmp_path, overwrite=True)
    folder.part("picks.csv").write_text("new")
    assert (tmp_path / "picks.csv").read_text() == "old"
    folder.commit()
    assert names(tmp_path) == {"picks.csv"}
    assert (tmp_path / "picks.csv").read_text() == "new"


def test_overwrite_keeps_the_old_files_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").write_text("old")
    folder = OutputFolder(tmp_path, overwrite=True)
    folder.part("picks.csv").write_text("half")
    folder.abort()
    assert (tmp_path / "picks.csv").read_text() == "old"
    assert names(tmp_path) == {"picks.csv"}


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with OutputFolder(tmp_path), pytest.raises(ConfigurationError, match="Another run"):
        OutputFolder(tmp_path, overwrite=True)
    OutputFolder(tmp_path).abort()


def test_wrong_names_and_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't be made"):
        OutputFolder(tmp_path / "file" / "out")
    with pytest.raises(ConfigurationError, match="can't be made"):
        OutputFolder(tmp_path / "file")
    with OutputFolder(tmp_path / "out") as folder:
        folder.part("a")
        for name in ("a", "", "b/c"):
            with pytest.raises(ConfigurationError, match="name"):
                folder.part(name)


@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="empty"):
        OutputFolder(name)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("exists", [True, False])
def test_folder_that_can_not_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    exists_at = Path.exists

    def look(path: Path) -> bool:
        if path.name in OUTPUT_NAMES:  # without the right to enter, not even this
            raise PermissionError(errno.EACCES, "Permission denied")
        return exists_at(path)

    monkeypatch.setattr(Path, "exists", look)
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    with pytest.raises(ConfigurationError, match="out can't be written to"):
        OutputFolder(out)
    assert out.exists() is exists
    monkeypatch.undo()
    OutputFolder(out).abort()  # the lock was let go


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigurationError, match="can't be written to"):
            OutputFolder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_what_a_killed_run_left_is_removed_once_the_lock_is_held(tmp_path: Path) -> None:
    mine = {".notes.part", ".scratch-", ".scratch-of-mine", "picks.csv.part", ".UW.GNW.part"}
    for name in (*mine, ".picks.csv.part", ".UW.GNW..HH.png.part", ".summary.json.part"):
        (tmp_path / name).touch()
    (tmp_path / ".scratch-a1_b2c3d" / "0").mkdir(parents=True)
    (tmp_path / ".scratch-a1_b2c3d" / "0" / "picks").touch()
    stale = names(tmp_path) - mine
    running = OutputFolder(tmp_path / "other")
    (running.path / ".picks.csv.part").touch()
    with pytest.raises(ConfigurationError, match="Another run"):
        OutputFolder(running.path)
    assert names(running.path) == {".picks.csv.part"}
    running.abort()
    OutputFolder(tmp_path).abort()
    assert len(stale) == 4
    assert names(tmp_path) == mine | {"other"}


def test_scratch_folders_are_named_as_tempfile_does(tmp_path: Path) -> None:
    for _ in range(20):
        tempfile.mkdtemp(prefix=".scratch-", dir=tmp_path)
    OutputFolder(tmp_path).abort()
    assert names(tmp_path) == set()


def test_file_systems_that_can_not_flush_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with OutputFolder(tmp_path) as folder:
        folder.part("picks.csv").write_text("new")
    assert names(tmp_path) == {"picks.csv"}


def test_folder_in_the_place_of_a_result_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "picks.csv").mkdir()
    with pytest.raises(ConfigurationError, match=r"picks\.csv is a folder"):
        OutputFolder(tmp_path, overwrite=True)


def test_results_are_the_files_of_all_sinks_and_the_summary() -> None:
    assert [*(name for kind in SINKS for name in files_of(kind)), "summary.json"] == list(
        OUTPUT_NAMES
    )
