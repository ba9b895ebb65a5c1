"""miniSEED 2 and 3: records found robustly, and decoded fast.

The format is that of the FDSN (SEED manual 2.4, appendix G; miniSEED 3, 2023); libmseed parses
and decodes it, through pymseed. This module adds what real archives need: a damaged stretch
costs only itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pymseed import MiniSEEDError, MS3Record
from pymseed.clib import clibmseed
from pymseed.logging import get_error_messages

from ml_prediction.core.joining import Part, Run, gather, join
from ml_prediction.core.packets import Packet
from ml_prediction.sources import libmseed
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


class Block(NamedTuple):
    """Consecutive wanted records of a file; ``start_ns`` is their earliest time."""

    start_ns: int
    offset: int
    length: int


def starts_with_record(head: bytes) -> bool:
    """Whether a file's first bytes look like miniSEED or a full SEED volume."""
    return bool(_RECORD_START.match(head) or _CONTROL_HEADER.match(head))


def contains_record(path: Path) -> bool:
    """Whether there is a readable record anywhere in the first 16 MiB."""
    with path.open("rb") as handle:
        buffer = handle.read(CHUNK_BYTES)
    return _next_record(buffer, 0, final=True) is not None


def headers(path: Path, report: Report, *, chunk: int = CHUNK_BYTES) -> Iterator[Header]:
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
) -> Generator[Header, None, int]:
    """Yield the headers in a buffer; return how many bytes are done with."""
    offset = 0
    whole = memoryview(buffer)
    while offset < len(buffer):
        try:
            for record in libmseed.records(whole[offset:], libmseed.HEADERS):
                length = record.reclen
                # A record without blockette 1000 ends where the next one starts, which
                # can't be known at the end of a buffer.
                if not final and offset > 0 and offset + length >= len(buffer):
                    return offset
                yield header_of(record, base + offset)
                offset += length
            return offset
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
            what = "are a record cut short" if cut and found is None else "are no miniSEED record"
            report("corrupt", f"{where} {what}; skipped. Fetch the file again.", 1, "record")
        offset = resume
    return offset


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


def wanted_headers(path: Path, selection: Selection, report: Report) -> Iterator[Header]:
    """Headers of the usable records with wanted samples; what is unusable is reported."""
    for header in headers(path, report):
        if not selection.wants(header.nslc):
            continue
        reason = unusable(header)
        if reason is not None:
            where = f"{path}: {reason} of {header.nslc} at byte {header.offset}"
            report(reason, f"{where}; not used. {_ADVICE[reason]}", 1, "record")
        elif selection.all_times or selection.overlaps(header.start_ns, header.end_ns):
            yield header


def index(path: Path, selection: Selection, report: Report) -> list[Block]:
    """Blocks of consecutive wanted records, each of about 32 KiB, in file order."""
    blocks: list[Block] = []
    start_ns, offset, end = 0, 0, -1
    for header in wanted_headers(path, selection, report):
        if header.offset == end and end + header.length - offset <= BLOCK_BYTES:
            start_ns = min(start_ns, header.start_ns)
        else:
            if end >= 0:
                blocks.append(Block(start_ns, offset, end - offset))
            start_ns, offset = header.start_ns, header.offset
        end = header.offset + header.length
    if end >= 0:
        blocks.append(Block(start_ns, offset, end - offset))
    return blocks


def decode(path: Path, block: Block, report: Report) -> list[Packet]:
    """Samples of a block, contiguous records joined.

    A record whose checksum or last sample (Steim) is wrong is corrupt: reported, not used.

    Raises
    ------
    OSError
        If the file can't be read any more.
    """
    with path.open("rb") as handle:
        handle.seek(block.offset)
        raw = handle.read(block.length)
    packets = _decode_fast(raw)
    return join(_decode_one_by_one(raw, block, path, report)) if packets is None else packets


def _decode_fast(raw: bytes) -> list[Packet] | None:
    """All records, joined as by `join`; None if there is anything to complain about."""
    try:
        runs = gather(_parts(raw))
    except (MiniSEEDError, ValueError):
        return None
    # libmseed logs a failed Steim integrity check but returns the samples all the same.
    return None if get_error_messages() else [_packet_of(run) for run in runs]


def _parts(raw: bytes) -> Iterator[Part[bytes]]:
    """Decoded records.

    Raises
    ------
    ValueError
        If one has no samples, fewer than its header says, or no rate.
    """
    for record in libmseed.records(raw, libmseed.SAMPLES):
        rate, count = libmseed.rate(record), record.numsamples
        dtype = libmseed.sample_type(record)
        if dtype is None or not 0 < count == record.samplecnt or not 0 < rate < math.inf:
            raise ValueError("not a whole record of samples")
        samples = libmseed.sample_bytes(record, dtype.itemsize)
        yield Part(libmseed.channel(record), record.starttime, rate, dtype, count, samples)


def _packet_of(run: Run[bytes]) -> Packet:
    samples = np.frombuffer(bytearray().join(run.parts), dtype=run.dtype)
    return Packet(run.nslc, run.start_ns, run.rate, samples)


def _decode_one_by_one(raw: bytes, block: Block, path: Path, report: Report) -> list[Packet]:
    packets: list[Packet] = []
    view = memoryview(raw)
    offset = 0
    while offset < len(raw):
        length = len(raw) - offset
        complaint = ""
        try:
            length = MS3Record.parse(view[offset:], validate_crc=False).reclen
            record = MS3Record.parse(view[offset : offset + length], unpack_data=True)
            complaint = next((m for m in get_error_messages() if "integrity" in m), "")
            if record.numsamples != record.samplecnt:
                complaint = f"{record.numsamples} of {record.samplecnt} samples decoded"
            if not complaint:
                packets.append(_packet(record))
        except (MiniSEEDError, ValueError) as error:
            complaint = str(error)
        if complaint:
            where = f"{path}: record at byte {block.offset + offset}"
            text = f"{where} does not decode ({complaint}); not used. Fetch the file again."
            report("corrupt", text, 1, "record")
        offset += length
    return packets


def _packet(record: MS3Record) -> Packet:
    samples = record.np_datasamples.copy()  # libmseed reuses its buffer
    nslc = libmseed.channel_of(record.sourceid)
    return Packet(nslc, record.starttime, record.samprate, samples)
