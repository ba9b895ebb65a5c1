"""The usual packet: it continues its channel, looks like the one before, and is not late.

Nearly all packets are of this kind. They need no examination, and wait as they came until a window
needs them; everything else goes the general way, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from ml_prediction.core.channel import Channel
from ml_prediction.core.grid import period_ns
from ml_prediction.core.intake import are_usable
from ml_prediction.core.lateness import Accepted
from ml_prediction.core.packets import Packet
from ml_prediction.core.pending import Piece
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import NANOSECONDS

LONGEST: Final = 8192  # samples; what is longer goes in by parts, the general way


@dataclass(slots=True, eq=False)
class Feed:
    """What the next packet of a channel must be like to be a usual one.

    Attributes
    ----------
    instrument, channel, accepted
        Whose packets, and what keeps them.
    next_ns
        Time of the next packet's first sample; None if no packet is usual now.
    header
        Its sampling rate in Hz.
    dtype
        Type of its samples.
    period_ns
        Time from sample to sample.
    """

    instrument: Instrument
    channel: Channel
    accepted: Accepted
    next_ns: int | None = None
    header: float = 0.0
    dtype: np.dtype[Any] | None = None
    period_ns: int = 0

    def expect(self, packet: Packet, rate: Fraction, good: Piece) -> None:
        """Expect packets like this one, if all of it is good, after its end.

        Parameters
        ----------
        packet
            The newest of its channel so far.
        rate
            Its rate on the grid.
        good
            What of it was accepted.
        """
        period = NANOSECONDS * rate.denominator
        usual = (
            len(good) == len(packet)
            and packet.sampling_rate == rate
            and packet.samples.dtype.kind in "iuf"
            and packet.samples.dtype.itemsize <= 8  # longer ones would be resampled as they are
            and period % (100 * rate.numerator) == 0  # then the grid's times are whole, too
        )
        self.next_ns = good.stop_ns if usual else None
        self.header = packet.sampling_rate
        self.dtype = packet.samples.dtype
        self.period_ns = period_ns(rate)

    def take(self, packet: Packet, limit_ns: int) -> int | None:
        """Take a usual packet.

        Parameters
        ----------
        packet
            Of this channel.
        limit_ns
            What lies before is late.

        Returns
        -------
        int or None
            Time of the packet's last sample; None if it is not a usual one, and was not taken.
        """
        start_ns, samples, next_ns = packet.start_ns, packet.samples, self.next_ns
        if (
            next_ns is None
            or packet.sampling_rate != self.header
            or samples.dtype != self.dtype
            or samples.ndim != 1
            or not 0 < len(samples) <= LONGEST
            or start_ns < limit_ns
            or not -self.period_ns < 4 * (start_ns - next_ns) < self.period_ns
            or not are_usable(samples)
        ):
            return None
        stop_ns = start_ns + len(samples) * self.period_ns
        self.channel.follow(start_ns, samples, self.period_ns)
        self.accepted.prolong(stop_ns)
        self.next_ns = stop_ns
        return stop_ns - self.period_ns
