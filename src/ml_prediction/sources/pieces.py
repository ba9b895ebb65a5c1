"""Where packets are cut, so that no piece reaches over a multiple of the batches' width."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.core.packets import Packet, samples_before
from ml_prediction.util.times import NANOSECONDS

AT_ONCE: Final = 256
"""Cuts that are looked for at once."""

Indices = npt.NDArray[np.int64]


class Pieces:
    """The pieces of one packet, in order of time.

    Parameters
    ----------
    packet
        Not empty.
    width_ns
        No piece reaches over a multiple of it.
    copies
        Give pieces samples of their own, not views of the packet's.

    Attributes
    ----------
    start_ns
        Time of the next piece's first sample. All are by the whole packet's time and rate, so that
        they round once only.
    left
        Whether there is another piece.
    """

    __slots__ = (
        "_copies",
        "_packet",
        "_start",
        "_starts_ns",
        "_stops",
        "_width_ns",
        "left",
        "start_ns",
    )

    def __init__(self, packet: Packet, width_ns: int, *, copies: bool = False) -> None:
        self.start_ns = packet.start_ns
        self.left = True
        self._packet = packet
        self._width_ns = width_ns
        self._copies = copies
        self._start = 0
        self._stops: list[int] = []  # of the next pieces, the last first
        self._starts_ns: list[int] = []  # of those after each of them

    def take(self) -> Packet:
        """The next piece."""
        if not self._stops:
            self._look_ahead()
        packet, start, start_ns = self._packet, self._start, self.start_ns
        stop = self._start = self._stops.pop()
        self.start_ns = self._starts_ns.pop()
        self.left = stop < len(packet)
        if start == 0 and not self.left:
            return packet
        samples = packet.samples[start:stop]
        if self._copies:
            samples = samples.copy()
        return Packet(packet.nslc, start_ns, packet.sampling_rate, samples)

    def _look_ahead(self) -> None:
        packet, width_ns = self._packet, self._width_ns
        limit_ns = (self.start_ns // width_ns + 1) * width_ns
        count = min(AT_ONCE, max(1, (packet.end_ns - limit_ns) // width_ns + 2))
        few = not width_ns * packet.sampling_rate >= 2 * NANOSECONDS  # or an absurd rate
        if few or count == 1:
            stops = [samples_before(packet, limit_ns)]
            times = [packet.sample_ns(stops[0])]
        else:
            limits = limit_ns - packet.start_ns + width_ns * np.arange(count)
            found = before(limits, packet.sampling_rate, len(packet))
            times = (packet.start_ns + _times(found, packet.sampling_rate)).tolist()
            stops = found.tolist()
        self._stops, self._starts_ns = stops[::-1], times[::-1]


def before(limits: Indices, rate: float, count: int) -> Indices:
    """How many samples lie before each time, as `samples_before` has it.

    Parameters
    ----------
    limits
        Nanoseconds from the first sample.
    rate
        In Hz, such that a nanosecond is less than half a sample.
    count
        Number of samples.
    """
    found = np.clip(np.ceil(limits * (rate / NANOSECONDS)), 1, count).astype(np.int64)
    found -= _times(found - 1, rate) >= limits  # the product above is only nearly right
    found += _times(found, rate) < limits
    return np.asarray(np.minimum(found, count))


def _times(indices: Indices, rate: float) -> Indices:
    """Nanoseconds from the first sample, rounded as `Packet.sample_ns` does."""
    return np.asarray(np.rint(indices * NANOSECONDS / rate), dtype=np.int64)
