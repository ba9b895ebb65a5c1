"""Instruments that have sent nothing for long, and what time it must be there by now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ml_prediction.core.packets import Packet
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import seconds_to_ns


class Silence:
    """Newest sample of each instrument, and when it came.

    The host's clock plays no part: data may be old, and the clock may step.

    Parameters
    ----------
    timeout
        Seconds without a packet after which an instrument's time goes on by itself.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._newest: dict[Instrument, tuple[int, float]] = {}

    def note(self, packet: Packet, seconds: float) -> None:
        """Note a packet that came at a monotonic time."""
        instrument = packet.nslc.instrument
        end_ns = packet.end_ns
        newest, _ = self._newest.get(instrument, (end_ns, seconds))
        self._newest[instrument] = (max(newest, end_ns), seconds)

    def over(self, now: float) -> Iterator[tuple[Instrument, int]]:
        """Silent instruments, with the time in nanoseconds that they must have reached."""
        for instrument, (newest_ns, seconds) in list(self._newest.items()):
            if now - seconds > self._timeout:
                yield instrument, newest_ns + seconds_to_ns(now - seconds)

    def snapshot(self) -> list[list[Any]]:
        """State as plain values."""
        return [[*instrument, newest] for instrument, (newest, _) in self._newest.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Take over a snapshot's state; silence begins anew."""
        now = time.monotonic()
        for *names, newest in state:
            self._newest[Instrument(*names)] = (newest, now)
