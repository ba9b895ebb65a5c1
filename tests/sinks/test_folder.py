"""Output files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OutputFolder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_at_commit(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "a" / "out") as folder:
        folder.part("picks.csv").write_text("new")
        folder.part("picks.xml")  # never written
        assert not (folder.path / "picks.csv").exists()
    assert names(folder.path) == {"picks.csv"}
    assert (folder.path / "picks.csv").read_text() == "new"


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
