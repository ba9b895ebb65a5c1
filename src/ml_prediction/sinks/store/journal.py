"""States of the units of a run in a folder of Parquet files: a journal, one JSON object a line.

The last line of a unit counts. A line that a kill cut short is none: readers pass over it, and the
next writer removes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.store.base import UnitKey, UnitState
from ml_prediction.util import locks


class Journal:
    """Journal that one process at a time may append to.

    Parameters
    ----------
    path
        Made if it is not there; its folder must be.

    Attributes
    ----------
    states
        Of all units.

    Raises
    ------
    ConfigurationError
        If another process is writing to it.
    DataError
        If it is damaged elsewhere than at its end.
    OSError
        If it can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            lines, self._size = _lines(path)
            os.ftruncate(self._descriptor, self._size)
            self.states = _states(lines, path)
        except BaseException:
            self.close()
            raise

    def _lock(self) -> None:
        outcome = locks.take(self._descriptor)
        if outcome == "impossible":
            locks.warn_of_none(self.path)
        if outcome == "another's":
            raise ConfigurationError(
                f"Another process is writing this run ({self.path}): wait for it, or end it."
            )

    def append(self, states: Iterable[UnitState]) -> None:
        """Add states, all or none; they outlive a power cut then.

        Raises
        ------
        OSError
            If they can't be written; nothing of them is there then.
        """
        states = list(states)
        data = "".join(map(_line, states)).encode()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self.states.update((state.key, state) for state in states)

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self._size = 0
        self.states.clear()

    def close(self) -> None:
        """Let others write."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_states(path: Path) -> dict[UnitKey, UnitState]:
    """States in a journal that another process may be writing to.

    Raises
    ------
    DataError
        If it is damaged elsewhere than at its end.
    OSError
        If it can't be read.
    """
    return _states(_lines(path)[0], path)


def _lines(path: Path) -> tuple[list[bytes], int]:
    """Whole lines, and their length in bytes with their ends."""
    data = path.read_bytes()
    size = data.rfind(b"\n") + 1
    return data[:size].splitlines(), size


def _line(state: UnitState) -> str:
    key = state.key
    values: dict[str, Any] = {
        "network": key.network,
        "station": key.station,
        "day": key.day.isoformat(),
        "state": state.state,
    }
    if state.finished is not None:
        values |= {
            "attempts": state.attempts,
            "reason": state.reason,
            "picks": state.picks,
            "detections": state.detections,
            "seconds": state.seconds,
            "finished": state.finished.isoformat(),
            "files": state.files,
        }
    return json.dumps(values) + "\n"


def _states(lines: Iterable[bytes], path: Path) -> dict[UnitKey, UnitState]:
    states = {}
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            key = UnitKey(
                values.pop("network"),
                values.pop("station"),
                date.fromisoformat(values.pop("day")),
            )
            if "finished" in values:
                values["finished"] = datetime.fromisoformat(values["finished"])
            states[key] = UnitState(key, **values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number}: damaged ({error}): remove the line and resume; its unit "
                "is then picked again."
            ) from error
    return states
