"""Picks that were sent, or are about to be, on disk: none is lost, none is sent twice."""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ml_prediction.earthworm.logo import Logo
from ml_prediction.util.files import write_whole
from ml_prediction.util.times import seconds_to_ns

SAME_NS: Final = seconds_to_ns(0.1)
"""Peaks of one instrument and phase that are no farther apart are the same pick, computed again."""

LARGEST_NUMBER: Final = 2_147_483_640
"""After it comes 0, as in Earthworm's own picker."""

_log = logging.getLogger(__name__)

UNKNOWN: Final = "?"
"""Phase of a pick of which only the message is known."""

KEPT: Final = 50_000
"""Picks that are remembered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A pick that got a number.

    Attributes
    ----------
    number
        Its id in Earthworm, 0 to 2147483640.
    instrument, phase, peak_ns
        What it is.
    messages
        What is put into the ring for it: logos and payloads.
    """

    number: int
    instrument: str
    phase: str
    peak_ns: int
    messages: tuple[tuple[Logo, bytes], ...]


class Journal:
    """Numbers for picks, and which of them have been sent.

    Each pick is on disk before it is sent, and is marked afterwards. What was on its way when the
    process was killed is in :attr:`unsent` of the next one.

    Parameters
    ----------
    path
        File; made if it does not exist. Only one process may have it.
    kept
        Picks that are remembered.

    Attributes
    ----------
    unsent
        Picks that are not marked as sent, by number.
    given_up
        Picks that the ring did not take until so many came after them that they were forgotten.
    trouble
        Why the file could not be written at the start, e.g. because the disk is full.

    Raises
    ------
    OSError
        If it can't be read.
    """

    def __init__(self, path: Path, kept: int = KEPT) -> None:
        self.path = path
        self.unsent: dict[int, Entry] = {}
        self.given_up = 0
        self._kept = kept
        self._next = 0
        self._entries: dict[int, Entry] = {}  # in the order in which they came
        self._peaks: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self._unwritten: list[str] = []
        self._lines = 0
        self.trouble: OSError | None = None
        self._read()
        try:
            self._rewrite()
        except OSError as error:  # what is there is good, only longer than it need be
            self.trouble = error

    # -- asked by the driver --------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """What the next pick will be called."""
        return self._next

    @property
    def entries(self) -> Iterable[Entry]:
        """All picks that are remembered."""
        return self._entries.values()

    def reserve(self, number: int) -> None:
        """See that no pick gets a number up to this one, which is somebody's already."""
        if self._next <= number < self._next + LARGEST_NUMBER // 2:
            self._next = _after(number)

    def find(self, instrument: str, phase: str, peak_ns: int) -> Entry | None:
        """The pick that this is, if it has a number already."""
        for known, tolerance_ns in ((phase, SAME_NS), (UNKNOWN, 2 * SAME_NS)):
            peaks = self._peaks.get((instrument, known), [])
            at = bisect_left(peaks, (peak_ns - tolerance_ns, -1))
            if at < len(peaks) and peaks[at][0] <= peak_ns + tolerance_ns:
                return self._entries[peaks[at][1]]
        return None

    def adopt(self, number: int, instrument: str, time_ns: int) -> None:
        """Note a pick that was found in the ring, but could not be noted before it was sent.

        Parameters
        ----------
        number, instrument
            As in Entry.
        time_ns
            Time of the pick, which is within 0.1 s of its peak; its phase is not known.
        """
        known = self._entries.get(number)
        if known is None and self.find(instrument, UNKNOWN, time_ns) is None:
            self._note(Entry(number, instrument, UNKNOWN, time_ns, ()))
        self.reserve(number)

    def flush(self) -> None:
        """Write what could not be written before.

        Raises
        ------
        OSError
            As :meth:`add`.
        """
        if self._unwritten:
            self._write([], sync=True)

    def add(self, entries: Sequence[Entry]) -> None:
        """Note picks that are about to be sent. They are on disk when this returns.

        Raises
        ------
        OSError
            If the disk is full or the like. They are noted all the same, for as long as this
            process lives, and are written when there is room again.
        """
        for entry in entries:
            self._note(entry)
            self._next = _after(entry.number)
            self.unsent[entry.number] = entry
        self._write([_packed(entry) for entry in entries], sync=True)

    def mark_sent(self, numbers: Iterable[int]) -> None:
        """Note that picks have been sent.

        Raises
        ------
        OSError
            As :meth:`add`.
        """
        numbers = [number for number in numbers if self.unsent.pop(number, None) is not None]
        if numbers:
            self._write([json.dumps({"sent": numbers})], sync=False)
        if self._lines > 4 * self._kept:
            self._rewrite()

    # -- file -----------------------------------------------------------------------------------

    def _note(self, entry: Entry) -> None:
        if entry.number in self._entries:
            self._forget(entry.number)
        self._entries[entry.number] = entry
        insort(self._peaks[entry.instrument, entry.phase], (entry.peak_ns, entry.number))
        while len(self._entries) > self._kept:
            oldest = next(iter(self._entries))
            self.given_up += oldest in self.unsent
            self._forget(oldest)

    def _forget(self, number: int) -> None:
        self.unsent.pop(number, None)
        entry = self._entries.pop(number)
        peaks = self._peaks[entry.instrument, entry.phase]
        peaks.remove((entry.peak_ns, number))
        if not peaks:
            del self._peaks[entry.instrument, entry.phase]

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        odd = 0
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, OverflowError):
                odd += bool(line) and number < len(lines)  # the last one may be cut off
        if odd:
            _log.warning("%s: lines that can't be read, and are left out: %d", self.path, odd)

    def _take(self, value: dict[str, Any]) -> None:
        if "sent" in value:
            for number in value["sent"]:
                self.unsent.pop(number, None)
        elif "next" in value:
            self._next = _within(value["next"], LARGEST_NUMBER)
        else:
            entry = _unpacked(value)
            if self._entries.get(entry.number) == entry:  # written twice, after an error
                return
            self._note(entry)
            self._next = _after(entry.number)
            self.unsent[entry.number] = entry

    def _rewrite(self) -> None:
        """Leave out what is not needed any more; the file is replaced in one go."""
        lines = self._all_lines()
        write_whole(self.path, "".join(f"{line}\n" for line in lines).encode(), sync=True)
        self._unwritten.clear()
        self._lines = len(lines)

    def _all_lines(self) -> list[str]:
        lines = [_packed(entry) for entry in self._entries.values()]
        sent = [number for number in self._entries if number not in self.unsent]
        return [*lines, json.dumps({"sent": sent}), json.dumps({"next": self._next})]

    def _write(self, lines: list[str], *, sync: bool) -> None:
        self._unwritten += lines
        if len(self._unwritten) > 4 * self._kept:  # a disk may be full for days
            self._unwritten = self._all_lines()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            data = "".join(f"{line}\n" for line in self._unwritten).encode()
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data  # after a half line
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                if sync:
                    os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)  # no half lines
                raise
        finally:
            os.close(descriptor)
        self._lines += len(self._unwritten)
        self._unwritten.clear()


def numbered(first: int) -> Iterator[int]:
    """Numbers of picks, from one on."""
    while True:
        yield first
        first = _after(first)


def _after(number: int) -> int:
    return 0 if number >= LARGEST_NUMBER else number + 1


def _packed(entry: Entry) -> str:
    messages = [[*logo, payload.decode("latin-1")] for logo, payload in entry.messages]
    return json.dumps(
        {
            "pick": entry.number,
            "instrument": entry.instrument,
            "phase": entry.phase,
            "peak_ns": entry.peak_ns,
            "messages": messages,
        }
    )


def _unpacked(value: dict[str, Any]) -> Entry:
    messages = tuple(
        (Logo(*(_within(part, 255) for part in logo)), str(text).encode("latin-1"))
        for *logo, text in value["messages"]
    )
    return Entry(
        _within(value["pick"], LARGEST_NUMBER),
        str(value["instrument"]),
        str(value["phase"]),
        int(value["peak_ns"]),
        messages,
    )


def _within(value: Any, highest: int) -> int:
    """A number from 0 to the highest one.

    Raises
    ------
    ValueError, TypeError, OverflowError
        If it is none.
    """
    number = int(value)
    if not 0 <= number <= highest:
        raise ValueError(f"{number} is not from 0 to {highest}")
    return number
