"""Picks into the ring: numbered, noted on disk, put, and marked as sent."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ml_prediction.core.results import Pick
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.journal import Entry, Journal, numbered
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    MessageError,
    Pick2k,
    PickScnl,
    decode_pick2k,
    decode_pick_scnl,
)
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingError
from ml_prediction.sinks.earthworm import PickStyle, pick_messages
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

PICK2K_NUMBERS: Final = 10_000

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
        there = _numbers_in(ring, self._style)
        for number in there["PICK_SCNL"]:
            self._journal.reserve(number)
        done = [
            entry.number
            for entry in self._journal.unsent.values()
            if all(
                (entry.number % PICK2K_NUMBERS if name == "PICK2K" else entry.number) in there[name]
                for name in self._style.logos
            )
        ]
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
        for pick in picks:
            peak_ns = to_ns(pick.peak_time)
            instrument = str(pick.instrument)
            if pick.phase not in self._phases or self._journal.find(
                instrument, pick.phase, peak_ns
            ):
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


def _numbers_in(ring: Ring, style: PickStyle) -> dict[str, set[int]]:
    """Numbers of our own picks that are in a ring, by message format."""
    decoders: dict[str, Callable[[bytes], PickScnl | Pick2k]] = {
        "PICK_SCNL": decode_pick_scnl,
        "PICK2K": decode_pick2k,
    }
    reader = RingReader(ring, list(style.logos.values()))
    logos: dict[str, Logo] = dict(style.logos.items())
    found: dict[str, set[int]] = {name: set() for name in decoders}
    while (batch := reader.read()).messages or batch.broken:
        for message in batch.messages:
            for name, decode in decoders.items():
                if logos.get(name) == message.logo:
                    try:
                        found[name].add(decode(message.payload).sequence)
                    except MessageError as error:
                        _log.warning("a pick of ours in ring %s is odd: %s", ring.name, error)
    return found
