"""A thread that drains a ring, whatever the main loop is doing."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ml_prediction.drivers.live.outlet import CHECK_SECONDS
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.reader import Loss, Message, RingReader
from ml_prediction.earthworm.ring import Incarnation, Ring, RingError, RingName

POLL_SECONDS: Final = 0.02
PORTION: Final = 256 << 10
"""Bytes of one delivery: few enough that the windows which they make find room in the queue."""

MOST_BYTES: Final = 256 << 20
"""Messages that wait for a main loop which doesn't take them; then the oldest are dropped."""

_OVERHEAD: Final = 200  # bytes of a message, besides its payload

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a ring has been read.

    Attributes
    ----------
    incarnation
        Of the ring.
    position
        Count of bytes.
    """

    incarnation: Incarnation
    position: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one look into the ring has found.

    Attributes
    ----------
    messages
        In the ring's order.
    place
        After them.
    seconds
        When, monotonic.
    losses, lapped, broken
        As in :class:`~ml_prediction.earthworm.reader.Batch`.
    dropped
        Messages before these that were dropped here.
    """

    messages: Sequence[Message]
    place: Place
    seconds: float
    losses: Sequence[Loss] = field(default=())
    lapped: bool = False
    broken: bool = False
    dropped: int = 0


class Inlet(threading.Thread):
    """Reads a ring by its name as fast as it fills, through its destructions and returns.

    Parameters
    ----------
    name
        The ring.
    wanted
        Logos.
    place
        Where an earlier process has stopped; None for the oldest message there is.

    Raises
    ------
    RingError
        If there is no such ring now.
    """

    def __init__(self, name: RingName, wanted: Sequence[Logo], place: Place | None) -> None:
        super().__init__(name="inlet", daemon=True)
        self.name_of_ring = name
        self._wanted = tuple(wanted)
        ring = Ring(name)
        same = place is not None and place.incarnation == ring.incarnation
        position = place.position if place is not None and same else None
        self._reader = RingReader(ring, self._wanted, position)
        self._lost_sight = False
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._forget()
        self._guard = threading.Lock()
        self._new = threading.Event()
        self._ending = threading.Event()
        self._empty: tuple[float, Place] | None = None

    @property
    def caught_up(self) -> tuple[float, Place] | None:
        """When, monotonic, nothing was left to read or to take, and where that was.

        None if it is not so, or has not been yet.
        """
        with self._guard:
            return None if self._waiting else self._empty

    @property
    def ring(self) -> Ring:
        """The ring that is being read; it may be closed."""
        return self._reader.ring

    @property
    def missing(self) -> bool:
        """Whether the ring was destroyed, and there is none in its place yet."""
        return self._lost_sight

    @property
    def waiting_bytes(self) -> int:
        """Memory of the messages that have not been taken."""
        return self._bytes

    def run(self) -> None:
        """Read until :meth:`end`."""
        checked = time.monotonic()
        while not self._ending.is_set():
            found = False if self._lost_sight else self._look()
            if not found and time.monotonic() - checked > CHECK_SECONDS:
                checked = time.monotonic()
                self._check()
            if not found:
                self._ending.wait(POLL_SECONDS)

    def end(self) -> None:
        """Stop reading; what was read can still be taken."""
        self._ending.set()
        if self.is_alive():
            self.join(1.0)

    def wait(self, seconds: float) -> None:
        """Wait for something to take, at most so long."""
        self._new.wait(seconds)

    def take(self) -> Delivery | None:
        """The oldest delivery, if there is one."""
        with self._guard:
            if not self._waiting:
                self._new.clear()
                return None
            delivery = self._waiting.popleft()
            self._bytes -= _size(delivery)
            if self._lost:
                delivery = replace(
                    delivery,
                    losses=(*self._losses, *delivery.losses),
                    lapped=delivery.lapped or self._lapped,
                    broken=delivery.broken or self._broken,
                    dropped=self._dropped,
                )
                self._forget()
            return delivery

    def _forget(self) -> None:
        self._lost = self._lapped = self._broken = False
        self._dropped = 0
        self._losses: list[Loss] = []

    def _look(self) -> bool:
        """Deliver what is new and wanted; False if nothing is new."""
        began, before = time.monotonic(), self._reader.position
        batch = self._reader.read(PORTION)
        if not (batch.messages or batch.losses or batch.lapped or batch.broken):
            moved = self._reader.position != before  # past what nobody wants
            with self._guard:
                self._empty = None if moved else (began, self._place)
            return moved
        place = self._place
        with self._guard:
            self._empty = None
            delivery = Delivery(
                batch.messages,
                place,
                time.monotonic(),
                batch.losses,
                batch.lapped,
                batch.broken,
            )
            self._waiting.append(delivery)
            self._bytes += _size(delivery)
            while self._bytes > MOST_BYTES and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._bytes -= _size(oldest)
                self._dropped += len(oldest.messages)
                self._losses += oldest.losses
                self._lapped |= oldest.lapped
                self._broken |= oldest.broken
                self._lost = True
            self._new.set()
        return True

    @property
    def _place(self) -> Place:
        return Place(self._reader.ring.incarnation, self._reader.position)

    def _check(self) -> None:
        """Attach to the ring that has taken the place of a destroyed one."""
        if not self._lost_sight:
            if self.ring.is_current():
                return
            while self._reader.position != self.ring.keyin:  # nobody puts anything there any more
                self._look()
            _log.warning("ring %s was destroyed; waiting for it to come back", self.name_of_ring)
            self.ring.close()
            self._lost_sight = True
        try:
            ring = Ring(self.name_of_ring)
        except RingError:
            return
        self._reader = RingReader(ring, self._wanted)
        self._lost_sight = False
        _log.info("attached to ring %s", self.name_of_ring)


def _size(delivery: Delivery) -> int:
    return sum(len(message.payload) + _OVERHEAD for message in delivery.messages)
