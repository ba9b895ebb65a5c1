"""Which samples come too late, and which of these were there already."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np

from ml_prediction.core.packets import Packet, runs, samples_before
from ml_prediction.core.pending import Piece
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

REMEMBERED_NS = 3600 * NANOSECONDS


class Accepted:
    """Time intervals of the last hour of one channel in which samples were accepted."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start_ns: int, stop_ns: int, tolerance_ns: int) -> None:
        """Remember an interval; joints within the tolerance are closed."""
        if self._stops and abs(start_ns - self._stops[-1]) <= tolerance_ns:
            self._stops[-1] = max(self._stops[-1], stop_ns)  # the usual case: the next packet
        else:
            first = bisect_left(self._stops, start_ns - tolerance_ns)
            last = bisect_right(self._starts, stop_ns + tolerance_ns)
            if first < last:
                start_ns = min(start_ns, self._starts[first])
                stop_ns = max(stop_ns, self._stops[last - 1])
            self._starts[first:last] = [start_ns]
            self._stops[first:last] = [stop_ns]
        self._forget()

    @property
    def stop_ns(self) -> int | None:
        """End of the last interval; None if there is none."""
        return self._stops[-1] if self._stops else None

    def prolong(self, stop_ns: int) -> None:
        """Let the last interval end later."""
        self._stops[-1] = stop_ns
        self._forget()

    def _forget(self) -> None:
        horizon = self._stops[-1] - REMEMBERED_NS
        while self._stops[0] < horizon:
            del self._starts[0], self._stops[0]

    def within(self, start_ns: int, stop_ns: int) -> Iterator[tuple[int, int]]:
        """Remembered intervals that touch the given one."""
        first = bisect_right(self._stops, start_ns)
        for low, high in zip(self._starts[first:], self._stops[first:], strict=True):
            if low >= stop_ns:
                return
            yield low, high

    def snapshot(self) -> list[list[int]]:
        """State as plain values."""
        return [[a, b] for a, b in zip(self._starts, self._stops, strict=True)]

    def restore(self, state: list[list[int]]) -> None:
        """Take over a snapshot's state."""
        self._starts = [start for start, _ in state]
        self._stops = [stop for _, stop in state]


def split_late(
    piece: Piece, limit_ns: int, accepted: Accepted, nslc: NSLC
) -> tuple[Piece, list[Packet], int]:
    """Part a piece at the time before which samples are late.

    Parameters
    ----------
    piece
        What has come.
    limit_ns
        Samples before this time are late.
    accepted
        What was accepted before.
    nslc
        Channel, for the late packets.

    Returns
    -------
    Piece
        Samples that are not late.
    list of Packet
        Late samples that are new.
    int
        Number of late samples that had been accepted before: mere duplicates.
    """
    count = samples_before(piece, limit_ns)
    if count == 0:
        return piece, [], 0
    head, rate = piece.cut(0, count), piece.header or float(piece.rate)
    half = round(NANOSECONDS / rate / 2)
    times = head.start_ns + np.round(np.arange(count) * (NANOSECONDS / rate)).astype(np.int64)
    new = np.ones(count, dtype=np.bool_)
    for low, high in accepted.within(head.start_ns - half, head.stop_ns + half):
        new &= (times < low - half) | (times >= high - half)
    late = [Packet(nslc, head.sample_ns(a), rate, head.samples[a:b]) for a, b in runs(new)]
    return piece.cut(count), late, int(count - new.sum())
