"""Makes and destroys rings as Earthworm's startstop does: for tests and measurements only.

As a program it keeps rings until its standard input ends::

    python tools/ring_keeper.py 1000=1024 1005=512    # key=KB; one line "ready" when they are there
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

from ml_prediction.earthworm.layout import LAYOUT_64, Layout
from ml_prediction.earthworm.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_RMID,
    SEM_GETVAL,
    SEM_SETVAL,
    Mapping,
    checked,
    library,
)

RIGHTS: Final = 0o666


@dataclass(frozen=True, slots=True)
class KeptRing:
    """A ring that this process has made.

    Attributes
    ----------
    key
        Of the segment and the semaphore set.
    segment, semaphores
        Their identifiers.
    """

    key: int
    segment: int
    semaphores: int

    def lock_value(self) -> int:
        """Value of the writers' lock: 1 if nobody has it."""
        return checked(library().semctl(self.semaphores, 0, SEM_GETVAL, 0))

    def set_lock_value(self, value: int) -> None:
        """Set the lock: 0 is what a C writer leaves that was killed inside a put."""
        checked(library().semctl(self.semaphores, 0, SEM_SETVAL, value))

    def destroy(self, *, lock: bool = True) -> None:
        """Remove the ring; who is attached keeps the old memory."""
        library().shmctl(self.segment, IPC_RMID, None)
        if lock:
            library().semctl(self.semaphores, 0, IPC_RMID, 0)


def make_ring(key: int, kilobytes: int, layout: Layout = LAYOUT_64, counted: int = 0) -> KeptRing:
    """Make an empty ring.

    Parameters
    ----------
    key
        It must be free.
    kilobytes
        Size of the segment.
    layout
        Of which Earthworm.
    counted
        Bytes that have gone through it already, by its counters.

    Raises
    ------
    FileExistsError
        If there is a segment or a semaphore set of this key.
    """
    flags = RIGHTS | IPC_CREAT | IPC_EXCL
    size = kilobytes * 1024
    segment = checked(library().shmget(key, size, flags))
    semaphores = library().semget(key, 1, flags)
    if semaphores == -1:
        library().shmctl(segment, IPC_RMID, None)
        checked(-1)
    ring = KeptRing(key, segment, semaphores)
    mapping = Mapping(segment, writable=True)
    for offset, value in (
        (layout.keymax, size - layout.data),
        (layout.keyin, counted),
        (layout.keyold, counted),
        (0, size),
    ):
        mapping.word(offset, layout.word).value = value
    mapping.word(layout.flag, ctypes.c_int32).value = 0
    mapping.close()
    ring.set_lock_value(1)
    return ring


def destroy_key(key: int) -> None:
    """Destroy the segment and the semaphores of a key, if there are any."""
    segment, semaphores = library().shmget(key, 0, 0), library().semget(key, 0, 0)
    if segment != -1:
        library().shmctl(segment, IPC_RMID, None)
    if semaphores != -1:
        library().semctl(semaphores, 0, IPC_RMID, 0)


def set_flag(ring: KeptRing, value: int, layout: Layout = LAYOUT_64) -> None:
    """Set the kill flag of a ring: a process id, or TERMINATE."""
    mapping = Mapping(ring.segment, writable=True)
    mapping.word(layout.flag, ctypes.c_int32).value = value
    mapping.close()


def main() -> None:
    """Keep the rings of the command line."""
    sizes = [argument.split("=") for argument in sys.argv[1:]]
    rings = [make_ring(int(key), int(kilobytes)) for key, kilobytes in sizes]
    try:
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        for ring in rings:
            ring.destroy()


if __name__ == "__main__":
    main()
