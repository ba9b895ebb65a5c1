"""Samples of one channel at the model's rate, kept as long as somebody may need them."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Recording(NamedTuple):
    """What one channel recorded over a range: its code, samples and validity (shape (sample,))."""

    code: str
    samples: Floats
    valid: Flags


class _Stretch:
    """Contiguous valid samples, with room to grow at the end."""

    __slots__ = ("first", "stop", "values")

    def __init__(self, first: int, block: Floats) -> None:
        self.first = first
        self.stop = first + block.shape[1]
        self.values = block

    def extend(self, block: Floats) -> None:
        used, count = self.stop - self.first, block.shape[1]
        if used + count > self.values.shape[1]:
            grown = np.empty((self.values.shape[0], max(used + count, used * 3 // 2)))
            grown[:, :used] = self.values[:, :used]
            self.values = grown
        self.values[:, used : used + count] = block
        self.stop += count

    def drop(self, index: int) -> None:
        self.values = self.values[:, index - self.first : self.stop - self.first].copy()
        self.first = index

    def block(self, start: int, stop: int) -> Floats:
        return self.values[:, start - self.first : stop - self.first]


class History:
    """Stretches of valid samples on the absolute grid; what lies between them is missing.

    Each block has one or two rows: what the model is to see, and (where the model has a filter)
    the resampled data without it.
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []

    @property
    def stop(self) -> int | None:
        """Index after the last sample; None if there is none."""
        return self._stretches[-1].stop if self._stretches else None

    def append(self, start: int, block: Floats) -> None:
        """Put valid samples, shape (row, sample), at index ``start``, not before ``stop``."""
        if block.shape[1] == 0:
            return
        if self._stretches and self._stretches[-1].stop == start:
            self._stretches[-1].extend(block)
        else:
            self._stretches.append(_Stretch(start, block.copy()))

    def read(self, start: int, stop: int, row: int) -> tuple[Floats, Flags]:
        """Copies of the samples and their validity, each of shape (stop - start,)."""
        values, valid = np.zeros(stop - start), np.zeros(stop - start, dtype=np.bool_)
        for stretch in self._stretches[self._at(start) :]:
            low, high = max(start, stretch.first), min(stop, stretch.stop)
            if stretch.first >= stop:
                break
            if low < high:
                values[low - start : high - start] = stretch.block(low, high)[row]
                valid[low - start : high - start] = True
        return values, valid

    def first_valid(self, start: int) -> int | None:
        """Index of the first valid sample at or after ``start``."""
        for stretch in self._stretches[self._at(start) :]:
            if stretch.stop > start:
                return max(start, stretch.first)
        return None

    def release(self, index: int) -> None:
        """Forget what lies before ``index``, or most of it."""
        gone = 0
        while gone < len(self._stretches) and self._stretches[gone].stop <= index:
            gone += 1
        if gone:
            del self._stretches[:gone]
        if self._stretches:
            head = self._stretches[0]
            # moving much to win little would cost more than it saves
            if index - head.first >= max(1024, (head.stop - head.first) // 4):
                head.drop(index)

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {"first": s.first, "values": s.block(s.first, s.stop).copy()} for s in self._stretches
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._stretches = [_Stretch(item["first"], item["values"].copy()) for item in state]

    def _at(self, start: int) -> int:
        """Position of the last stretch that begins at or before ``start``."""
        return max(0, bisect_right(self._stretches, start, key=lambda s: s.first) - 1)
