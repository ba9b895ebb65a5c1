"""MiniSEED records: checked, sorted, and cut to time spans, as they came wherever possible."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pymseed import MiniSEEDError, MS3Record, sample_time, sourceid2nslc

from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

TOLERANCE: Final = 0.75
"""Samples by which two records may be apart or overlap and still be contiguous."""

_SEQUENCE: Final = 6  # bytes of the number that miniSEED 2 begins with
_VERSION_2: Final = 2


@dataclass(frozen=True, slots=True)
class Contents:
    """What a piece of miniSEED of one channel holds."""

    records: int
    samples: int
    gaps: int
    start_ns: int
    end_ns: int
    rate: float


def check_records(body: bytes) -> None:
    """Make sure that a body is whole miniSEED records and nothing else.

    Raises
    ------
    DataError
        If it is empty, cut short, or no miniSEED.
    """
    if not body:
        raise DataError("the answer is empty")
    length = sum(record.reclen for record in _parsed(body))
    if length != len(body):
        raise DataError(f"miniSEED cut short: {len(body) - length} bytes too many or too few")


def by_channel(body: bytes) -> dict[NSLC, list[bytes]]:
    """Records of each channel, in their order."""
    channels: dict[NSLC, list[bytes]] = {}
    for record in _parsed(body):
        code = NSLC.clean(*sourceid2nslc(record.sourceid))
        channels.setdefault(code, []).append(bytes(record.record))
    return channels


def compose(records: Iterable[bytes], start_ns: int, end_ns: int) -> bytes:
    """Records of one channel in order of time, each once, with the samples of start <= t < end.

    A record that lies inside is kept byte for byte; one that sticks out is cut and packed again in
    its own encoding. The order in which they come does not matter.

    Parameters
    ----------
    records
        Whole records.
    start_ns, end_ns
        Nanoseconds since 1970.

    Raises
    ------
    DataError
        If a record can't be read.
    """
    kept: dict[tuple[int, int, bytes], bytes] = {}
    for raw in records:
        for record in _parsed(raw):
            # Servers number records anew: the same one may come under two numbers.
            unnumbered = _SEQUENCE if record.formatversion == _VERSION_2 else 0
            for first, last, piece in _inside(record, raw, start_ns, end_ns):
                key = (first, last, piece[unnumbered:])
                kept[key] = min(piece, kept.get(key, piece))
    return b"".join(kept[key] for key in sorted(kept))


def contents(body: bytes) -> Contents:
    """Counts of miniSEED of one channel that is sorted by time."""
    count = samples = gaps = 0
    first: int | None = None
    last, rate = 0, 0.0
    for record in _parsed(body):
        count += 1
        first = record.starttime if first is None else first
        if record.samplecnt == 0 or record.samprate <= 0:
            continue
        if samples and record.starttime > last + (1 + TOLERANCE) * NANOSECONDS / record.samprate:
            gaps += 1
        samples += record.samplecnt
        last, rate = max(last, record.endtime), record.samprate
    return Contents(count, samples, gaps, first or 0, last, rate)


def spans(body: bytes) -> list[tuple[int, int, float]]:
    """Start, end (ns since 1970) and rate (Hz) of each record that has samples."""
    return [
        (record.starttime, record.endtime, record.samprate)
        for record in _parsed(body)
        if record.samplecnt and record.samprate > 0
    ]


def _inside(
    record: Any, raw: bytes, start_ns: int, end_ns: int
) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and bytes of the record, or of new ones of what is left of it."""
    first, last, rate = record.starttime, record.endtime, record.samprate
    if last < start_ns or first >= end_ns:
        return
    if (first >= start_ns and last < end_ns) or record.samplecnt < 2 or rate <= 0:
        if first >= start_ns:
            yield first, last, raw
        return
    begin, end = _index(first, rate, start_ns), _index(first, rate, end_ns)
    begin, end = max(begin, 0), min(end, record.samplecnt)
    if begin >= end:
        return
    try:
        record.unpack_data()
        if record.formatversion == _VERSION_2:
            record.set_extra_header("/FDSN/Sequence", int(raw[:_SEQUENCE] or b"1"))
        record.starttime = sample_time(first, begin, rate)
        for new in record.generate(record.datasamples[begin:end], record.sampletype):
            for cut in _parsed(new):
                yield cut.starttime, cut.endtime, new
    except (MiniSEEDError, ValueError) as error:
        raise DataError(
            f"a record of {record.sourceid} from {record.starttime_str()} can't be cut: {error}"
        ) from error


def _index(first_ns: int, rate: float, time_ns: int) -> int:
    """Index of the first sample that is not earlier than a time."""
    index = math.ceil((time_ns - first_ns) * rate / NANOSECONDS)
    while index > 0 and sample_time(first_ns, index - 1, rate) >= time_ns:
        index -= 1  # what rounding has moved
    while index >= 0 and sample_time(first_ns, index, rate) < time_ns:
        index += 1
    return index


def _parsed(body: bytes) -> Iterator[Any]:
    try:
        yield from MS3Record.from_buffer(body)
    except MiniSEEDError as error:
        raise DataError(f"no whole miniSEED: {error}") from error
