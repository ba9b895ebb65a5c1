"""A folder in which output files appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ml_prediction.errors import ConfigurationError
from ml_prediction.util import locks

OUTPUT_NAMES: Final = (
    "picks.csv",
    "detections.csv",
    "picks.parquet",
    "picks.xml",
    "picks.markers",
    "predictions.mseed",
    "summary.json",
)
"""Files that mark a folder as the output of a run: those of all sinks, and the summary."""

_STALE_FILE: Final = re.compile(
    rf"\.({'|'.join(map(re.escape, OUTPUT_NAMES))}|.+\.png)\.part", re.DOTALL
)
_STALE_FOLDER: Final = re.compile(r"\.scratch-[a-z0-9_]{8}")
"""As `tempfile` names them: drivers keep there what is not complete yet."""


class OutputFolder:
    """Folder for the results of one run; a context manager.

    Files are written under a hidden name beside their final one. Leaving the context flushes
    them to the disk and renames them; leaving it by an error or interrupt removes them. What a
    run that was killed has left under hidden names is removed by the next one.

    Parameters
    ----------
    path
        Folder; made if it does not exist.
    overwrite
        Allow results of an earlier run in the folder. They stay until the new ones are
        complete; then those of OUTPUT_NAMES are replaced, or removed if the new run makes no
        such file, so that no two runs are mixed.

    Raises
    ------
    ConfigurationError
        If the path is empty, if the folder holds results and ``overwrite`` is False, if another
        run is writing to it, or if it can't be made or written to.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        if not str(path).strip():
            raise ConfigurationError("The output folder's name is empty: give one with --out.")
        self.path = Path(path)
        self._parts: dict[str, Path] = {}
        self._descriptor: int | None = None
        self._created = self._make_folders()
        try:
            self._prepare(overwrite)
        except ConfigurationError:
            self.abort()
            raise

    def _prepare(self, overwrite: bool) -> None:
        locked = self._lock()
        try:
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise ConfigurationError(
                f"Output folder {self.path} can't be written to ({error.strerror}): "
                "change its rights, or choose another."
            ) from error
        old = [name for name in OUTPUT_NAMES if (self.path / name).exists()]
        if old and not overwrite:
            raise ConfigurationError(
                f"{self.path} has results already ({', '.join(old)}): "
                "choose another folder, or use --overwrite."
            )
        folders = [name for name in old if (self.path / name).is_dir()]
        if folders:
            raise ConfigurationError(
                f"{self.path / folders[0]} is a folder: remove it, or choose another output folder."
            )
        if locked:  # nobody else's then
            _remove_stale(self.path)

    def part(self, name: str) -> Path:
        """Temporary path of an output file, to be opened and written by the caller.

        Raises
        ------
        ConfigurationError
            If the name is taken or is not a plain file name.
        """
        if name in self._parts or not name or Path(name).name != name:
            raise ConfigurationError(f"Output file name {name!r} is taken or not a plain name.")
        self._parts[name] = self.path / f".{name}.part"
        return self._parts[name]

    def commit(self) -> None:
        """Flush all files to the disk and give them their names.

        A name that was asked for but never written is left out.
        """
        written = {name: part for name, part in self._parts.items() if part.exists()}
        for part in written.values():
            _sync(part)
        for name, part in written.items():
            part.replace(self.path / name)
            del self._parts[name]
        for name in set(OUTPUT_NAMES) - set(written):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not every file system can flush a folder
            _sync(self.path)
        self._parts.clear()
        self._release()

    def abort(self) -> None:
        """Remove everything that this run has written, and the folders that it made."""
        for part in self._parts.values():
            part.unlink(missing_ok=True)
        self._parts.clear()
        self._release()
        _remove_empty(self._created)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.commit()
        except BaseException:  # a quota may only show when the disk is flushed
            self.abort()
            raise

    def _make_folders(self) -> list[Path]:
        """Make the folder; return the folders made, the innermost first."""
        try:
            missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"Output folder {self.path} can't be made ({error.strerror}): choose another."
            ) from error
        return missing

    def _lock(self) -> bool:
        """Keep other runs out, if the file system can; the lock ends with the process."""
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        outcome = locks.take(self._descriptor)
        if outcome != "ours":
            self._release()
        if outcome == "another's":
            raise ConfigurationError(
                f"Another run is writing to {self.path}: wait for it, or choose another folder."
            )
        return outcome == "ours"

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # somebody has put something in
        for folder in folders:
            folder.rmdir()


def _remove_stale(folder: Path) -> None:
    """Remove what a killed run left; what can't be removed is no obstacle."""
    for path in folder.iterdir():
        if _STALE_FOLDER.fullmatch(path.name) and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif _STALE_FILE.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
