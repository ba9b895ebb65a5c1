"""Packets of stations whose clock is ahead are kept out of the pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low
from typing import Final

from ml_prediction.core.packets import Packet
from ml_prediction.util.times import seconds_to_ns

AHEAD_NS: Final = seconds_to_ns(60)
MOST_STATIONS: Final = 20_000

Station = tuple[str, str]


class ClockGuard:
    """Tells packets that end over 60 s after the later of the host's clock and the network's time.

    The network's time is the median over stations of their newest packets' ends, so that neither a
    host whose clock is slow nor a station whose clock is fast does harm.

    Attributes
    ----------
    newest
        End of each station's newest packet in nanoseconds, by network and station.
    """

    def __init__(self) -> None:
        self.newest: dict[Station, int] = {}

    def part(self, packets: Iterable[Packet], now_ns: int) -> tuple[list[Packet], list[Packet]]:
        """Packets to be used, and those from the future.

        Parameters
        ----------
        packets
            Of any stations; all of them count for the network's time.
        now_ns
            The host's clock.
        """
        ends = [(packet, packet.end_ns) for packet in packets]
        latest: dict[Station, int] = {}
        for packet, end_ns in ends:
            station = packet.nslc[:2]
            latest[station] = max(end_ns, latest.get(station, end_ns))
        if len(self.newest) > MOST_STATIONS:  # garbage that looks like messages
            self.newest.clear()
        self.newest.update(latest)
        limit_ns = now_ns + AHEAD_NS
        if max(latest.values(), default=0) > limit_ns:
            limit_ns = max(limit_ns, median_low(self.newest.values()) + AHEAD_NS)
        good = [packet for packet, end_ns in ends if end_ns <= limit_ns]
        future = [packet for packet, end_ns in ends if end_ns > limit_ns]
        return good, future
