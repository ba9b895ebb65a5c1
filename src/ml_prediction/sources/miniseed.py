"""miniSEED 2 and 3: records found robustly, and decoded fast.

The format is that of the FDSN (SEED manual 2.4, appendix G; miniSEED 3, 2023); libmseed parses
and decodes it, through pymseed. This module adds what real archives need: a damaged stretch
costs only itself.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pymseed import MiniSEEDError, MS3Record
from pymseed.clib import clibmseed

from ml_prediction.core.packets import runs
from ml_prediction.sources import libmseed
from ml_prediction.sources.alike import Bytes, Times, records_alike
from ml_prediction.sources.problems import Report
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

CHUNK_BYTES: Final = 1 << 24
"""Read at a time while scanning; a record has at most 10 MiB."""

BLOCK_BYTES: Final = 1 << 15
"""Decoded at a time. Small, so that a file that holds one channel after another, read in time
order, keeps little of each channel in memory."""

_RECORD_START: Final = re.compile(
    # Sequence number, quality, blank, codes, year and day (4 bytes), hour, minute, second.
    rb"[0-9 \x00]{6}[DRQM][ \x00][ -~\x00]{12}.{4}[\x00-\x17][\x00-\x3b][\x00-\x3c]"
    # miniSEED 3: signature, flags, nanosecond, year, day, hour, minute, second.
    rb"|MS\x03.{9}[\x00-\x17][\x00-\x3b][\x00-\x3c]",
    re.DOTALL,
)
_CONTROL_HEADER: Final = re.compile(rb"[0-9]{6}[VAST][ *]")
_HEAD_BYTES: Final = 48
_LATEST: Final = 2**63 - 1
_LONGEST: Final = 2.0**62
"""Nanoseconds, 146 years: what an absurdly low rate says is cut here, where it still has room."""
_FULLER: Final = 1.5
"""Records of a loud time may hold so many times fewer samples than those before it."""
_ADVICE: Final = {
    "zero-length record": "It holds no samples: fetch the file again, if it should.",
    "text record": "It holds a log, no samples: choose other channels with --channels.",
    "unsupported rate": "Mend the header, or choose other channels with --channels.",
}


class Header(NamedTuple):
    """Header of one record; ``offset`` and ``length`` are in bytes, ``rate`` in Hz."""

    nslc: NSLC
    start_ns: int
    rate: float
    samples: int
    text: bool
    offset: int
    length: int

    @property
    def end_ns(self) -> int:
        """Time of the last sample in nanoseconds."""
        return self.start_ns + round((self.samples - 1) * NANOSECONDS / self.rate)


class Row(NamedTuple):
    """Consecutive records of a file that look alike.

    Attributes
    ----------
    first
        Header of the first one.
    starts_ns, counts
        Time of the first sample, and number of samples, of each record.
    """

    first: Header
    starts_ns: Times
    counts: Times

    @property
    def ends_ns(self) -> Times:
        """Time of the last sample of each record."""
        return np.asarray(self.starts_ns + durations_ns(self.counts - 1, self.first.rate))

    def part(self, start: int, stop: int) -> Row:
        """Some of the records."""
        starts_ns, counts = self.starts_ns[start:stop], self.counts[start:stop]
        first = self.first._replace(
            start_ns=int(starts_ns[0]),
            samples=int(counts[0]),
            offset=self.first.offset + start * self.first.length,
        )
        return Row(first, starts_ns, counts)


class Block(NamedTuple):
    """Consecutive wanted records of a file; ``start_ns`` is their earliest time."""

    start_ns: int
    offset: int
    length: int


def durations_ns(samples: Times, rate: float) -> Times:
    """How long so many samples take."""
    lengths = np.rint(np.minimum(samples * NANOSECONDS / rate, _LONGEST))
    return np.asarray(lengths, dtype=np.int64)


def starts_with_record(head: bytes) -> bool:
    """Whether a file's first bytes look like miniSEED or a full SEED volume."""
    return bool(_RECORD_START.match(head) or _CONTROL_HEADER.match(head))


def contains_record(path: Path) -> bool:
    """Whether there is a readable record anywhere in the first 16 MiB."""
    with path.open("rb") as handle:
        buffer = handle.read(CHUNK_BYTES)
    return _next_record(buffer, 0, final=True) is not None


def rows(path: Path, report: Report, *, chunk: int = CHUNK_BYTES) -> Iterator[Row]:
    """Headers of all records of a file, in file order.

    Parameters
    ----------
    path
        File.
    report
        Told of every corrupt stretch, with its byte offset; scanning goes on at the next
        record, wherever it begins.
    chunk
        Bytes held in memory.
    """
    size = path.stat().st_size
    position = 0
    with path.open("rb") as handle:
        while position < size:
            handle.seek(position)
            buffer = handle.read(chunk)
            if not buffer:
                return
            final = position + len(buffer) >= size
            position += yield from _scan(buffer, position, final, path, report)


def _scan(
    buffer: bytes, base: int, final: bool, path: Path, report: Report
) -> Generator[Row, None, int]:
    """Yield the headers in a buffer; return how many bytes are done with."""
    offset = 0
    raw = np.frombuffer(buffer, dtype=np.uint8)
    with libmseed.Parser(buffer, libmseed.HEADERS) as parser:
        while offset < len(buffer):
            try:
                header = header_of(parser.at(offset), base + offset)
                # A record without blockette 1000 ends where the next one starts, which
                # can't be known at the end of a buffer.
                if not final and offset > 0 and offset + header.length >= len(buffer):
                    return offset
                row = _row(header, raw, offset)
                yield row
                offset += header.length * len(row.counts)
                continue
            except MiniSEEDError as error:
                cut = error.status_code == clibmseed.MS_ENDOFFILE
                if cut and not final and offset > 0:
                    return offset
            except ValueError:  # codes that are no text
                cut = False
            found = _next_record(buffer, offset + 1, final=final)
            resume = len(buffer) if found is None else found
            if found is None and not final:
                resume = max(len(buffer) - _HEAD_BYTES, offset + 1)
            if not _CONTROL_HEADER.match(buffer, offset):
                where = f"{path}: {resume - offset} bytes at byte {base + offset}"
                what = (
                    "are a record cut short" if cut and found is None else "are no miniSEED record"
                )
                report("corrupt", f"{where} {what}; skipped. Fetch the file again.", 1, "record")
            offset = resume
    return offset


def _row(header: Header, raw: Bytes, offset: int) -> Row:
    """A header, and those after it that look like it; alone if it can't be used."""
    if unusable(header) is None:
        return Row(
            header, *records_alike(raw, offset, header.length, header.start_ns, header.samples)
        )
    return Row(header, np.array([header.start_ns]), np.array([header.samples]))


def _next_record(buffer: bytes, start: int, *, final: bool) -> int | None:
    """Offset of the next parsable record; one that the buffer cuts short counts if not final."""
    whole = memoryview(buffer)
    for match in _overlapping(buffer, start):
        try:
            MS3Record.parse(whole[match:], validate_crc=False)
        except MiniSEEDError as error:
            if final or error.status_code <= 0:
                continue
        return match
    return None


def _overlapping(buffer: bytes, start: int) -> Iterator[int]:
    while match := _RECORD_START.search(buffer, start):
        yield match.start()
        start = match.start() + 1


def header_of(record: Any, offset: int) -> Header:
    """Header of a record of libmseed's.

    Raises
    ------
    ValueError
        If its codes are no text.
    """
    return Header(
        libmseed.channel(record),
        record.starttime,
        libmseed.rate(record),
        record.samplecnt,
        record.encoding == clibmseed.DE_TEXT,
        offset,
        record.reclen,
    )


def unusable(header: Header) -> str | None:
    """Reason why a record can't be used; None if it can."""
    if header.samples <= 0:
        return "zero-length record"
    if header.text:
        return "text record"
    if not (math.isfinite(header.rate) and header.rate > 0):
        return "unsupported rate"
    return None


def wanted_rows(path: Path, selection: Selection, report: Report) -> Iterator[Row]:
    """Headers of the usable records with wanted samples; what is unusable is reported.

    A corrupt stretch is reported if wanted samples may have been in it, by the records before
    and after it.
    """
    stretches: list[tuple[str, str, int, str]] = []
    before: Row | None = None
    for row in rows(path, lambda *stretch: stretches.append(stretch)):
        if stretches and _may_matter(before, row, row.first.offset, selection):
            _pass_on(stretches, report)
        stretches.clear()
        before = row
        header = row.first
        if not selection.wants(header.nslc):
            continue
        reason = unusable(header)
        if reason is not None:
            if selection.overlaps(header.start_ns, header.start_ns):
                where = f"{path}: {reason} of {header.nslc} at byte {header.offset}"
                report(reason, f"{where}; not used. {_ADVICE[reason]}", 1, "record")
        elif selection.all_times:
            yield row
        else:
            wanted = selection.overlapping(row.starts_ns, row.ends_ns)
            yield from (row.part(start, stop) for start, stop in runs(wanted))
    if stretches and _may_matter(before, None, path.stat().st_size, selection):
        _pass_on(stretches, report)


def _may_matter(before: Row | None, after: Row | None, end: int, selection: Selection) -> bool:
    """Whether wanted samples may have been between two records, or before the first or last one.

    What was lost between two records of a channel is of the time between them, and a record that
    was lost at an end of a file is of the time beyond. Of more than that takes nothing is known:
    another channel may have been there, or another time of a file that is in no order.

    Parameters
    ----------
    before, after
        Records on both sides; None where there is none.
    end
        Byte at which the stretch ends.
    selection
        What is wanted.
    """
    sides = [row for row in (before, after) if row is not None]
    if not sides or any(unusable(row.first) for row in sides):
        return True
    begin = 0 if before is None else before.first.offset + before.first.length * len(before.counts)
    most = float(sides[0].first.length)
    if before is not None and after is not None:
        most = _room(before, after)
    start_ns = -_LATEST if before is None else int(before.ends_ns[-1])
    end_ns = _LATEST if after is None else int(after.starts_ns[0])
    return end - begin > most or selection.overlaps(start_ns, end_ns)


def _room(before: Row, after: Row) -> float:
    """Bytes that may be lost in the time between two records; none if that is not of a channel."""
    if before.first.nslc != after.first.nslc:
        return 0.0
    took_ns = int(before.ends_ns[-1] - before.starts_ns[-1])
    between_ns = int(after.starts_ns[0] - before.ends_ns[-1])
    return before.first.length * (1 + _FULLER * between_ns / max(took_ns, 1))


def _pass_on(stretches: Iterable[tuple[str, str, int, str]], report: Report) -> None:
    for stretch in stretches:
        report(*stretch)


def index(path: Path, selection: Selection, report: Report) -> list[Block]:
    """Blocks of consecutive wanted records, each of about 32 KiB, in file order.

    The first one is shorter, by the name of the file: files that begin together would else all be
    decoded at the same moments, while the model waits.
    """
    blocks: list[Block] = []
    start_ns, offset, end = 0, 0, -1
    size = BLOCK_BYTES * (1 + zlib.crc32(os.fsencode(path)) % 8) // 8
    for row in wanted_rows(path, selection, report):
        length, done = row.first.length, 0
        while done < len(row.counts):
            here = row.first.offset + done * length
            room = (size - (end - offset)) // length if here == end else 0
            if room < 1:
                if end >= 0:
                    blocks.append(Block(start_ns, offset, end - offset))
                    size = BLOCK_BYTES
                start_ns, offset, end = _LATEST, here, here
                room = max(1, size // length)
            part = row.starts_ns[done : done + room]
            start_ns = min(start_ns, int(part.min()))
            end += len(part) * length
            done += len(part)
    if end >= 0:
        blocks.append(Block(start_ns, offset, end - offset))
    return blocks
