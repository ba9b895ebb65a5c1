"""Samples of miniSEED records: libmseed decodes them, through pymseed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pymseed import MiniSEEDError, MS3Record
from pymseed.logging import get_error_messages

from ml_prediction.core.joining import JOIN_TOLERANCE_NS, Part, Run, gather, join
from ml_prediction.core.packets import Packet
from ml_prediction.sources import libmseed
from ml_prediction.sources.alike import records_alike
from ml_prediction.sources.miniseed import Block, durations_ns
from ml_prediction.sources.problems import Report


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
        with libmseed.Parser(raw, libmseed.SAMPLES) as parser:
            whole = _decode_row(raw, parser)
            packets = [whole] if whole else [_packet_of(run) for run in gather(_parts(raw, parser))]
    except (MiniSEEDError, ValueError):
        return None
    # libmseed logs a failed Steim integrity check but returns the samples all the same.
    return None if get_error_messages() else packets


def _decode_row(raw: bytes, parser: libmseed.Parser) -> Packet | None:
    """The usual block: all of its records look alike, and continue each other; None if not."""
    record = parser.at(0)
    dtype = libmseed.sample_type(record)
    if dtype is None:
        return None
    rate, length, start_ns = libmseed.rate(record), record.reclen, record.starttime
    count = record.samplecnt
    bytes_ = np.frombuffer(raw, dtype=np.uint8)
    alike = records_alike(bytes_, 0, length, start_ns, count)
    totals = np.cumsum(alike.counts)
    if len(totals) * length != len(raw) or not 0 < rate < math.inf:
        return None
    next_ns = start_ns + durations_ns(totals[:-1], rate)
    if np.abs(alike.starts_ns[1:] - next_ns).max(initial=0) > JOIN_TOLERANCE_NS:
        return None
    samples = np.empty(int(totals[-1]), dtype=dtype)
    nslc = libmseed.channel(record)
    parser.fill(samples, alike.counts.tolist(), length)
    return Packet(nslc, start_ns, rate, samples)


def _parts(raw: bytes, parser: libmseed.Parser) -> Iterator[Part[bytes]]:
    """Decoded records.

    Raises
    ------
    ValueError
        If one has no samples, fewer than its header says, or no rate.
    """
    offset = 0
    while offset < len(raw):
        record = parser.at(offset)
        rate, count = libmseed.rate(record), record.numsamples
        dtype = libmseed.sample_type(record)
        if dtype is None or not 0 < count == record.samplecnt or not 0 < rate < math.inf:
            raise ValueError("not a whole record of samples")
        samples = libmseed.sample_bytes(record, dtype.itemsize)
        yield Part(libmseed.channel(record), record.starttime, rate, dtype, count, samples)
        offset += record.reclen


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
