"""A transport ring that is there already: attached to, read in batches, put into.

Rings are made and destroyed by Earthworm's startstop, never by us; nor do we register in its flag
ring. The layout and the protocol are those of Earthworm 7.10.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

from ml_prediction.earthworm.layout import START, layout_of
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.sysv import Mapping, Semaphore, find_segment, segment_state
from ml_prediction.errors import MLPredictionError

LOCK_SECONDS: Final = 2.0
"""Longest wait for the writers' lock: a C module killed inside a put never gives it back."""


class RingError(MLPredictionError):
    """A ring is not there, not usable, or was destroyed; the message names it and its key."""


class RingBusyError(RingError):
    """Nobody let go of a ring's lock in time; the ring itself is there."""


@dataclass(frozen=True, slots=True)
class RingName:
    """A ring by its name in Earthworm's tables, and its key there."""

    name: str
    key: int

    def __str__(self) -> str:
        return f"{self.name} (key {self.key})"


class Incarnation(NamedTuple):
    """Which of the segments that a ring's key has stood for, one after another.

    Attributes
    ----------
    identifier
        Of the segment.
    changed
        Epoch seconds of its making.
    """

    identifier: int
    changed: int


class Ring:
    """One ring, attached. Several threads may put into it; one may read.

    Parameters
    ----------
    name
        Which one.

    Attributes
    ----------
    name
        Which one.
    layout
        Of the Earthworm that made it.
    keymax
        Bytes for messages, their headers included.
    incarnation
        Which of the segments of this key.
    stale_flag
        Kill flag as it was found, 0 if there was none: a process id there is not meant for us.

    Raises
    ------
    RingError
        If it is not there, is not a ring, or we have no right to it.
    """

    def __init__(self, name: RingName) -> None:
        self.name = name
        try:
            identifier = find_segment(name.key)
            changed = segment_state(identifier).changed
            mapping = Mapping(identifier, writable=True)
        except FileNotFoundError as error:
            raise RingError(f"There is no ring {name}: is Earthworm running?") from error
        except OSError as error:
            raise RingError(f"Can't attach to ring {name}: {error.strerror}.") from error
        layout = layout_of(mapping.bytes[:40], mapping.size)
        if layout is None:
            mapping.close()
            raise RingError(
                f"The shared memory of ring {name} is not a ring of Earthworm, or is not ready: "
                "some other program uses this key, or the ring is broken; see `ipcs -m`."
            )
        try:
            self._lock = Semaphore(name.key)
        except OSError as error:
            mapping.close()
            raise RingError(
                f"Ring {name} has no semaphore that we can use: {error.strerror}."
            ) from error
        self.layout = layout
        self.keymax = mapping.size - layout.data
        self.incarnation = Incarnation(identifier, changed)
        self._mapping = mapping
        self._data = mapping.bytes[layout.data :]
        self._keyin = mapping.word(layout.keyin, layout.word)
        self._keyold = mapping.word(layout.keyold, layout.word)
        self._flag = mapping.word(layout.flag, ctypes.c_int32)
        self._sequences: Counter[Logo] = Counter()
        self._open = True
        self._ours = threading.RLock()  # who touches the memory, against who detaches
        self.stale_flag = self.flag

    @property
    def keyin(self) -> int:
        """Where the next message will begin, in bytes since the ring was made."""
        self._check_open()
        return int(self._keyin.value)

    @property
    def keyold(self) -> int:
        """Where the oldest message begins, in bytes since the ring was made."""
        self._check_open()
        return int(self._keyold.value)

    @property
    def flag(self) -> int:
        """Kill flag: 0, the id of a process that is to end, or TERMINATE. 0 once closed."""
        with self._ours:
            return int(self._flag.value) if self._open else 0

    def is_current(self) -> bool:
        """Whether the ring's key still stands for this segment: not after a restart."""
        try:
            return find_segment(self.name.key) == self.incarnation.identifier
        except OSError:
            return False

    def close(self) -> None:
        """Detach. It can't be read from or put into afterwards."""
        with self._ours:
            self._open = False
            self._mapping.close()

    def copy(self, start: int, stop: int) -> bytes:
        """Bytes of the ring between two counts of bytes, at most `keymax` of them."""
        self._check_open()
        first = start % self.keymax
        last = first + stop - start
        if last <= self.keymax:
            return bytes(self._data[first:last])
        return bytes(self._data[first:]) + bytes(self._data[: last - self.keymax])

    def put(self, logo: Logo, payload: bytes, wait: float | None = None) -> int:
        """Put one message.

        Parameters
        ----------
        logo
            Type, module and installation.
        payload
            Contents.
        wait
            Seconds to wait for other writers at most; None for LOCK_SECONDS.

        Returns
        -------
        int
            Its sequence number, 0 to 255. Each logo has its own count.

        Raises
        ------
        RingBusyError
            If a writer does not let go of the ring; nothing was put.
        RingError
            If the message is longer than the ring, or the ring is destroyed or broken.
        """
        head = self.layout.message
        length = head.size + len(payload)
        if length > self.keymax:
            raise RingError(
                f"A message of {len(payload)} bytes does not fit into ring {self.name}."
            )
        with self._ours:
            self._check_open()
            sequence = self._sequences[logo] % 256
            self._put(
                head.pack(START, len(payload), *logo, sequence) + payload,
                LOCK_SECONDS if wait is None else wait,
            )
            self._sequences[logo] += 1
        return sequence

    def _check_open(self) -> None:
        if not self._open:  # the memory is not ours any more
            raise RingError(f"Ring {self.name} is closed.")

    def _put(self, message: bytes, wait: float) -> None:
        try:
            taken = self._lock.acquire(wait)
        except OSError as error:
            raise RingError(f"Ring {self.name} was destroyed ({error.strerror}).") from error
        if not taken:
            raise RingBusyError(
                f"Ring {self.name}: no writer let go of its lock in {wait:g} s; a program "
                "may have been killed while it was writing. Restart Earthworm if it stays so."
            )
        try:
            if not self.is_current():  # the lock outlives it: Earthworm uses it again
                raise RingError(f"Ring {self.name} was destroyed.")
            self._make_room(len(message))
            self._write(self.keyin, message)
            self._keyin.value = self.keyin + len(message)  # last: readers go by it
        finally:
            self._lock.release()

    def _make_room(self, length: int) -> None:
        """Let the oldest messages go until so many bytes are free."""
        keyin, keyold = self.keyin, self.keyold
        if self.layout.bits == 32 and keyin + length >= 1 << 32:  # the counters start anew
            keyin, keyold = keyin % self.keymax, keyold % self.keymax
            if keyin <= keyold:
                keyin += self.keymax
            self._keyold.value, self._keyin.value = keyold, keyin
        head = self.layout.message
        while keyin + length - keyold > self.keymax:
            start, size, *_ = head.unpack(self.copy(keyold, keyold + head.size))
            if start != START or size < 0 or keyold + head.size + size > keyin:
                raise RingError(
                    f"Ring {self.name} is broken: no message where the oldest one should be. "
                    "Restart Earthworm."
                )
            keyold += head.size + size
            self._keyold.value = keyold

    def _write(self, at: int, message: bytes) -> None:
        first = at % self.keymax
        last = first + len(message)
        if last <= self.keymax:
            self._data[first:last] = message
        else:
            split = self.keymax - first
            self._data[first:] = message[:split]
            self._data[: len(message) - split] = message[split:]
