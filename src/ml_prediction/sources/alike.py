"""Headers of miniSEED 2 records that look like the one before, many at a time.

An archive is long rows of such records: same channel, rate, length and layout. libmseed parses the
first of a row; what can differ after it is a time and a number of samples, read here as the SEED
manual (2.4, chapter 8) has them: fixed section, blockette 1000 and perhaps blockette 1001.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_prediction.util.jit import compiled

Bytes = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]

_HEADER: Final = 64  # bytes: fixed section, blockettes 1000 and 1001
_NO_TIME: Final = -(2**63)


class Alike(NamedTuple):
    """Consecutive records; ``starts_ns`` and ``counts`` (samples) have one value for each."""

    starts_ns: Times
    counts: Times


def records_alike(raw: Bytes, offset: int, length: int, start_ns: int, count: int) -> Alike:
    """The records from an offset on that look like the first one.

    Parameters
    ----------
    raw
        Bytes, shape (byte,).
    offset, length
        Place and length of the first record.
    start_ns, count
        Its time and samples by libmseed: what is read here has to agree.

    Returns
    -------
    Alike
        At least the first one.
    """
    found = _count(raw, offset, length) if length >= _HEADER else 0
    starts_ns, counts = np.empty(found, np.int64), np.empty(found, np.int64)
    _read(raw, offset, length, starts_ns, counts)
    if found and starts_ns[0] == start_ns and counts[0] == count:
        return Alike(starts_ns, counts)
    return Alike(np.array([start_ns]), np.array([count]))


@compiled("int64(Array(uint8, 1, 'C', readonly=True), int64)")
def _short(raw: Bytes, at: int) -> int:
    """Two bytes, the high one first."""
    return int(raw[at]) << 8 | int(raw[at + 1])


@compiled("int64(Array(uint8, 1, 'C', readonly=True), int64)")
def _start(raw: Bytes, at: int) -> int:
    """Time of a record's first sample in nanoseconds since 1970; _NO_TIME if it has none."""
    year, day = _short(raw, at + 20), _short(raw, at + 22)
    hour, minute, second = int(raw[at + 24]), int(raw[at + 25]), int(raw[at + 26])
    fraction = _short(raw, at + 28)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    usual = 1900 <= year <= 2100 and 1 <= day <= 365 + leap and fraction <= 9999
    if not usual or hour > 23 or minute > 59 or second > 60:
        return _NO_TIME
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 - 719_162 + day - 1
    units = (((days * 24 + hour) * 60 + minute) * 60 + second) * 10_000 + fraction
    correction = (_short(raw, at + 40) << 16) | _short(raw, at + 42)
    if correction >= 2**31:
        correction -= 2**32
    if not raw[at + 36] & 2:  # else it is in the time already
        units += correction
    time_ns = units * 100_000
    if raw[at + 39] == 2:
        micro = int(raw[at + 61])
        time_ns += (micro - 256 if micro > 127 else micro) * 1000
    return time_ns


@compiled("boolean(Array(uint8, 1, 'C', readonly=True), int64)")
def _is_usual(raw: Bytes, at: int) -> bool:
    """Whether a header has the usual blockettes and no others, and begins like one."""
    for i in range(6):
        if not (48 <= raw[at + i] <= 57 or raw[at + i] == 32):
            return False
    if raw[at + 6] not in (68, 77, 81, 82) or raw[at + 7] != 32:  # D, M, Q, R
        return False
    if _short(raw, at + 46) != 48 or _short(raw, at + 48) != 1000:
        return False
    if raw[at + 39] == 1:
        return _short(raw, at + 50) == 0
    last = _short(raw, at + 58) == 0
    return (
        raw[at + 39] == 2 and _short(raw, at + 50) == 56 and _short(raw, at + 56) == 1001 and last
    )


@compiled("int64(Array(uint8, 1, 'C', readonly=True), int64, int64)")
def _count(raw: Bytes, offset: int, length: int) -> int:
    """How many records are alike."""
    number = 0
    while offset + (number + 1) * length <= len(raw):
        at = offset + number * length
        if not _is_usual(raw, at):
            break
        for i in range(8, 55):  # codes, rate, places of blockettes and data, encoding, length
            own = 20 <= i < 32 or 36 <= i < 39 or 40 <= i < 44
            if not own and raw[at + i] != raw[offset + i]:
                return number
        if _short(raw, at + 30) == 0 or _start(raw, at) == _NO_TIME:
            break
        number += 1
    return number


@compiled("void(Array(uint8, 1, 'C', readonly=True), int64, int64, int64[::1], int64[::1])")
def _read(raw: Bytes, offset: int, length: int, starts_ns: Times, counts: Times) -> None:
    """Fill in times and samples of records alike."""
    for number in range(len(starts_ns)):
        at = offset + number * length
        starts_ns[number], counts[number] = _start(raw, at), _short(raw, at + 30)
