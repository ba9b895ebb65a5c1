"""PICK_SCNL and PICK2K: a pick as a line of text.

Neither has a field for the phase: readers take picks on vertical components for P and decide on
the others by travel times. A phase behind the amplitudes is read by newer programs, and ignored
by the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ml_prediction.earthworm.messages.errors import (
    MessageError,
    checked_integer,
    is_code,
    read_integer,
    shown,
)
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

FIRST_MOTIONS: Final = ("U", "D", "?")
"""Up, down, not known."""
PHASES: Final = ("P", "S")
LARGEST_WEIGHT: Final = 4
"""Of the worst picks; the best have 0."""

_BYTE = 255
_INT32 = 2**31 - 1
_INT64 = 2**63 - 1
_PICK2K_AMPLITUDE = 99_999_999
_PICK2K_SEQUENCES = 10_000
_PICK2K_BYTES = 71  # the line end may be missing
_PICK2K_BLANKS = (9, 14, 25)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_TIME = re.compile(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})\.([0-9]+)")

_SCNL_LIMITS = {"station": 6, "channel": 3, "network": 8, "location": 2}  # in their order
_PICK2K_LIMITS = {"station": 5, "network": 2, "channel": 3}


@dataclass(frozen=True, slots=True)
class PickScnl:
    """A pick of PICK_SCNL.

    Attributes
    ----------
    type, module, installation
        Logo of the message, 0 to 255 each.
    sequence
        Number of the pick among its module's, 32 bits with sign.
    nslc
        Channel; the location ``--`` is the empty one.
    first_motion
        ``U``, ``D`` or ``?``.
    weight
        0 (best) to 4.
    time_ns
        Nanoseconds since 1970 (UTC); the message has milliseconds.
    amplitudes
        Extrema of the first three half-cycles, absolute counts; 0 where not known.
    phase
        ``P``, ``S`` or None. An extension: stock programs ignore it.
    """

    type: int
    module: int
    installation: int
    sequence: int
    nslc: NSLC
    first_motion: str
    weight: int
    time_ns: int
    amplitudes: tuple[int, int, int]
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class Pick2k:
    """A pick of PICK2K, which has neither location nor phase.

    Attributes
    ----------
    type, module, installation
        Logo of the message, 0 to 255 each.
    sequence
        Number of the pick among its module's; the message has it modulo 10000.
    nslc
        Channel. Its location is not written, and empty when read.
    first_motion
        ``U``, ``D`` or ``?``.
    weight
        0 (best) to 4.
    time_ns
        Nanoseconds since 1970 (UTC); the message has hundredths of a second.
    amplitudes
        Extrema of the first three half-cycles, absolute counts; 0 where not known.
    """

    type: int
    module: int
    installation: int
    sequence: int
    nslc: NSLC
    first_motion: str
    weight: int
    time_ns: int
    amplitudes: tuple[int, int, int]


def encode_pick_scnl(pick: PickScnl) -> bytes:
    """Write a PICK_SCNL.

    Parameters
    ----------
    pick
        Its time is rounded to the millisecond; amplitudes beyond 32 bits are capped.

    Raises
    ------
    MessageError
        If a value is not what a stock program would read.
    """
    where = f"PICK_SCNL of {shown(str(pick.nslc))}:"
    logo = _logo(pick, where)
    sequence = checked_integer(pick.sequence, f"{where} sequence", -_INT32 - 1, _INT32)
    scnl = ".".join(_codes(pick.nslc, _SCNL_LIMITS, where))
    motion = _checked_motion(pick.first_motion, where) + str(_checked_weight(pick.weight, where))
    time = _write_time(pick.time_ns, 3, where)
    amplitudes = _amplitudes(pick.amplitudes, _INT32, where)
    if pick.phase not in (None, *PHASES):
        raise MessageError(f"{where} phase {shown(str(pick.phase))} is not P, S or None.")
    values = [*logo, sequence, scnl, motion, time, *amplitudes]
    if pick.phase is not None:
        values.append(pick.phase)
    return (" ".join(str(value) for value in values) + "\n").encode("ascii")


def decode_pick_scnl(payload: bytes) -> PickScnl:
    """Read a PICK_SCNL.

    Parameters
    ----------
    payload
        Message without transport header. An ``S`` or ``P`` behind the amplitudes is the phase;
        anything else there is ignored.

    Raises
    ------
    MessageError
        If a field is missing or is not what it should be.
    """
    tokens = payload.partition(b"\0")[0].partition(b"\n")[0].split()
    if len(tokens) < 10:
        raise MessageError(
            f"PICK_SCNL: {shown(payload)} has {len(tokens)} words, fewer than the 10 of a pick."
        )
    where = "PICK_SCNL:"
    logo = _read_logo(tokens[0], tokens[1], tokens[2], where)
    sequence = read_integer(tokens[3], f"{where} sequence", -_INT32 - 1, 2**32 - 1)
    codes = tokens[4].split(b".")
    if len(codes) != len(_SCNL_LIMITS):
        raise MessageError(f"{where} {shown(tokens[4])} is not STATION.CHANNEL.NETWORK.LOCATION.")
    nslc = _read_codes(codes, _SCNL_LIMITS, where)
    where = f"PICK_SCNL of {nslc}:"
    if len(tokens[5]) != 2:
        raise MessageError(
            f"{where} {shown(tokens[5])} is not a letter for the first motion and a weight."
        )
    motion = _checked_motion(tokens[5][:1].decode("latin-1"), where)
    weight = read_integer(tokens[5][1:], f"{where} weight", 0, LARGEST_WEIGHT)
    time_ns = _read_time(tokens[6], 3, where)
    amplitudes = _read_amplitudes(tokens[7], tokens[8], tokens[9], where)
    phase = tokens[10].decode("latin-1") if len(tokens) > 10 else None
    return PickScnl(
        *logo,
        sequence if sequence <= _INT32 else sequence - 2**32,
        nslc,
        motion,
        weight,
        time_ns,
        amplitudes,
        phase if phase in PHASES else None,
    )


def encode_pick2k(pick: Pick2k) -> bytes:
    """Write a PICK2K of 72 bytes.

    Parameters
    ----------
    pick
        Its time is rounded to a hundredth of a second, amplitudes are capped at 99999999, and
        the sequence is taken modulo 10000.

    Raises
    ------
    MessageError
        If a value has no room in its columns, or is not what a stock program would read.
    """
    where = f"PICK2K of {shown(str(pick.nslc))}:"
    kind, module, installation = _logo(pick, where)
    sequence = checked_integer(pick.sequence, f"{where} sequence", -_INT64 - 1, _INT64)
    station, network, channel = _codes(pick.nslc, _PICK2K_LIMITS, where)
    motion = _checked_motion(pick.first_motion, where)
    weight = _checked_weight(pick.weight, where)
    time = _write_time(pick.time_ns, 2, where)
    one, two, three = _amplitudes(pick.amplitudes, _PICK2K_AMPLITUDE, where)
    return (
        f"{kind:3d}{module:3d}{installation:3d} {sequence % _PICK2K_SEQUENCES:4d} "
        f"{station:5}{network:2}{channel:3} {motion}{weight}  {time}{one:8d}{two:8d}{three:8d}\n"
    ).encode("ascii")


def decode_pick2k(payload: bytes) -> Pick2k:
    """Read a PICK2K by its columns, which may touch.

    Parameters
    ----------
    payload
        Message without transport header. A blank first motion is ``?``.

    Raises
    ------
    MessageError
        If its columns are shifted, or a field is not what it should be.
    """
    line = payload.partition(b"\0")[0]
    if len(line) < _PICK2K_BYTES or line[_PICK2K_BYTES:].strip():
        raise MessageError(
            f"PICK2K: {shown(payload)} has {len(line.rstrip())} characters, not {_PICK2K_BYTES}."
        )
    for column in _PICK2K_BLANKS:
        if line[column : column + 1] != b" ":
            raise MessageError(
                f"PICK2K: columns are shifted, or column {column} would be blank in "
                f"{shown(line[: column + 1])}."
            )
    where = "PICK2K:"
    logo = _read_logo(line[0:3], line[3:6], line[6:9], where)
    sequence = read_integer(line[10:14].strip(), f"{where} sequence", 0, _PICK2K_SEQUENCES - 1)
    codes = [line[15:20].rstrip(b" "), line[20:22].rstrip(b" "), line[22:25].rstrip(b" ")]
    nslc = _read_codes(codes, _PICK2K_LIMITS, where)
    where = f"PICK2K of {nslc}:"
    motion = _checked_motion(line[26:27].decode("latin-1").replace(" ", "?"), where)
    weight = read_integer(line[27:28], f"{where} weight", 0, LARGEST_WEIGHT)
    time_ns = _read_time(line[30:47], 2, where)
    amplitudes = _read_amplitudes(line[47:55], line[55:63], line[63:71], where)
    return Pick2k(*logo, sequence, nslc, motion, weight, time_ns, amplitudes)


def _logo(pick: PickScnl | Pick2k, where: str) -> tuple[int, int, int]:
    return (
        checked_integer(pick.type, f"{where} type", 0, _BYTE),
        checked_integer(pick.module, f"{where} module", 0, _BYTE),
        checked_integer(pick.installation, f"{where} installation", 0, _BYTE),
    )


def _read_logo(kind: bytes, module: bytes, installation: bytes, where: str) -> tuple[int, int, int]:
    return (
        read_integer(kind.strip(), f"{where} type", 0, _BYTE),
        read_integer(module.strip(), f"{where} module", 0, _BYTE),
        read_integer(installation.strip(), f"{where} installation", 0, _BYTE),
    )


def _codes(nslc: NSLC, limits: dict[str, int], where: str) -> list[str]:
    """Codes in the order of the message, checked."""
    codes = nslc._replace(location=nslc.location or "--")._asdict()
    for kind, most in limits.items():
        _check_code(codes[kind], kind, most, where)
    return [codes[kind] for kind in limits]


def _read_codes(codes: list[bytes], limits: dict[str, int], where: str) -> NSLC:
    found = {"location": ""}
    for code, (kind, most) in zip(codes, limits.items(), strict=True):
        found[kind] = code.decode("latin-1")
        _check_code(found[kind], kind, most, where)
    return NSLC.clean(**found)


def _check_code(code: str, kind: str, most: int, where: str) -> None:
    if not 0 < len(code) <= most:
        raise MessageError(f"{where} the {kind} code {shown(code)} has not 1 to {most} characters.")
    if not is_code(code) or "." in code:
        raise MessageError(
            f"{where} the {kind} code {shown(code)} has blanks, dots or characters that are not "
            "visible ASCII."
        )


def _checked_motion(motion: str, where: str) -> str:
    if motion not in FIRST_MOTIONS:
        raise MessageError(f"{where} first motion {shown(motion)} is not U, D or ?.")
    return motion


def _checked_weight(weight: int, where: str) -> int:
    return checked_integer(weight, f"{where} weight", 0, LARGEST_WEIGHT)


def _amplitudes(amplitudes: tuple[int, int, int], cap: int, where: str) -> list[int]:
    if len(amplitudes) != 3:
        raise MessageError(f"{where} {len(amplitudes)} amplitudes are not 3.")
    what = f"{where} amplitude"
    return [min(checked_integer(each, what, 0, _INT64), cap) for each in amplitudes]


def _read_amplitudes(one: bytes, two: bytes, three: bytes, where: str) -> tuple[int, int, int]:
    what = f"{where} amplitude"
    return (
        read_integer(one.strip(), what, -_INT64, _INT64),
        read_integer(two.strip(), what, -_INT64, _INT64),
        read_integer(three.strip(), what, -_INT64, _INT64),
    )


def _write_time(time_ns: int, decimals: int, where: str) -> str:
    """Time as ``yyyymmddhhmmss.fff``, rounded before it is cut up: seconds are never 60."""
    unit = NANOSECONDS // 10**decimals
    checked = checked_integer(time_ns, f"{where} time", -_INT64, _INT64)
    seconds, fraction = divmod((checked + unit // 2) // unit, 10**decimals)
    time = _EPOCH + timedelta(seconds=seconds)
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        raise MessageError(f"{where} {_time_error(str(time))}")
    return f"{time:%Y%m%d%H%M%S}.{fraction:0{decimals}d}"


def _read_time(text: bytes, decimals: int, where: str) -> int:
    """Nanoseconds of ``yyyymmddhhmmss.fff``; 60 seconds are the next minute."""
    found = _TIME.fullmatch(text)
    if found is None or len(found[7]) != decimals:
        raise MessageError(
            f"{where} time {shown(text)} is not yyyymmddhhmmss and {decimals} decimals."
        )
    year, month, day, hour, minute, second = (int(found[number]) for number in range(1, 7))
    try:
        time = datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        raise MessageError(f"{where} time {shown(text)} is not in any calendar.") from None
    if second > 60:
        raise MessageError(f"{where} time {shown(text)} has more than 60 seconds.")
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise MessageError(f"{where} {_time_error(str(time))}")
    time += timedelta(seconds=second)
    since = time - _EPOCH
    return (since.days * 86400 + since.seconds) * NANOSECONDS + int(found[7].ljust(9, b"0"))


def _time_error(time: str) -> str:
    return f"time {time} is not within the years {_FIRST_YEAR} to {_LAST_YEAR}."
