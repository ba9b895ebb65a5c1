"""Packets of stations whose clock is ahead are kept out of the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import Final

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.silence import FORGET_SECONDS
from ml_prediction.util.times import seconds_to_ns

AHEAD_NS: Final = seconds_to_ns(60)
STEADY: Final = 3
"""Times that a station has been heard, and stations that there are, before they count."""

HEARD_SECONDS: Final = 600.0
"""A station that has sent nothing for so long does not count."""

Station = tuple[str, str]


@dataclass(slots=True)
class _Heard:
    end_ns: int
    times: int
    seconds: float


class ClockGuard:
    """Tells packets that end over 60 s after the later of the host's clock and the network's time.

    The network's time is the median over stations of their newest packets' ends, so that neither a
    host whose clock is slow nor a station whose clock is fast does harm. Where there are enough of
    them, only stations count that were heard several times: codes in garbage are new each time.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[Station, _Heard] = {}

    @property
    def newest(self) -> dict[Station, int]:
        """End of each station's newest packet in nanoseconds, by network and station."""
        return {station: heard.end_ns for station, heard in self._heard.items()}

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
        self._note(ends)
        limit_ns = now_ns + AHEAD_NS
        if max((end_ns for _, end_ns in ends), default=0) > limit_ns:
            limit_ns = max(limit_ns, self._network_ns() + AHEAD_NS)
        good = [packet for packet, end_ns in ends if end_ns <= limit_ns]
        future = [packet for packet, end_ns in ends if end_ns > limit_ns]
        return good, future

    def is_ahead(self, time_ns: int, now_ns: int) -> bool:
        """Whether no packet could be used, now, that ends at a time."""
        return (
            time_ns > now_ns + AHEAD_NS
            and bool(self._heard)
            and time_ns > self._network_ns() + AHEAD_NS
        )

    def forget(self) -> None:
        """Forget stations that have sent nothing for long."""
        limit = self._clock() - FORGET_SECONDS
        for station in [s for s, heard in self._heard.items() if heard.seconds < limit]:
            del self._heard[station]

    def _note(self, ends: Iterable[tuple[Packet, int]]) -> None:
        seconds = self._clock()
        latest: dict[Station, int] = {}
        for packet, end_ns in ends:
            station = packet.nslc[:2]
            latest[station] = max(end_ns, latest.get(station, end_ns))
        for station, end_ns in latest.items():
            heard = self._heard.get(station)
            self._heard[station] = _Heard(end_ns, 1 if heard is None else heard.times + 1, seconds)

    def _network_ns(self) -> int:
        since = self._clock() - HEARD_SECONDS
        heard = [each for each in self._heard.values() if each.seconds >= since]
        steady = [each for each in heard if each.times >= STEADY]
        counted = steady if len(steady) >= STEADY else heard
        return median_low(each.end_ns for each in counted)
