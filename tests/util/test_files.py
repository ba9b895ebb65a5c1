"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_prediction.util.files import inside, make_folders, write_whole


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, sync: bool) -> None:
    path, scratch = tmp_path / "deep" / "folder" / "file", tmp_path / "scratch"
    make_folders(path.parent)
    make_folders(scratch)
    for content in (b"old", b"new"):
        write_whole(path, content, sync=sync, scratch=scratch)
        assert path.read_bytes() == content
    assert not list(scratch.iterdir())
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError("no space")

    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new", sync=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "out/x", "a/out/x"])
def test_names_that_lead_out_of_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "here"
    (folder / "a").mkdir(parents=True)
    for link in (folder / "out", folder / "a" / "out"):
        link.symlink_to(tmp_path)
    assert inside(folder, "a/b.txt") == folder / "a" / "b.txt"
    (tmp_path / "linked").symlink_to(folder)  # the folder itself may be one
    assert inside(tmp_path / "linked", "a/b.txt") == tmp_path / "linked" / "a" / "b.txt"
    with pytest.raises(ValueError, match="leads out"):
        inside(folder, name)
