"""Messages of a ring in order, in batches, with an account of what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from ml_prediction.earthworm.layout import START
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.ring import Ring

MOST_BYTES: Final = 4 << 20
"""Of a ring that are copied at once."""


class Message(NamedTuple):
    """One message of a ring.

    Attributes
    ----------
    logo, sequence
        What it is, who sent it, and its number there, 0 to 255.
    payload
        Contents.
    """

    logo: Logo
    sequence: int
    payload: bytes


LOOKS: Final = 10
"""At a ring of 32 bits whose counters begin anew again and again: then they are broken."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Messages of one logo that were not seen.

    Attributes
    ----------
    logo
        Whose.
    missing
        How many at least: numbers are known modulo 256.
    reason
        ``lapped``: we were too slow, and they were overwritten. ``gap``: their sender, or a link
        before this ring, left them out, or it was started anew.
    """

    logo: Logo
    missing: int
    reason: Literal["lapped", "gap"]


@dataclass(slots=True)
class Batch:
    """What was in a ring.

    Attributes
    ----------
    messages
        In the ring's order.
    losses
        What is known to be missing before or among them.
    lapped
        Whether the ring had overwritten what was to come next.
    broken
        Whether there was no message where one should be. All that was in the ring then is left
        out.
    """

    messages: list[Message] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    lapped: bool = False
    broken: bool = False


def messages_now(ring: Ring, wanted: Iterable[Logo] = (EVERYTHING,)) -> Iterator[Message]:
    """Messages that are in a ring now, in its order."""
    reader = RingReader(ring, wanted)
    end = ring.keyin
    while reader.position < end:
        before = reader.position
        yield from reader.read(end - before).messages
        if reader.position == before:
            return
        if reader.position < before:  # counters of 32 bits began anew: the end is elsewhere
            end = ring.keyin


class RingReader:
    """Reads one ring. It takes no lock, and no writer waits for it.

    Parameters
    ----------
    ring
        Attached.
    wanted
        Which messages; 0 in a logo stands for any.
    position
        Where to begin, as an earlier reader's `position`; None for the oldest message there is.
        If it is not in the ring any more, the oldest one.

    Attributes
    ----------
    ring
        Where it reads.
    position
        Count of bytes up to which all has been read.
    """

    def __init__(
        self, ring: Ring, wanted: Iterable[Logo] = (EVERYTHING,), position: int | None = None
    ) -> None:
        self.ring = ring
        self.position = ring.keyold if position is None else position
        self._wanted = tuple(wanted)
        self._logos: dict[tuple[int, int, int], Logo | None] = {}
        self._expected: dict[Logo, int] = {}
        self._lapped: set[Logo] = set()  # those not seen since the ring lapped us

    def skip_to_end(self) -> None:
        """Leave out everything that is there now."""
        self.position = self.ring.keyin
        self._expected.clear()
        self._lapped.clear()

    def read(self, most: int = MOST_BYTES) -> Batch:
        """Everything new, or the next so many bytes of it.

        Parameters
        ----------
        most
            Bytes to copy at once; a message that is longer comes all the same.
        """
        batch = Batch()
        for _ in range(LOOKS):
            if self._read(most, batch):
                return batch
        batch.broken = True  # counters that make no sense
        self.position = self.ring.keyin
        return batch

    def _read(self, most: int, batch: Batch) -> bool:
        """One look; False if the counters began anew in the midst of it."""
        ring = self.ring
        keyin = ring.keyin
        self._find_place(keyin, batch)
        if self.position == keyin:
            return True
        head = ring.layout.message
        stop = min(keyin, self.position + max(most, head.size))
        data = ring.copy(self.position, stop)
        if stop < keyin:  # do not cut a message that is longer than all this
            size = head.unpack_from(data)[1]
            if not 0 <= size <= ring.keymax - head.size:
                size = 0
            stop = max(stop, min(keyin, self.position + head.size + size))
            data = ring.copy(self.position, stop)
        base = self.position
        oldest = ring.keyold
        if keyin - oldest > ring.keymax:  # 32-bit counters began anew meanwhile
            return False
        if oldest > base:  # overwritten while it was copied
            self._note_lap(batch)
            if oldest >= stop:
                self.position = oldest
                return True
            self.position = oldest
        self._parse(data, base, self.position - base, batch)
        if stop == keyin and self.position < keyin and not batch.broken:  # no whole message
            batch.broken = True
            self.position = ring.keyin
        return True

    def _find_place(self, keyin: int, batch: Batch) -> None:
        """See that the position is that of a message in the ring."""
        ring = self.ring
        oldest = ring.keyold
        if self.position > keyin:  # the counters have begun anew
            place = self.position % ring.keymax
            place += ring.keymax if place < oldest else 0
            known = oldest <= place <= keyin and (
                place == keyin or ring.copy(place, place + 1)[0] == START
            )
            if not known:
                self._note_lap(batch)
            self.position = place if known else oldest
        elif self.position < oldest:
            self._note_lap(batch)
            self.position = oldest

    def _note_lap(self, batch: Batch) -> None:
        batch.lapped = True
        self._lapped.update(self._expected)

    def _parse(self, data: bytes, base: int, offset: int, batch: Batch) -> None:
        """Messages that are whole in a copy of the ring."""
        unpack, width = self.ring.layout.message.unpack_from, self.ring.layout.message.size
        logos, messages, expected = self._logos, batch.messages, self._expected
        end = len(data)
        last = end - width
        while offset <= last:
            start, size, kind, module, installation, sequence = unpack(data, offset)
            stop = offset + width + size
            if start != START or size < 0 or size > self.ring.keymax:
                batch.broken = True
                self.position = self.ring.keyin
                return
            if stop > end:
                break
            key = (kind, module, installation)
            try:
                logo = logos[key]
            except KeyError:
                logo = Logo(*key)
                logos[key] = logo = logo if logo.matches_any(self._wanted) else None
            if logo is not None:
                if expected.get(logo, sequence) != sequence:
                    batch.losses.append(self._loss(logo, sequence))
                if self._lapped:
                    self._lapped.discard(logo)
                expected[logo] = (sequence + 1) % 256
                messages.append(Message(logo, sequence, data[offset + width : stop]))
            offset = stop
        self.position = base + offset

    def _loss(self, logo: Logo, sequence: int) -> Loss:
        missing = (sequence - self._expected[logo]) % 256
        return Loss(logo, missing, "lapped" if logo in self._lapped else "gap")
