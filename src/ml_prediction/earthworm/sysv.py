"""System V shared memory and semaphores, as far as a client of rings needs them.

By ctypes, on Linux with 64 bits: nothing to compile or install. Taking and releasing a semaphore
lasts 3.5 microseconds so, 1.7 through the extension module sysv_ipc; neither limits a put.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from ml_prediction.errors import ConfigurationError

IPC_CREAT: Final = 0o1000
IPC_EXCL: Final = 0o2000
IPC_RMID: Final = 0
IPC_STAT: Final = 2
SEM_SETVAL: Final = 16
SEM_GETVAL: Final = 12
SHM_RDONLY: Final = 0o10000
SEM_UNDO: Final = 0x1000

_SIZE_AT, _CHANGED_AT, _ATTACHED_AT = 48, 72, 88  # in struct shmid_ds
_SHMID_DS: Final = 256  # bytes; the real one has 112


class _Operation(ctypes.Structure):
    _fields_ = (("number", ctypes.c_ushort), ("change", ctypes.c_short), ("flags", ctypes.c_short))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


@cache
def library() -> ctypes.CDLL:
    """The C library, with the types of its calls.

    Raises
    ------
    ConfigurationError
        On a system of which the layout of the kernel's structures is not known.
    """
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise ConfigurationError("Earthworm's rings can be used on 64-bit Linux only.")
    library = ctypes.CDLL(None, use_errno=True)
    library.shmat.restype = ctypes.c_void_p
    library.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    library.shmdt.argtypes = [ctypes.c_void_p]
    library.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    library.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    library.semget.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.semctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    library.semtimedop.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ]
    return library


def checked(result: int) -> int:
    """The result of a call.

    Raises
    ------
    OSError
        If it failed; FileNotFoundError where there is no such segment or set.
    """
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@dataclass(frozen=True, slots=True)
class SegmentState:
    """What the system knows of a segment.

    Attributes
    ----------
    size
        Bytes.
    changed
        Epoch seconds of its making, or of the last change of its rights.
    attached
        Number of attachments.
    """

    size: int
    changed: int
    attached: int


def find_segment(key: int) -> int:
    """Identifier of the segment with a key, whatever its size.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is none, or not for us.
    """
    return checked(library().shmget(key, 0, 0))


def segment_state(identifier: int) -> SegmentState:
    """Look at a segment.

    Raises
    ------
    OSError
        If it is gone.
    """
    buffer = ctypes.create_string_buffer(_SHMID_DS)
    checked(library().shmctl(identifier, IPC_STAT, buffer))

    def word(at: int) -> int:
        return int.from_bytes(buffer.raw[at : at + 8], sys.byteorder)

    return SegmentState(word(_SIZE_AT), word(_CHANGED_AT), word(_ATTACHED_AT))


class Mapping:
    """A segment attached to this process, as bytes.

    Parameters
    ----------
    identifier
        From :func:`find_segment`.
    writable
        Whether to be allowed to write.

    Attributes
    ----------
    identifier, size
        Of the segment.
    bytes
        The whole segment: a memoryview of type B. It must not be used after :meth:`close`.
    """

    def __init__(self, identifier: int, *, writable: bool) -> None:
        self.identifier = identifier
        self.size = segment_state(identifier).size
        address = library().shmat(identifier, None, 0 if writable else SHM_RDONLY)
        if address is None or address == ctypes.c_void_p(-1).value:
            checked(-1)
        self._address: int | None = address
        array = (ctypes.c_ubyte * self.size).from_address(address)
        view = memoryview(array).cast("B")
        self.bytes = view if writable else view.toreadonly()

    def word(self, offset: int, kind: Any) -> Any:
        """A word of the segment, as a ctypes object: read and written by single instructions."""
        if self._address is None or not 0 <= offset <= self.size - ctypes.sizeof(kind):
            raise ValueError(f"no word at {offset}")
        return kind.from_address(self._address + offset)

    def close(self) -> None:
        """Detach. Words and bytes of the segment must not be touched afterwards."""
        if self._address is not None:
            library().shmdt(self._address)
            self._address = None


class Semaphore:
    """The first semaphore of a set, as a lock that the kernel releases if we die.

    Parameters
    ----------
    key
        Of the set.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is none, or not for us.
    """

    def __init__(self, key: int) -> None:
        self._timed = library().semtimedop
        self._identifier = checked(library().semget(key, 1, 0))
        self._down = _Operation(0, -1, SEM_UNDO)
        self._up = _Operation(0, 1, SEM_UNDO)
        self._at_down, self._at_up = ctypes.addressof(self._down), ctypes.addressof(self._up)

    def acquire(self, seconds: float) -> bool:
        """Take it, or wait; False if nobody let go of it in so many seconds.

        Raises
        ------
        OSError
            EIDRM or EINVAL if it was destroyed.
        """
        until = time.monotonic() + seconds
        wait = _Timespec(int(seconds), int(seconds % 1 * 1e9))
        while self._timed(self._identifier, self._at_down, 1, ctypes.byref(wait)):
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return False
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
            left = max(0.0, until - time.monotonic())
            wait.seconds, wait.nanoseconds = int(left), int(left % 1 * 1e9)
        return True

    def release(self) -> None:
        """Let go of it. That it has been destroyed since is no error."""
        while self._timed(self._identifier, self._at_up, 1, None):
            if ctypes.get_errno() != errno.EINTR:
                return
