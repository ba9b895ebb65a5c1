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
    """Contiguous valid samples, in the middle of a larger array: they come and go at its ends."""

    __slots__ = ("_offset", "_values", "first", "stop")

    def __init__(self, first: int, block: Floats) -> None:
        self.first = first
        self.stop = first + block.shape[1]
        self._values = block
        self._offset = 0  # of the first sample

    def grow(self, count: int) -> Floats:
        live = self.stop - self.first
        used, room = self._offset + live, self._values.shape[1]
        if used + count > room:
            old = self._values[:, self._offset : used]
            wanted = live + count
            if not wanted <= room * 3 // 4 <= 3 * wanted:  # else it is worth moving to the front
                self._values = np.empty((len(old), wanted * 3 // 2))
            self._values[:, :live] = old
            self._offset, used = 0, live
        self.stop += count
        return self._values[:, used : used + count]

    def drop(self, index: int) -> None:
        self._offset += index - self.first
        self.first = index

    def block(self, start: int, stop: int) -> Floats:
        shift = self._offset - self.first
        return self._values[:, start + shift : stop + shift]


class History:
    """Stretches of valid samples on the absolute grid; what lies between them is missing.

    There are one or two rows: what the model is to see, and (where the model has a filter)
    the resampled data without it.
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []

    @property
    def stop(self) -> int | None:
        """Index after the last sample; None if there is none."""
        return self._stretches[-1].stop if self._stretches else None

    def grow(self, start: int, count: int, rows: int) -> Floats:
        """Room for valid samples from index ``start`` on, not before ``stop``.

        A view of shape (rows, count), to be written before anything else is asked for.
        """
        if self._stretches and self._stretches[-1].stop == start:
            return self._stretches[-1].grow(count)
        block = np.empty((rows, count))
        self._stretches.append(_Stretch(start, block))
        return block

    def read(self, start: int, stop: int, row: int) -> tuple[Floats, Flags]:
        """Copies of the samples and their validity, each of shape (stop - start,)."""
        whole = self.covering(start, stop)
        if whole is not None:
            return whole[row].copy(), np.ones(stop - start, dtype=np.bool_)
        values, valid = np.zeros(stop - start), np.zeros(stop - start, dtype=np.bool_)
        for stretch in self._stretches[self._at(start) :]:
            low, high = max(start, stretch.first), min(stop, stretch.stop)
            if stretch.first >= stop:
                break
            if low < high:
                values[low - start : high - start] = stretch.block(low, high)[row]
                valid[low - start : high - start] = True
        return values, valid

    def covering(self, start: int, stop: int) -> Floats | None:
        """All rows over a range that holds samples throughout; None where one is missing.

        They are views, good until the next :meth:`grow`.
        """
        for stretch in self._stretches:
            if stretch.first <= start and stop <= stretch.stop:
                return stretch.block(start, stop)
            if stretch.first > start:
                break
        return None

    def first_valid(self, start: int) -> int | None:
        """Index of the first valid sample at or after ``start``."""
        for stretch in self._stretches[self._at(start) :]:
            if stretch.stop > start:
                return max(start, stretch.first)
        return None

    def release(self, index: int) -> None:
        """Forget what lies before ``index``."""
        gone = 0
        while gone < len(self._stretches) and self._stretches[gone].stop <= index:
            gone += 1
        if gone:
            del self._stretches[:gone]
        if self._stretches and self._stretches[0].first < index:
            self._stretches[0].drop(index)

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
