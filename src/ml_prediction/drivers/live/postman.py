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
from ml_prediction.earthworm.reader import messages_now
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

    Attributes
    ----------
    known
        Picks that were not sent because they had been sent before.
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
        self.known = 0
        self._told = 0  # picks given up
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
        messages = _ours_in(ring, self._style)
        if self._journal.trouble is not None:
            self._tell_disk(self._journal.trouble)
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
        noted = {message for entry in self._journal.entries for message in entry.messages}
        for logo, payload in messages:
            if logo == self._style.logos.get("PICK_SCNL") and (logo, payload) not in noted:
                self._adopt(payload)
        return self.unsent

    def _adopt(self, payload: bytes) -> None:
        """Take over a pick of ours that was sent while it could not be noted: the disk was full."""
        try:
            pick = decode_pick_scnl(payload)
        except MessageError as error:
            _log.warning("a pick of ours in the ring is odd: %s", error)
            return
        self._journal.adopt(pick.sequence, str(pick.nslc.instrument), pick.time_ns)

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
                self.known += pick.phase in self._phases
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
                self._tell_disk(error)
        self.retry()
        return new

    def flush(self) -> None:
        """Note on disk what could not be noted before, and tell of picks that were given up."""
        lost = self._journal.given_up - self._told
        if lost:
            self._told += lost
            self._alarms.tell(Alarm.RING, "picks that the ring did not take were given up", lost)
        try:
            self._journal.flush()
        except OSError as error:
            self._tell_disk(error)

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
            self._tell_disk(error)

    def _tell_disk(self, error: OSError) -> None:
        self._alarms.tell(Alarm.DISK, f"picks can't be noted on disk: {error}")


def _ours_in(ring: Ring, style: PickStyle) -> dict[tuple[Logo, bytes], None]:
    """Our own picks that are in a ring, in order."""
    found = messages_now(ring, list(style.logos.values()))
    return dict.fromkeys((message.logo, message.payload) for message in found)
