"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.util.files import check_free, inside, make_folders, write_whole, writing_whole


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


def test_an_error_names_the_file_not_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(tmp_path / "file", b"new", sync=True)
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as missing:
        write_whole(tmp_path / "none" / "file", b"new")
    assert missing.value.filename == str(tmp_path / "none" / "file")


def test_pieces_have_their_name_when_all_are_there_and_a_link_stays_one(tmp_path: Path) -> None:
    old, link, users = tmp_path / "old", tmp_path / "link", tmp_path / "link.part"
    old.write_bytes(b"old")
    users.write_bytes(b"mine")
    link.symlink_to(old)
    with writing_whole(link) as file, writing_whole(tmp_path / "other"):
        file.write(b"new")
        file.flush()
        assert old.read_bytes() == b"old"
    assert link.is_symlink()
    assert (old.read_bytes(), users.read_bytes()) == (b"new", b"mine")
    assert len(list(tmp_path.iterdir())) == 4


def test_pieces_that_fail_leave_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for number, name in ((errno.ENOSPC, str(path)), (errno.EIO, None)):  # EIO: of what was read
        with pytest.raises(OSError, match="sorry") as caught, writing_whole(path):
            raise OSError(number, "sorry")
        assert caught.value.filename == name
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_may_be_written_to(tmp_path: Path) -> None:
    check_free(tmp_path / "new", overwrite=False)
    file = tmp_path / "file"
    file.write_bytes(b"old")
    check_free(file, overwrite=True)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, overwrite, said in (
        (file, False, "--overwrite"),
        (tmp_path, True, "is a folder"),
        (pipe, True, "is no plain file"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            check_free(path, overwrite=overwrite)


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
