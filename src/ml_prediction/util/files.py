"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from ml_prediction.errors import ConfigurationError

_OF_WRITING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_FAILING: Final = (*_OF_WRITING, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
"""Errors of disks that are full or fail, not of a wrong path."""


def write_whole(
    path: Path, data: bytes, *, sync: bool = False, scratch: Path | None = None
) -> None:
    """Write a file under a hidden name beside its place, then rename it; an old one is replaced.

    Parameters
    ----------
    path
        The file; its folder must be there.
    data
        All of it.
    sync
        Return only when the disk has it, so that it outlives a power cut.
    scratch
        Folder on the same file system to write it in, where half a file would be in the way.

    Raises
    ------
    OSError
        If it can't be written; it names the file, and nothing is left then.
    """
    part = (scratch or path.parent) / f".{path.name}.part"
    with _named(path), _removed(part):
        with part.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if sync:
            sync_folder(path.parent)


@contextlib.contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for what comes piece by piece; it has its name when all of it is there.

    An old file is replaced, one that a link leads to behind the link. Several processes may write
    the same file: each has a hidden part of its own, and the last one counts.

    Parameters
    ----------
    path
        The file; its folder must be there.

    Raises
    ------
    OSError
        If it can't be written; it names the file, and nothing is left then. The same where the
        body of the ``with`` fails.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with _removed(part):
        with _named(path):
            file = part.open("wb")
        with _named(path, _OF_WRITING), file:  # the body may read, too
            yield file
        with _named(path):
            part.replace(target)


@contextlib.contextmanager
def _removed(part: Path) -> Iterator[None]:
    """See that a part is gone at the end, whatever happens."""
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


@contextlib.contextmanager
def _named(path: Path, numbers: Container[int] | None = None) -> Iterator[None]:
    """Let an error of the system, of these if given, name the file that people know."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None and not str(error.filename).endswith(".part")
        number = error.errno
        if named or number is None or (numbers is not None and number not in numbers):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def inside(folder: Path, name: str) -> Path:
    """Path of a file that a document in a folder names.

    Parameters
    ----------
    folder
        The folder.
    name
        Relative to it, with slashes.

    Raises
    ------
    ValueError
        If it leads out of the folder: an absolute name, one with ``..``, or through a link.
    """
    plain = PurePosixPath(name)
    path = folder / plain
    if (
        plain.is_absolute()
        or ".." in plain.parts
        or not plain.parts
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise ValueError(f"file name {name!r} leads out of the folder")
    return path


def check_free(path: Path, *, overwrite: bool) -> None:
    """Whether a result may be written to a path.

    Raises
    ------
    ConfigurationError
        If it is a folder or a device, or there is a file that is not to be replaced.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file.")
    if not path.exists():
        return
    if not stat.S_ISREG(path.stat().st_mode):  # e.g. /dev/null: a rename would replace it
        raise ConfigurationError(f"{path} is no plain file: choose another name.")
    if not overwrite:
        raise ConfigurationError(
            f"{path} is there already: choose another name, or say --overwrite."
        )


def check_apart(path: Path, *inputs: Path | None) -> None:
    """Whether a result would replace none of the inputs: such a file, or one in such a folder.

    Raises
    ------
    ConfigurationError
        If it would.
    """
    place = Path(os.path.realpath(path))
    for each in inputs:
        if each is not None and place.is_relative_to(os.path.realpath(each)):
            raise ConfigurationError(f"{path} would be written into {each}: choose another name.")


def check_place(path: Path) -> None:
    """Whether the folder of a file is there.

    Raises
    ------
    ConfigurationError
        If it is not.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path.parent} is no folder: make it, or name another file.")


def make_result_folder(path: Path) -> None:
    """Make a folder that the user has named for results, and those above it.

    Raises
    ------
    ConfigurationError
        If it can't be made where it is to be.
    OSError
        If the disk is full, or fails.
    """
    try:
        make_folders(path)
    except OSError as error:
        if error.errno in _FAILING:
            raise
        raise ConfigurationError(
            f"Folder {path} can't be made ({error.strerror}): choose another."
        ) from error


def make_folders(path: Path) -> None:
    """Make a folder and those above it, so that they outlive a power cut."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(path: Path) -> None:
    """Return only when the disk has the names that are in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system can
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
