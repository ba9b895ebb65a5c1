"""Rings by hand: laid out with struct from the tables of their format, kept by a plain model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from struct import Struct
from types import TracebackType
from typing import Final

from ring_keeper import KeptRing, destroy_key

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    SEM_SETVAL,
    Mapping,
    checked,
    library,
)

NEW: Final = 0o666 | IPC_CREAT | IPC_EXCL


class Segment:
    """Shared memory of any size, filled with zeros, and a lock that nobody holds."""

    def __init__(self, key: int, size: int, *, lock: bool = True, rights: int = 0o666) -> None:
        flags = rights | IPC_CREAT | IPC_EXCL
        self.key = key
        self.name = RingName("HAND_RING", key)
        self.identifier = checked(library().shmget(key, size, flags))
        self._mapping = Mapping(self.identifier, writable=True)
        self.bytes = self._mapping.bytes
        semaphores = checked(library().semget(key, 1, flags)) if lock else -1
        library().semctl(semaphores, 0, SEM_SETVAL, 1)
        self.kept = KeptRing(key, self.identifier, semaphores)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._mapping.close()
        destroy_key(self.key)


@dataclass(frozen=True)
class Form:
    """How an Earthworm lays out its memory."""

    bits: int
    head: Struct  # nbytes, keymax, keyin, keyold, flag
    message: Struct  # start byte, size, type, module, installation, sequence number
    flag_ring: Struct  # after the head: number to end, number of all, their ids


FORMS: Final = {
    64: Form(64, Struct("<qQQQi4x"), Struct("<B7xq4B4x"), Struct("<2i255i4x")),
    32: Form(32, Struct("<iIIIi"), Struct("<B3xi4B"), Struct("<2i255i")),
}


@dataclass
class Put:
    """A message of the model."""

    start: int
    logo: Logo
    sequence: int
    payload: bytes


@dataclass
class HandRing:
    """What the memory of a ring must be after some puts: byte by byte, and no cleverness."""

    bits: int
    keymax: int
    keyin: int
    keyold: int = -1
    flag: int = 0
    messages: deque[Put] = field(default_factory=deque)
    segment: Segment | None = None

    def __post_init__(self) -> None:
        self.form = FORMS[self.bits]
        self.keyold = self.keyin
        self.data = bytearray(self.keymax)
        self.sequences: dict[Logo, int] = {}

    @property
    def size(self) -> int:
        """Of the segment."""
        return self.form.head.size + self.keymax

    @property
    def image(self) -> bytes:
        """The whole segment."""
        head = self.form.head
        return head.pack(self.size, self.keymax, self.keyin, self.keyold, self.flag) + self.data

    def lie_in(self, segment: Segment) -> HandRing:
        """Keep this ring in shared memory from now on."""
        self.segment = segment
        self.store()
        return self

    def store(self) -> None:
        """Bring the shared memory up to date."""
        if self.segment is not None:
            self.segment.bytes[:] = self.image

    def length(self, payload: bytes) -> int:
        """Of a message, with its header."""
        return self.form.message.size + len(payload)

    def put(self, logo: Logo, payload: bytes, sequence: int | None = None) -> None:
        """Put a message as the format says; sequence numbers go on by themselves."""
        if sequence is None:
            sequence = self.sequences.get(logo, 0)
        self.sequences[logo] = (sequence + 1) % 256
        length = self.length(payload)
        if self.bits == 32 and (self.keyin + length) % 2**32 < self.keyold:
            shift = self.keyold - self.keyold % self.keymax
            self.keyold -= shift
            self.keyin %= self.keymax
            if self.keyin <= self.keyold:
                self.keyin += self.keymax
            for message in self.messages:
                message.start -= shift
        while self.keyin + length - self.keyold > self.keymax:
            self.keyold += self.length(self.messages.popleft().payload)
        for index, byte in enumerate(
            self.form.message.pack(111, len(payload), *logo, sequence) + payload
        ):
            self.data[(self.keyin + index) % self.keymax] = byte
        self.messages.append(Put(self.keyin, logo, sequence, payload))
        self.keyin += length
        self.store()
