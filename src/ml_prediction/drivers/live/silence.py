"""Instruments that have sent nothing for long, and what time it must be there by now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ml_prediction.core.packets import Packet
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import seconds_to_ns

AGAIN_SECONDS: Final = 5.0
"""From one telling of an instrument's time to the next."""

FORGET_SECONDS: Final = 3600.0
"""What has been silent for so long is forgotten."""


@dataclass(slots=True)
class _Last:
    newest_ns: int
    seconds: float
    due: float


class Silence:
    """Newest sample of each instrument, and when it came.

    The host's clock plays no part: data may be old, and the clock may step. Nor do our own pauses:
    time is counted up to the last moment at which everything that had come was taken in.

    Parameters
    ----------
    timeout
        Seconds without a packet after which an instrument's time goes on by itself.
    tail
        Seconds after which the last of its windows has closed; then there is nothing to tell.
    sites
        Instruments that wait for each other: of one that is silent, or has never sent anything,
        the time is told for as long as any other sends. It is not earlier than the others'.
    """

    def __init__(
        self, timeout: float, tail: float, sites: Iterable[Sequence[Instrument]] = ()
    ) -> None:
        self._timeout = timeout
        self._tail = tail
        self._sites = {instrument: tuple(site) for site in sites for instrument in site}
        self._last: dict[Instrument, _Last] = {}

    def note(self, packet: Packet, seconds: float) -> None:
        """Note a packet that came at a monotonic time."""
        end_ns = packet.end_ns
        last = self._last.get(packet.nslc.instrument)
        if last is None:
            self._last[packet.nslc.instrument] = _Last(end_ns, seconds, 0.0)
            for other in self._sites.get(packet.nslc.instrument, ()):  # is silent from now on
                self._last.setdefault(other, _Last(packet.start_ns, seconds, 0.0))
            return
        last.seconds = seconds
        last.due = 0.0
        if end_ns > last.newest_ns:
            last.newest_ns = end_ns

    def newest(self, instrument: Instrument) -> int | None:
        """Time of the newest sample of an instrument in nanoseconds."""
        last = self._last.get(instrument)
        return None if last is None else last.newest_ns

    def forget(self, instrument: Instrument) -> None:
        """Let an instrument begin anew."""
        self._last.pop(instrument, None)

    def over(self, now: float) -> Iterator[tuple[Instrument, int]]:
        """Silent instruments, with the time in nanoseconds that they must have reached.

        Parameters
        ----------
        now
            Monotonic: all that had come by then has been noted.
        """
        for instrument, last in list(self._last.items()):
            silent = now - last.seconds
            if silent <= self._timeout or now < last.due:
                continue
            over = now - self._heard(instrument) > self._timeout + self._tail
            last.due = math.inf if over else now + AGAIN_SECONDS
            time_ns = last.newest_ns + seconds_to_ns(silent)
            yield instrument, max([time_ns, *self._newest_at_site(instrument, now)])

    def gone(self, now: float) -> list[Instrument]:
        """Instruments that have been silent so long that they can be forgotten; they are, here."""
        limit = now - max(FORGET_SECONDS, self._timeout + self._tail)
        gone = [instrument for instrument in self._last if self._heard(instrument) < limit]
        for instrument in gone:
            del self._last[instrument]
        return gone

    def _heard(self, instrument: Instrument) -> float:
        """When anything came of an instrument, or of another at its site."""
        site = self._sites.get(instrument, (instrument,))
        return max(self._last[each].seconds for each in site if each in self._last)

    def _newest_at_site(self, instrument: Instrument, now: float) -> list[int]:
        """Newest samples, in nanoseconds, of those at an instrument's site that are not silent."""
        site = [self._last[i] for i in self._sites.get(instrument, ()) if i in self._last]
        awake = [each for each in site if now - each.seconds <= self._timeout]
        return [each.newest_ns for each in awake]

    def snapshot(self) -> list[list[Any]]:
        """State as plain values."""
        return [[*instrument, last.newest_ns] for instrument, last in self._last.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Take over a snapshot's state; silence begins anew."""
        now = time.monotonic()
        for *names, newest_ns in state:
            self._last[Instrument(*names)] = _Last(int(newest_ns), now, 0.0)
