"""Short texts between modules: heartbeats, errors, and requests to stop or restart a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ml_prediction.earthworm.messages.errors import (
    MessageError,
    checked_integer,
    read_integer,
    shown,
)

LONGEST_ERROR: Final = 511
"""Bytes of the longest ERROR that statmgr reads."""

_LATEST = 2**63 - 1  # what a C program holds a time in
_HIGHEST_PID = 2**31 - 1
_HIGHEST_NUMBER, _HIGHEST_READ = 9999, 99999  # from 10000 on, numbers belong to the transport


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sign of life.

    Attributes
    ----------
    time
        Seconds since 1970 (UTC).
    pid
        Process to restart when the heart stops; None where it is not said.
    """

    time: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class StatusError:
    """Something that a person should know.

    Attributes
    ----------
    time
        Seconds since 1970 (UTC).
    number
        Which of the module's own errors it is, 0 to 9999; from 10000 on, those of all modules.
    text
        What happened; may be empty.
    """

    time: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Request that the process ``pid`` ends."""

    pid: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Request that the process ``pid`` ends and its command is started again."""

    pid: int


def encode_heartbeat(beat: Heartbeat) -> bytes:
    """Write a HEARTBEAT.

    Raises
    ------
    MessageError
        If time or process id is negative or too large.
    """
    time = checked_integer(beat.time, "HEARTBEAT: time", 0, _LATEST)
    if beat.pid is None:
        return b"%d\n" % time
    return b"%d %d\n" % (time, checked_integer(beat.pid, "HEARTBEAT: pid", 0, _HIGHEST_PID))


def decode_heartbeat(payload: bytes) -> Heartbeat:
    """Read a HEARTBEAT.

    Raises
    ------
    MessageError
        If it is not a time, or a time and a process id.
    """
    tokens = _text(payload).split()
    if not 1 <= len(tokens) <= 2:
        raise MessageError(f"HEARTBEAT: {shown(payload)} is not a time and a pid.")
    time = read_integer(tokens[0], "HEARTBEAT: time", 0, _LATEST)
    if len(tokens) == 1:
        return Heartbeat(time, None)
    return Heartbeat(time, read_integer(tokens[1], "HEARTBEAT: pid", 0, _HIGHEST_PID))


def encode_error(error: StatusError) -> bytes:
    """Write an ERROR of at most 511 bytes.

    The text is cut to what fits. Line ends and other control characters become blanks, and what
    is not ASCII is escaped.

    Raises
    ------
    MessageError
        If the time is negative or too large, or the number not 0 to 9999.
    """
    time = checked_integer(error.time, "ERROR: time", 0, _LATEST)
    number = checked_integer(error.number, "ERROR: number", 0, _HIGHEST_NUMBER)
    text = _printable(error.text.encode("ascii", "backslashreplace").decode("ascii"))
    line = f"{time} {number} {text}"[: LONGEST_ERROR - 1]
    return line.rstrip().encode("ascii") + b"\n"


def decode_error(payload: bytes) -> StatusError:
    """Read an ERROR; a text that is not printable ASCII is made so.

    Raises
    ------
    MessageError
        If it does not begin with a time and a number of 0 to 99999.
    """
    tokens = _text(payload).split(None, 2)
    if len(tokens) < 2:
        raise MessageError(f"ERROR: {shown(payload)} is not a time, a number and a text.")
    time = read_integer(tokens[0], "ERROR: time", 0, _LATEST)
    number = read_integer(tokens[1], "ERROR: number", 0, _HIGHEST_READ)
    text = tokens[2].decode("ascii", "backslashreplace") if len(tokens) == 3 else ""
    return StatusError(time, number, _printable(text))


def encode_stop(stop: Stop) -> bytes:
    """Write a STOP.

    Raises
    ------
    MessageError
        If the process id is not positive or too large.
    """
    return _encode_pid(stop.pid, "STOP")


def decode_stop(payload: bytes) -> Stop:
    """Read a STOP.

    Raises
    ------
    MessageError
        If it is not the id of a process.
    """
    return Stop(_decode_pid(payload, "STOP"))


def encode_restart(restart: Restart) -> bytes:
    """Write a RESTART.

    Raises
    ------
    MessageError
        If the process id is not positive or too large.
    """
    return _encode_pid(restart.pid, "RESTART")


def decode_restart(payload: bytes) -> Restart:
    """Read a RESTART.

    Raises
    ------
    MessageError
        If it is not the id of a process.
    """
    return Restart(_decode_pid(payload, "RESTART"))


def _encode_pid(pid: int, message: str) -> bytes:
    return b"%d\n" % checked_integer(pid, f"{message}: pid", 1, _HIGHEST_PID)


def _decode_pid(payload: bytes, message: str) -> int:
    return read_integer(_text(payload).strip(), f"{message}: pid", 1, _HIGHEST_PID)


def _text(payload: bytes) -> bytes:
    """The part before a NUL: C programs read no further, and some send one."""
    return payload.partition(b"\0")[0]


def _printable(text: str) -> str:
    """ASCII text with blanks for control characters, and none at its ends."""
    return "".join(each if " " <= each <= "~" else " " for each in text).strip()
