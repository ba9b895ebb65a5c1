"""The state of a live run on disk: written whole by another thread, read at the next start."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_prediction.core.state import Gathered, from_bytes, gather, write


class SnapshotFile:
    """One file that always holds a whole state.

    Parameters
    ----------
    path
        File.

    Attributes
    ----------
    size
        Bytes of the last one.
    saved_at
        When it was complete, monotonic; at first, when this began.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None
        self._given = self._written = 0
        self._guard = threading.Lock()
        self.size = 0
        self.saved_at = time.monotonic()
        for part in path.parent.glob(f".{path.name}.*.part"):
            with suppress(OSError):  # what a killed process has left
                part.unlink()

    def load(self) -> Any:
        """The state that was saved last; None if there is none.

        Raises
        ------
        DataError
            If the file is damaged.
        OSError
            If it can't be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return from_bytes(data)

    @property
    def busy(self) -> bool:
        """Whether the last state is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, state: Any) -> None:
        """Save a state as it is now, while the caller goes on.

        Only if not `busy`. Errors are told by :meth:`take_error`.
        """
        self._thread = threading.Thread(
            target=self._attempt, args=(gather(state), self._number()), name="snapshot", daemon=True
        )
        self._thread.start()

    def save(self, state: Any) -> None:
        """Save a state now. What is still being written is older, and does not replace it.

        Raises
        ------
        OSError
            If it can't be written; what was saved before is still there.
        """
        try:
            self._write(gather(state), self._number(), quick=True)
        except MemoryError as error:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error

    def take_error(self) -> OSError | None:
        """What went wrong since the last question."""
        error, self._error = self._error, None
        return error

    def _number(self) -> int:
        self._given += 1
        return self._given

    def _attempt(self, state: Gathered, number: int) -> None:
        try:
            self._write(state, number)
        except (OSError, MemoryError) as error:
            self._error = error if isinstance(error, OSError) else OSError("out of memory")

    def _write(self, state: Gathered, number: int, *, quick: bool = False) -> None:
        part = self.path.with_name(f".{self.path.name}.{number}.part")
        try:
            with part.open("wb") as handle:
                size = write(state, handle, quick=quick)
                handle.flush()
                os.fsync(handle.fileno())
            with self._guard:
                if number < self._written:
                    part.unlink()
                    return
                part.replace(self.path)
                self._written = number
        except (OSError, MemoryError):
            part.unlink(missing_ok=True)
            raise
        self.size = size
        self.saved_at = time.monotonic()
