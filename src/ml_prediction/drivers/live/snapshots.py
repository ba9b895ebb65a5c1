"""The state of a live run on disk: written whole by another thread, read at the next start."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ml_prediction.core.state import from_bytes, to_bytes


class SnapshotFile:
    """One file that always holds a whole state.

    Parameters
    ----------
    path
        File.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None
        self.size = 0

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
        """Save a state while the caller goes on. Nobody may change the state's arrays.

        Only if not `busy`. Errors are told by :meth:`take_error`.
        """
        self._thread = threading.Thread(
            target=self._attempt, args=(state,), name="snapshot", daemon=True
        )
        self._thread.start()

    def save(self, state: Any) -> None:
        """Save a state now, after what is being written.

        Raises
        ------
        OSError
            If it can't be written; what was saved before is still there.
        """
        if self._thread is not None:
            self._thread.join()
        self._write(to_bytes(state, quick=True))

    def take_error(self) -> OSError | None:
        """What went wrong since the last question."""
        error, self._error = self._error, None
        return error

    def _attempt(self, state: Any) -> None:
        try:
            self._write(to_bytes(state))
        except OSError as error:
            self._error = error

    def _write(self, data: bytes) -> None:
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            with part.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(self.path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self.size = len(data)
