"""Where things lie in the shared memory of Earthworm 7.10, built for 64 or for 32 bits."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

START: Final = 111
"""First byte of every message in a ring."""

TERMINATE: Final = -999
"""Kill flag for everybody."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a ring and its messages, and of the flag ring.

    Attributes
    ----------
    bits
        64 or 32: of the Earthworm that made the ring.
    word
        Type of the four counters.
    keymax, keyin, keyold, flag
        Offsets of: usable bytes, bytes put so far, start of the oldest message, kill flag.
    data
        Offset of the first message, which is the size of the header.
    message
        Header of a message: start byte, size, type, module, installation, sequence number.
    doomed, users, pids
        In the flag ring, offsets of: number of processes that are to end, of processes, their
        ids.
    """

    bits: int
    word: Any
    keymax: int
    keyin: int
    keyold: int
    flag: int
    data: int
    message: Struct
    doomed: int
    users: int
    pids: int


LAYOUT_64: Final = Layout(
    64, ctypes.c_uint64, 8, 16, 24, 32, 40, Struct("<B7xq4B4x"), doomed=40, users=44, pids=48
)
LAYOUT_32: Final = Layout(
    32, ctypes.c_uint32, 4, 8, 12, 16, 20, Struct("<B3xi4B"), doomed=20, users=24, pids=28
)

FLAG_RING_PIDS: Final = 255
"""Places for process ids in the flag ring."""


def layout_of(head: bytes | memoryview, size: int) -> Layout | None:
    """Layout of a ring by the two sizes in its header; None if it is none.

    Parameters
    ----------
    head
        First 40 bytes of the segment.
    size
        Of the segment, in bytes, as the system says.
    """
    for layout in (LAYOUT_64, LAYOUT_32):
        width = ctypes.sizeof(layout.word)
        total = int.from_bytes(head[:width], "little")
        usable = int.from_bytes(head[layout.keymax : layout.keymax + width], "little")
        if size > layout.data and total == size and usable == size - layout.data:
            return layout
    return None
