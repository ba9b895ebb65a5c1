"""Where a part of a scenario is kept: whole files only, and what is known of the rest.

A file appears by renaming, so that a run that is killed at any moment leaves whole files and, in a
hidden folder, what it was writing. The next run goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ml_prediction.data.plan import DAY_NS, Unit
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.util import locks
from ml_prediction.util.files import write_whole

HIDDEN: Final = ".fetch"


def put(path: Path, content: bytes, scratch: Path) -> None:
    """Write a file whole or not at all; several threads may, and it outlives a power cut.

    Parameters
    ----------
    path
        The file; its folder is made.
    content
        All of it.
    scratch
        Folder on the same file system, for the time being.
    """
    own = scratch / str(threading.get_ident())
    own.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, sync=True, scratch=own)


class Store:
    """Files of one part; may be used by several threads.

    Parameters
    ----------
    folder
        Of the part.
    hidden
        Of what is not meant for the user.
    """

    def __init__(self, folder: Path, hidden: Path) -> None:
        self.folder = folder
        self.hidden = hidden
        self._scratch = hidden / "scratch"
        self._fragments = hidden / "fragments"
        self._lock = threading.Lock()
        self._absent: dict[str, str] = self.read("absent.json") or {}

    def path(self, unit: Unit) -> Path:
        """File of a unit in the SDS archive."""
        return self.folder / "sds" / unit.path

    def absence(self, unit: Unit) -> str | None:
        """Why there is nothing of a unit; None where that isn't known."""
        return self._absent.get(str(unit))

    def pending(self, units: Iterable[Unit]) -> list[Unit]:
        """Units of which nothing is known yet."""
        return [u for u in units if self.absence(u) is None and not self.path(u).is_file()]

    def forget_absences(self) -> None:
        """Let what was not there be asked for again."""
        self._absent = {}
        (self.hidden / "absent.json").unlink(missing_ok=True)

    def keep(self, unit: Unit, miniseed: bytes) -> None:
        """Write a unit's file."""
        put(self.path(unit), miniseed, self._scratch)
        shutil.rmtree(self._fragment(unit).parent, ignore_errors=True)

    def nothing(self, units: Sequence[Unit], reason: str) -> None:
        """Note that there is nothing of these to be had."""
        with self._lock:
            self._absent |= {str(unit): reason for unit in units}
            self.write("absent.json", self._absent)

    def fragment(self, unit: Unit) -> bytes | None:
        """What was kept of a piece of a unit."""
        path = self._fragment(unit)
        return path.read_bytes() if path.is_file() else None

    def keep_fragment(self, unit: Unit, miniseed: bytes) -> None:
        """Write a piece of a unit."""
        put(self._fragment(unit), miniseed, self._scratch)

    def document(self, name: str) -> Path:
        """A file beside the archive."""
        return self.folder / name

    def keep_document(self, name: str, content: bytes) -> None:
        """Write a file beside the archive."""
        put(self.document(name), content, self._scratch)

    def read(self, name: str) -> dict[str, Any] | None:
        """Object of a hidden JSON file; None if there is none.

        Raises
        ------
        DataError
            If it is damaged; the message names it.
        """
        path = self.hidden / name
        if not path.is_file():
            return None
        try:
            value = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise self.damaged(name, error) from error
        if not isinstance(value, dict):
            raise self.damaged(name, "no JSON object")
        return value

    def damaged(self, name: str, why: object) -> DataError:
        """What to say of a hidden file that can't be used."""
        return DataError(
            f"{self.hidden / name}: damaged ({why}). Remove this file and run the same command "
            "again: what was got is kept."
        )

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a hidden JSON file."""
        text = json.dumps(value, indent=1, sort_keys=True)
        put(self.hidden / name, text.encode(), self._scratch)

    def tidy(self) -> None:
        """Remove what is only of use while data are coming."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        shutil.rmtree(self._fragments, ignore_errors=True)

    def _fragment(self, unit: Unit) -> Path:
        day = f"{unit.code}.{unit.start_ns // DAY_NS}"
        return self._fragments / day / f"{unit.start_ns}-{unit.end_ns}"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made, where the file system can.

    Raises
    ------
    ConfigurationError
        If another run is there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(
            f"Folder {folder} can't be made or opened ({error.strerror}): choose another."
        ) from error
    try:
        if locks.take(descriptor) == "another's":
            raise ConfigurationError(
                f"Another run is writing to {folder}: wait for it, or choose another."
            )
        yield
    finally:
        os.close(descriptor)
