"""Whether Earthworm wants this process to end."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Final

from ml_prediction.earthworm.layout import (
    FLAG_RING_PIDS,
    LAYOUT_32,
    LAYOUT_64,
    TERMINATE,
    Layout,
)
from ml_prediction.earthworm.ring import Ring
from ml_prediction.earthworm.sysv import Mapping, find_segment

DEFAULT_FLAG_RING_KEY: Final = 9999
"""Where the tables name none."""


def told_to_end(rings: Iterable[Ring], flag_key: int, pid: int, *, everybody: bool = True) -> bool:
    """Whether the flag ring, or the flag of a ring that we are attached to, names this process.

    A process that has not registered, as ours, is flagged in the rings; the flag ring says when
    everybody is meant. A process id that was there when we attached was another's.

    Parameters
    ----------
    rings
        That this process is attached to.
    flag_key
        Key of FLAG_RING.
    pid
        Of this process.
    everybody
        Whether to heed the flag that is meant for everybody, when the whole system stops.
    """
    for ring in rings:
        flag = ring.flag
        if (flag == TERMINATE and everybody) or (flag == pid != ring.stale_flag):
            return True
    return _in_flag_ring(flag_key, pid, everybody)


def _in_flag_ring(key: int, pid: int, everybody: bool) -> bool:
    try:
        mapping = Mapping(find_segment(key), writable=False)
    except OSError:
        return False  # an older Earthworm has none
    try:
        layout = _layout(mapping.size)
        if layout is None:
            return False
        count = mapping.word(layout.doomed, ctypes.c_int32).value
        first = mapping.word(layout.pids, ctypes.c_int32).value
        if count > 0 and first == TERMINATE and everybody:
            return True
        places = ctypes.c_int32 * FLAG_RING_PIDS
        doomed = list(mapping.word(layout.pids, places))[: max(0, min(count, FLAG_RING_PIDS))]
        return pid in doomed
    finally:
        mapping.close()


def _layout(size: int) -> Layout | None:
    for layout in (LAYOUT_64, LAYOUT_32):
        if size == layout.pids + 4 * FLAG_RING_PIDS + (4 if layout.bits == 64 else 0):
            return layout
    return None
