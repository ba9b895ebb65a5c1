"""Picks into the ring: numbered, noted on disk, put, and marked as sent."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from ml_prediction.core.results import Pick
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.journal import SAME_NS, Entry, Journal, numbered
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    MessageError,
    decode_pick_scnl,
)
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingError
from ml_prediction.sinks.earthworm import PickStyle, pick_messages
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

_log = logging.getLogger(__name__)


class Postman:
    """Sends picks, each once, through failures of the ring and of this process.

    Parameters
    ----------
    journal
        What was sent before.
    put
        Puts a message into the ring; RingError if it can't now.
    style
        How picks are put into messages.
    phases
        Letters of the phases that are sent.
    alarms
        Where trouble is told.
    """

    def __init__(
        self,
        journal: Journal,
        put: Callable[[Logo, bytes], None],
        style: PickStyle,
        phases: str,
        alarms: Alarms,
    ) -> None:
        self._journal = journal
        self._put = put
        self._style = style
        self._phases = phases
        self._alarms = alarms
        self._put_already = (-1, 0)  # of the pick at which the ring failed: number, messages

    @property
    def unsent(self) -> int:
        """Picks that wait for the ring."""
        return len(self._journal.unsent)

    def look_back(self, ring: Ring) -> int:
        """Mark what an earlier process has put into the ring without marking it.

        Returns
        -------
        int
            Number of picks that are still to be sent.
        """
        messages, numbers = _ours_in(ring, self._style)
        for number in numbers:
            self._journal.reserve(number)
        done = []
        for entry in self._journal.unsent.values():
            count = 0
            while count < len(entry.messages) and entry.messages[count] in messages:
                count += 1
            if count == len(entry.messages):
                done.append(entry.number)
            elif count:
                self._put_already = (entry.number, count)
        self._mark(done)
        return self.unsent

    def send(
        self, picks: Iterable[Pick], channels: Mapping[Instrument, Iterable[str]]
    ) -> list[tuple[Pick, int]]:
        """Send picks; those that have been sent before are left out.

        Parameters
        ----------
        picks
            In order.
        channels
            Channel codes that each instrument has.

        Returns
        -------
        list of tuple
            New picks with their numbers, whether or not the ring takes them now.
        """
        numbers = numbered(self._journal.next_number)
        entries: list[Entry] = []
        new: list[tuple[Pick, int]] = []
        peaks: dict[tuple[str, str], list[int]] = {}
        for pick in picks:
            peak_ns = to_ns(pick.peak_time)
            instrument = str(pick.instrument)
            if pick.phase not in self._phases or self._journal.find(
                instrument, pick.phase, peak_ns
            ):
                continue
            others = peaks.setdefault((instrument, pick.phase), [])
            if any(abs(peak_ns - other) <= SAME_NS for other in others):
                continue
            number = next(numbers)
            try:
                messages = pick_messages(
                    pick, number, self._style, channels.get(pick.instrument, ())
                )
            except MessageError as error:
                numbers = itertools.chain([number], numbers)  # nobody has seen it
                self._alarms.tell(Alarm.MALFORMED, f"a pick can't be sent: {error}")
                continue
            others.append(peak_ns)
            entries.append(Entry(number, instrument, pick.phase, peak_ns, tuple(messages)))
            new.append((pick, number))
        if entries:
            try:
                self._journal.add(entries)
            except OSError as error:  # people need the picks all the same
                self._alarms.tell(Alarm.DISK, f"picks can't be noted on disk: {error}")
        self.retry()
        return new

    def retry(self) -> None:
        """Put what waits, in order, as far as the ring takes it."""
        sent: list[int] = []
        for entry in list(self._journal.unsent.values()):
            number, done = self._put_already
            try:
                for logo, payload in entry.messages[done if number == entry.number else 0 :]:
                    self._put(logo, payload)
                    done = 1 + (done if number == entry.number else 0)
                    number = entry.number
            except RingError as error:
                self._put_already = (number, done)
                self._alarms.tell(Alarm.RING, str(error))
                break
            sent.append(entry.number)
        self._mark(sent)

    def _mark(self, numbers: Sequence[int]) -> None:
        try:
            self._journal.mark_sent(numbers)
        except OSError as error:
            self._alarms.tell(Alarm.DISK, f"picks can't be noted on disk: {error}")


def _ours_in(ring: Ring, style: PickStyle) -> tuple[set[tuple[Logo, bytes]], set[int]]:
    """Our own picks that are in a ring, and their numbers."""
    reader = RingReader(ring, list(style.logos.values()))
    messages: set[tuple[Logo, bytes]] = set()
    numbers: set[int] = set()
    while reader.position != ring.keyin:
        for message in reader.read().messages:
            messages.add((message.logo, message.payload))
            if message.logo == style.logos.get("PICK_SCNL"):
                try:
                    numbers.add(decode_pick_scnl(message.payload).sequence)
                except MessageError as error:
                    _log.warning("a pick of ours in ring %s is odd: %s", ring.name, error)
    return messages, numbers
