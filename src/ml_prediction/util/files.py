"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

from ml_prediction.errors import ConfigurationError


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
        If it can't be written; nothing is left then.
    """
    part = (scratch or path.parent) / f".{path.name}.part"
    try:
        with part.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if sync:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


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
        If it is a folder, or there is a file that is not to be replaced.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file.")
    if path.exists() and not overwrite:
        raise ConfigurationError(
            f"{path} is there already: choose another name, or say --overwrite."
        )


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
