"""Packets of one channel that wait for their turn, in order of time, and their overlaps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.core.grid import (
    differ,
    index_of,
    period_ns,
    same_rate,
    samples_until_slip,
)
from ml_prediction.util.times import NANOSECONDS

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Piece:
    """Contiguous finite samples of one channel, or part of them.

    Attributes
    ----------
    start_ns
        Time of the first sample.
    rate
        Grid rate in Hz.
    samples
        Shape (sample,).
    bad
        Where different values have arrived for the same sample; None where nowhere.
    header
        Rate in Hz as the packet's header has it, where that is not quite the grid's.
    """

    start_ns: int
    rate: Fraction
    samples: npt.NDArray[Any]
    bad: Flags | None = None
    header: float | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def sample_ns(self, index: int) -> int:
        """Time of a sample, by the header's rate."""
        if self.header is not None:
            return self.start_ns + round(index * NANOSECONDS / self.header)
        step = NANOSECONDS * self.rate.denominator
        return self.start_ns + (2 * index * step + self.rate.numerator) // (2 * self.rate.numerator)

    @property
    def stop_ns(self) -> int:
        """Time at which the next sample would follow."""
        return self.sample_ns(len(self.samples))

    def means(self, rate: Fraction) -> bool:
        """Whether the header's rate can be this one."""
        return same_rate(self.header or float(self.rate), rate)

    def at(self, rate: Fraction) -> Piece:
        """The same samples at the same times, on the grid of another rate."""
        return replace(self, rate=rate, header=self.header or float(self.rate))

    def cut(self, start: int, stop: int | None = None) -> Piece:
        """Samples ``start`` to ``stop`` (exclusive), as views."""
        here = slice(start, stop)
        return Piece(
            self.sample_ns(start),
            self.rate,
            self.samples[here],
            None if self.bad is None else self.bad[here],
            self.header,
        )


@dataclass(frozen=True, slots=True)
class Overlap:
    """What an overlap of two packets held."""

    duplicates: int = 0
    disagreements: int = 0
    slips: int = 0


class Pending:
    """Pieces in order of start time: a heap, so that a hundred thousand cost little each."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Piece]] = []
        self._count = 0  # pieces that start together keep the order in which they came

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def head(self) -> Piece:
        """The earliest piece."""
        return self._heap[0][2]

    def add(self, piece: Piece) -> None:
        """Put a piece in its place."""
        self._count += 1
        heappush(self._heap, (piece.start_ns, self._count, piece))

    def replace_head(self, piece: Piece) -> None:
        """Put another piece with the same start in the place of the earliest one."""
        self._heap[0] = (*self._heap[0][:2], piece)

    def take(self) -> Piece:
        """Remove the earliest piece."""
        return heappop(self._heap)[2]

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "start_ns": p.start_ns,
                "rate": [p.rate.numerator, p.rate.denominator],
                "samples": np.array(p.samples),
                "bad": p.bad,
                "header": p.header,
            }
            for _, _, p in sorted(self._heap)
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._heap = []
        for s in state:
            rate = Fraction(*s["rate"])
            self.add(Piece(s["start_ns"], rate, s["samples"], s["bad"], s["header"]))

    def untangle(self, phase: int) -> Overlap | None:
        """Make the earliest piece free of overlaps with the next one.

        Where two pieces give the same value for a sample, one is a duplicate; where they differ,
        the sample becomes bad. An overlap of a single differing sample at a joint is a slip of
        the digitiser's clock and goes to the earlier piece.

        Parameters
        ----------
        phase
            Phase of the grid, in hundredths of a sample.

        Returns
        -------
        Overlap or None
            What the overlap held; None if there was none.
        """
        if len(self._heap) < 2:
            return None
        head, other = self.head, min(self._heap[1:3])[2]  # a heap's second is a child of its top
        if other.start_ns >= head.stop_ns + period_ns(head.rate):
            return None
        if differ(other.rate, head.rate):
            if not other.means(head.rate):
                return self._trim_other_rate(head, other)
            return self._replace_two(head, other.at(head.rate))
        pieces = [part for piece in (head, other) for part in steady_parts(piece, phase)]
        if len(pieces) > 2:
            return self._replace_two(*pieces)
        offset = index_of(other.start_ns, head.rate, phase) - index_of(
            head.start_ns, head.rate, phase
        )
        offset = max(offset, 0)
        common = min(len(head) - offset, len(other))
        if common <= 0:
            return None
        self.take()
        self.take()
        tail = head.cut(offset)
        differs = np.asarray(tail.samples[:common] != other.samples[:common])
        apart = other.start_ns - head.start_ns >= head.sample_ns(1) - head.start_ns >> 1
        if common == 1 and apart and offset + 1 == len(head):
            self._put(head, other.cut(1))
            return Overlap(slips=1) if differs[0] else Overlap(duplicates=1)
        bad = differs | _flags(tail)[:common] | _flags(other)[:common]
        longer = tail if len(tail) >= len(other) else replace(other, start_ns=tail.start_ns)
        merged = replace(longer.cut(0, common), bad=bad if bad.any() else None)
        self._put(head.cut(0, offset), merged, longer.cut(common))
        conflicts = int(differs.sum())
        return Overlap(duplicates=common - conflicts, disagreements=conflicts)

    def _replace_two(self, *pieces: Piece) -> Overlap:
        """Other pieces for the earliest two; what they overlap is left for the next call."""
        self.take()
        self.take()
        self._put(*pieces)
        return Overlap()

    def _trim_other_rate(self, head: Piece, other: Piece) -> Overlap | None:
        """Two rates at the same time can't both be true: the earlier piece keeps its span."""
        covered = (head.stop_ns - other.start_ns) * other.rate.numerator
        unit = NANOSECONDS * other.rate.denominator
        overlap = min(len(other), -(-(covered - unit // 2) // unit))
        if covered <= unit // 2:
            return None
        self._replace_two(head, other.cut(overlap))
        return Overlap(disagreements=overlap)

    def _put(self, *pieces: Piece) -> None:
        for piece in pieces:
            if len(piece):
                self.add(piece)


def steady_parts(piece: Piece, phase: int) -> list[Piece]:
    """A piece, cut where its header's rate slips against the grid."""
    if piece.header is None:
        return [piece]
    steady = samples_until_slip(piece.start_ns, piece.rate, phase, piece.header)
    return [part for part in (piece.cut(0, steady), piece.cut(steady)) if len(part)]


def split_valid(piece: Piece) -> tuple[Piece, int, Piece | None]:
    """First run of good samples, the number of bad ones before it, and what follows it.

    The first piece is empty where no good sample is left.
    """
    if piece.bad is None:
        return piece, 0, None
    start = int(piece.bad.argmin())  # these searches end at the first hit, and need no more
    if piece.bad[start]:
        return piece.cut(0, 0), len(piece), None
    stop = start + int(piece.bad[start:].argmax())
    if stop == start:
        stop = len(piece)
    first = replace(piece.cut(start, stop), bad=None)
    return first, start, piece.cut(stop) if stop < len(piece) else None


def _flags(piece: Piece) -> Flags:
    return np.zeros(len(piece), dtype=np.bool_) if piece.bad is None else piece.bad
