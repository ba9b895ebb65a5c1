"""Samples that simply continue a channel: they wait as they came until a window needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from ml_prediction.core.pending import Piece
from ml_prediction.core.segment import Segment
from ml_prediction.util.times import NANOSECONDS


class Following:
    """Packets of one rate, each within a quarter of a sample of where the last one ends."""

    def __init__(self) -> None:
        self._packets: deque[tuple[int, npt.NDArray[Any]]] = deque()
        self._period_ns = 0

    def __bool__(self) -> bool:
        return bool(self._packets)

    @property
    def start_ns(self) -> int:
        """Time of the first sample."""
        return self._packets[0][0]

    @property
    def rate(self) -> Fraction:
        """Sampling rate in Hz."""
        return Fraction(NANOSECONDS, self._period_ns)

    def add(self, start_ns: int, samples: npt.NDArray[Any], period_ns: int) -> None:
        """Go on with a packet; ``period_ns`` from sample to sample is a multiple of 100."""
        self._packets.append((start_ns, samples))
        self._period_ns = period_ns

    def join(self, segment: Segment, floor: int, target: int) -> bool:
        """Let a segment grow by what continues it.

        Parameters
        ----------
        segment
            What has come of the channel so far.
        floor, target
            Outputs between these indices are wanted; no more packets are taken than they need.

        Returns
        -------
        bool
            Whether what is then left continues it, too. False where that is not so simple.
        """
        period_ns, rate = self._period_ns, segment.rate
        if segment.settled != segment.end or period_ns * rate.numerator != (
            NANOSECONDS * rate.denominator
        ):
            return False
        packets, fresh = self._packets, segment.fresh
        before, end = len(fresh), segment.end
        enough = end if floor >= target else segment.resampler.end_needed(target)
        phase_ns = segment.phase * period_ns // 100
        steady = True
        while packets:
            start_ns, samples = packets[0]
            # Nearest to the next index, as index_of() has it.
            steady = -period_ns <= 2 * (start_ns - phase_ns - end * period_ns) < period_ns
            if not steady or end >= enough:
                break
            fresh.append(samples)
            end += len(samples)
            packets.popleft()
        if len(fresh) > before:
            segment.last = float(fresh[-1][-1])
            segment.end = segment.settled = end
        return steady

    def spill(self) -> Iterator[Piece]:
        """Everything that is left, for the general way."""
        if self._packets:
            rate = self.rate
            while self._packets:
                start_ns, samples = self._packets.popleft()
                yield Piece(start_ns, rate, samples)
