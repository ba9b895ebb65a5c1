"""Tank files: waveform messages one behind the other, with nothing between them.

A packet's own header says how long it is, in the byte order that its data type has; both orders
may be mixed in one file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from ml_prediction.earthworm.messages import TraceBuf, decode_tracebuf, decode_tracebuf2
from ml_prediction.earthworm.messages.tracebuf import HEADER_BYTES, LARGEST_BYTES
from ml_prediction.errors import DataError

CHUNK_BYTES: Final = 1 << 20
"""Read at a time."""

LOOKED_AT: Final = 1 << 20
"""Bytes at the beginning of a file in which it must be seen that it is a tank."""

_AT_HAND: Final = 2 * LARGEST_BYTES + HEADER_BYTES  # a packet, and what must follow it

_EARLIEST, _LATEST = -2_208_988_800.0, 7_258_118_400.0  # seconds: the years 1900 and 2200
_HEAD: Final = {"<": Struct("<4xiddd"), ">": Struct(">4xiddd")}
_TIMES: Final = {"<": Struct("<dd"), ">": Struct(">dd")}
_TIMES_AT: Final = 8
_KIND_AT: Final = 57
_KIND: Final = re.compile(rb"(?:[is][24]|[ft][48])\0")


class Head(NamedTuple):
    """What the header of a packet says.

    Attributes
    ----------
    start, end
        Times of the first and of the last sample, seconds since 1970 (UTC).
    rate
        In Hz.
    samples
        How many.
    length
        Bytes of the packet, its header included.
    """

    start: float
    end: float
    rate: float
    samples: int
    length: int


class Damage(NamedTuple):
    """Bytes of a tank that are no packet.

    Attributes
    ----------
    path
        The tank.
    offset, length
        Where, in bytes.
    cut
        Whether it is a packet at the end of the file that is not all there.
    """

    path: Path
    offset: int
    length: int
    cut: bool

    def __str__(self) -> str:
        where = f"{self.path}: {self.length} bytes at byte {self.offset}"
        return f"{where} are {'a packet cut short' if self.cut else 'no packet'}"


def head_of(data: bytes, at: int = 0) -> Head | None:
    """Header of the packet that begins at an offset; None where it makes no sense."""
    kind = data[at + _KIND_AT : at + _KIND_AT + 3]
    if len(data) - at < HEADER_BYTES or not _KIND.fullmatch(kind):
        return None
    size = kind[1] - ord("0")
    count, start, end, rate = _HEAD[_order(kind)].unpack_from(data, at)
    if not 0 < count <= (LARGEST_BYTES - HEADER_BYTES) // size or not 0 < rate < math.inf:
        return None
    if not (_EARLIEST <= start < _LATEST and _EARLIEST <= end < _LATEST):
        return None
    return Head(start, end, rate, count, HEADER_BYTES + count * size)


def is_tracebuf2(payload: bytes) -> bool:
    """Whether a packet is a TRACEBUF2, by the digits of its version; else it is a TRACEBUF."""
    return payload[55:57].isdigit()


def decode_packet(payload: bytes) -> TraceBuf:
    """Read a packet of a tank.

    Raises
    ------
    MessageError
        As `decode_tracebuf2` does.
    """
    return decode_tracebuf2(payload) if is_tracebuf2(payload) else decode_tracebuf(payload)


def shifted(payload: bytes, seconds: int) -> bytes:
    """A packet with both its times moved by whole seconds."""
    if not seconds:
        return payload
    times = _TIMES[_order(payload[_KIND_AT:])]
    start, end = times.unpack_from(payload, _TIMES_AT)
    changed = bytearray(payload)
    times.pack_into(changed, _TIMES_AT, start + seconds, end + seconds)
    return bytes(changed)


def is_tank(path: Path) -> bool:
    """Whether a file begins with a packet that is all of it, or has two, one behind the other.

    These may stand anywhere in its first part: the first packets may be damaged.

    Raises
    ------
    OSError
        If it can't be read.
    """
    with path.open("rb") as handle:
        data = handle.read(LOOKED_AT)
    head = head_of(data)
    if head is not None and len(data) - head.length < HEADER_BYTES:
        return True
    at: int | None = 0
    while at is not None:
        head = head_of(data, at)
        if head is not None and head_of(data, at + head.length) is not None:
            return True
        at = _next_packet(data, at + 1)
    return False


def read_tank(path: Path, damaged: Callable[[Damage], None] | None = None) -> Iterator[bytes]:
    """Packets of a tank, in its order.

    Parameters
    ----------
    path
        File. Little of it is in memory at a time.
    damaged
        Told of each stretch that is no packet; reading goes on at the next packet, wherever it
        begins. None: such a stretch is an error.

    Raises
    ------
    DataError
        Where a header makes no sense, or the last packet is cut short, if nobody is told.
    OSError
        If the file can't be read.
    """
    asked = _AT_HAND + CHUNK_BYTES
    with path.open("rb") as handle:
        data, base, at, ended = b"", 0, 0, False
        lost = -1  # where the stretch began that is no packet
        while True:
            if not ended and len(data) - at < _AT_HAND:
                more = handle.read(asked)
                data, base, at, ended = data[at:] + more, base + at, 0, len(more) < asked
            left = len(data) - at
            head = head_of(data, at)
            if head is not None and head.length <= left and not _is_cut(data, at, head.length):
                if lost >= 0:
                    _tell(Damage(path, lost, base + at - lost, False), damaged)
                    lost = -1
                yield data[at : at + head.length]
                at += head.length
                continue
            if lost < 0 and left:
                lost = base + at
            found = _next_packet(data, at + 1)
            if found is not None:
                at = found
            elif not ended:  # keep what may be the beginning of a header
                at = max(at + 1, len(data) - HEADER_BYTES + 1)
            else:
                if lost >= 0:
                    cut = lost == base + at and (head is not None or left < HEADER_BYTES)
                    _tell(Damage(path, lost, base + len(data) - lost, cut), damaged)
                return


def _next_packet(data: bytes, start: int) -> int | None:
    """Offset of the next header that makes sense."""
    found = _KIND.search(data, start + _KIND_AT)
    while found:
        if head_of(data, found.start() - _KIND_AT) is not None:
            return found.start() - _KIND_AT
        found = _KIND.search(data, found.start() + 1)
    return None


def _is_cut(data: bytes, at: int, length: int) -> bool:
    """Whether the next packet begins inside this one: its recorder was killed and restarted."""
    end = at + length
    if end == len(data) or head_of(data, end) is not None:
        return False
    inside = _next_packet(data[at : end + HEADER_BYTES - 1], 1)
    head = None if inside is None else head_of(data, at + inside)
    if inside is None or head is None:
        return False
    after = at + inside + head.length  # samples may look like a header, but not so that this fits
    return after >= len(data) or head_of(data, after) is not None


def _tell(damage: Damage, damaged: Callable[[Damage], None] | None) -> None:
    if damaged is None:
        raise DataError(f"{damage}: fetch the file again, or record it anew.")
    damaged(damage)


def _order(kind: bytes) -> str:
    """Byte order that a data type stands for."""
    return "<" if kind[:1] in (b"i", b"f") else ">"
