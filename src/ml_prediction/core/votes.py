"""What the windows of one instrument say about its samples, added up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.core.history import Flags
from ml_prediction.core.kernels.voting import add_votes, mean_votes

Floats32 = npt.NDArray[np.float32]


class Votes:
    """Stacked outputs for the samples ``start`` to ``stop``, with room to grow at the end.

    Parameters
    ----------
    labels
        Number of labels.
    start
        Index of the first sample.
    dtype
        Of the sums.
    highest
        Take the highest vote on a sample, not the mean of all.
    """

    def __init__(self, labels: int, start: int, *, dtype: np.dtype[Any], highest: bool) -> None:
        self.start = self.stop = start
        self._origin = start  # of the arrays: what lies between it and start is forgotten
        self._highest = highest
        self._nothing = -np.inf if highest else 0.0  # where nobody has voted
        self._sums = np.empty((labels, 0), dtype=dtype)
        self._counts = np.empty(0, dtype=dtype)
        self._mask = np.empty(0, dtype=np.bool_)

    def add(self, start: int, outputs: Floats32, low: int, high: int) -> None:
        """Stack a window's outputs, of which all count from ``low`` to ``high`` (exclusive).

        Parameters
        ----------
        start
            Index of the window's first sample; ``low`` is not before the first that is held.
        outputs
            Shape (label, sample).
        low, high
            Which samples of the window.
        """
        first, stop, held = start + low, start + high, self.stop
        if first <= held < stop:
            self._grow(stop)
            self._mask[held - self._origin : stop - self._origin] = False
        else:
            self._reserve(stop)
            held = stop
        at, seen = first - self._origin, min(held, stop) - first
        outputs = np.ascontiguousarray(outputs)
        add_votes(self._sums, self._counts, at, outputs, low, high, seen, self._highest)

    def add_some(self, start: int, outputs: Floats32, use: Flags) -> None:
        """Stack outputs (label, sample) from a sample on, where ``use`` (sample,) is True."""
        stop = start + outputs.shape[1]
        self._reserve(stop)
        here = slice(start - self._origin, stop - self._origin)
        sums = self._sums[:, here]
        merge = np.maximum if self._highest else np.add
        merge(sums, outputs, out=sums, where=use)
        self._counts[here] += use

    def mark(self, start: int, mask: Flags) -> None:
        """Note where something was recorded; samples before the first held are left out."""
        stop = start + len(mask)
        self._reserve(stop)
        low = max(self.start - start, 0)
        if low < len(mask):
            held = self._mask[start + low - self._origin : stop - self._origin]
            np.logical_or(held, mask[low:], out=held)

    def mask(self, start: int, stop: int) -> Flags:
        """Where something was recorded, as a view."""
        return self._mask[start - self._origin : stop - self._origin]

    def counts(self, start: int, stop: int) -> npt.NDArray[Any]:
        """How many windows have voted on each sample, as a view."""
        return self._counts[start - self._origin : stop - self._origin]

    def result(self, start: int, stop: int, where: Flags | None = None) -> Floats32:
        """Merged outputs.

        Parameters
        ----------
        start, stop
            Samples, all held.
        where
            Shape (sample,): the others become NaN. None: all are wanted, and have votes.

        Returns
        -------
        numpy.ndarray
            Shape (label, sample), a new array.
        """
        sums = self._sums[:, start - self._origin : stop - self._origin]
        if where is None and self._highest:
            return sums.astype(np.float32)
        if where is None:
            mean = np.empty(sums.shape, dtype=np.float32)
            mean_votes(self._sums, self._counts, start - self._origin, mean)
            return mean
        counts = self.counts(start, stop)
        values = np.full(sums.shape, np.nan, dtype=np.float32)
        np.divide(sums, 1 if self._highest else counts, out=values, where=where)
        return values

    def drop(self, start: int) -> None:
        """Forget what lies before a sample."""
        self.start = max(self.start, start)
        if self.start >= self.stop:
            self._origin = self.stop = self.start

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        here = slice(self.start - self._origin, self.stop - self._origin)
        return {
            "start": self.start,
            "stack": self._sums[:, here].copy(),
            "count": self._counts[here].copy(),
            "mask": self._mask[here].copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot's state."""
        self.start = self._origin = state["start"]
        self._sums, self._counts = state["stack"], state["count"]
        self._mask = state["mask"]
        self.stop = self.start + len(self._mask)

    def _reserve(self, stop: int) -> None:
        """Hold nothing known up to a sample."""
        if stop <= self.stop:
            return
        first = self.stop
        self._grow(stop)
        here = slice(first - self._origin, stop - self._origin)
        self._sums[:, here] = self._nothing
        self._counts[here] = 0
        self._mask[here] = False

    def _grow(self, stop: int) -> None:
        """Make room up to a sample; what is there is yet to be written."""
        if stop - self._origin > len(self._mask):
            self._make_room(stop - self.start)
        self.stop = stop

    def _make_room(self, size: int) -> None:
        """Move what is held to the front, so that twice ``size`` samples have room."""
        held = slice(self.start - self._origin, self.stop - self._origin)
        count = self.stop - self.start
        large_enough = 2 * size <= len(self._mask)
        for name in ("_sums", "_counts", "_mask"):
            old = getattr(self, name)
            new = old if large_enough else np.empty((*old.shape[:-1], 2 * size), dtype=old.dtype)
            new[..., :count] = old[..., held]
            setattr(self, name, new)
        self._origin = self.start
