"""Sorting more than fits in memory: sorted runs on disk, merged at the end."""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

FAN_IN: Final = 32
"""Runs of one spool that may be open at once; more are merged into one first."""

T = TypeVar("T")


class Spool(Generic[T]):
    """Collects items in a folder, as runs that are each sorted.

    Parameters
    ----------
    folder
        Where the runs go; made if needed.
    key
        Sort key. With one that no two items share, the merged order does not depend on which
        process spooled what.
    limit
        Items in memory that become a run on disk.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[T], Any],
        *,
        limit: int = 50_000,
    ) -> None:
        self.folder = folder
        self.runs: list[Path] = []
        self._key = key
        self._limit = limit
        self._items: list[T] = []
        self._written = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, items: Iterable[T]) -> None:
        """Take items in any order."""
        for item in items:
            self._items.append(item)
            if len(self._items) >= self._limit:
                self._write()

    def close(self) -> list[Path]:
        """Write what is still in memory; returns all runs."""
        if self._items:
            self._write()
        while len(self.runs) > FAN_IN:
            several, self.runs = self.runs[:FAN_IN], self.runs[FAN_IN:]
            self._dump(merged(several, self._key))
            for path in several:
                path.unlink()
        return self.runs

    def _write(self) -> None:
        self._dump(sorted(self._items, key=self._key))
        self._items = []

    def _dump(self, items: Iterable[T]) -> None:
        path = self.folder / f"{self._written:06d}.run"
        self._written += 1
        with path.open("wb") as handle:
            for item in items:
                pickle.dump(item, handle, protocol=pickle.HIGHEST_PROTOCOL)
        self.runs.append(path)


def merged(runs: Iterable[Path], key: Callable[[T], Any]) -> Iterator[T]:
    """Items of all runs in the order of the key, one of each run in memory."""
    return heapq.merge(*(items_of(path) for path in runs), key=key)


def items_of(path: Path) -> Iterator[Any]:
    """Items of one file in the order in which they were written."""
    # Only ever our own files of this run, in a folder that is removed with it.
    with path.open("rb") as handle:
        while True:
            try:
                yield pickle.load(handle)
            except EOFError:
                return
