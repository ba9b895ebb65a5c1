"""First look at a file: its format, channels and extent. Nothing else of it is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pymseed import MiniSEEDError, MS3Record
from pymseed.clib import clibmseed

from ml_prediction.core.packets import Packet, packets_from_trace
from ml_prediction.sources import foreign, miniseed
from ml_prediction.sources.inputs import InputFile, SdsName
from ml_prediction.sources.problems import Problem, ProblemLedger, Report
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

logger = logging.getLogger(__name__)

MINISEED: Final = "MSEED"
_PROBE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is known of a file before it is read.

    Attributes
    ----------
    path, format
        File, and ObsPy's name of its format.
    channels
        Wanted channels in it.
    open_ns
        No wanted sample is earlier, so the file is opened when the sweep gets here.
    start_ns, end_ns
        Extent, to a record.
    samples
        Number of wanted samples; an estimate for SDS day files.
    """

    path: Path
    format: str
    channels: tuple[NSLC, ...]
    open_ns: int
    start_ns: int
    end_ns: int
    samples: int


def scan(file: InputFile, selection: Selection, ledger: ProblemLedger) -> FileInfo | None:
    """Channels and extent of a file's wanted part; None if it has none.

    miniSEED record headers are all read, because records may be in any order; of an SDS day
    file only the first and the last, because its name says the rest.
    """
    path = file.path
    try:
        if path.stat().st_size == 0:
            ledger.add(Problem(path, "empty file", f"{path} is empty; skipped.", 1))
            return None
        with path.open("rb") as handle:
            head = handle.read(512)
        if miniseed.starts_with_record(head):
            return _scan_miniseed(file, selection, ledger.reporter(path))
        name = foreign.detect(path)
        if name is not None:
            return _scan_foreign(path, name, selection, ledger)
        if miniseed.contains_record(path):
            return _scan_miniseed(file, selection, ledger.reporter(path))
    except OSError as error:
        text = f"{path} can't be read ({error.strerror}); skipped. Check the file and its rights."
        ledger.add(Problem(path, "unreadable", text, 1))
        return None
    text = f"{path} is in no waveform format that ObsPy knows; skipped."
    ledger.add(Problem(path, "not waveform data", text, 1, quiet=not file.named))
    logger.debug(text)
    return None


def read_foreign(path: Path, format_name: str, report: Report) -> list[Packet]:
    """Usable packets of a file that is not miniSEED; what is unusable is reported.

    Raises
    ------
    one of foreign.READ_ERRORS
        If the file can't be read.
    """
    packets = []
    for trace in foreign.read(path, format_name):
        for packet in packets_from_trace(trace):
            if len(packet) == 0:
                report("zero-length record", f"{path}: empty trace {packet.nslc}.", 1, "record")
            elif not 0 < packet.sampling_rate < float("inf"):
                text = f"{path}: {packet.nslc} has a rate of {packet.sampling_rate:g} Hz; not used."
                report("unsupported rate", text, 1, "record")
            else:
                packets.append(packet)
    return packets


def _scan_miniseed(file: InputFile, selection: Selection, report: Report) -> FileInfo | None:
    if file.sds is not None:
        probed = _probe(file.path, file.sds, selection)
        if probed is not None:
            return probed
    extents = (
        (header.nslc, header.start_ns, header.end_ns, header.samples)
        for header in miniseed.wanted_headers(file.path, selection, report)
    )
    return _summarise(file.path, MINISEED, extents)


def _scan_foreign(
    path: Path, name: str, selection: Selection, ledger: ProblemLedger
) -> FileInfo | None:
    try:
        packets = read_foreign(path, name, ledger.reporter(path))
    except foreign.READ_ERRORS as error:
        text = f"{path} looks like {name} but does not read ({error}); skipped. Fetch it again."
        ledger.add(Problem(path, "corrupt", text, 1))
        return None
    extents = (
        (packet.nslc, packet.start_ns, packet.end_ns, len(packet))
        for packet in packets
        if selection.wants(packet.nslc) and selection.overlaps(packet.start_ns, packet.end_ns)
    )
    return _summarise(path, name, extents)


def _summarise(
    path: Path, name: str, extents: Iterable[tuple[NSLC, int, int, int]]
) -> FileInfo | None:
    channels: dict[NSLC, None] = {}
    start_ns = end_ns = None
    samples = 0
    for nslc, start, end, count in extents:
        channels.setdefault(nslc)
        start_ns = start if start_ns is None else min(start, start_ns)
        end_ns = end if end_ns is None else max(end, end_ns)
        samples += count
    if start_ns is None or end_ns is None:
        return None
    return FileInfo(path, name, tuple(channels), start_ns, start_ns, end_ns, samples)


def _probe(path: Path, sds: SdsName, selection: Selection) -> FileInfo | None:
    """A look at the first and last record of an SDS day file; None if they don't fit the name."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        first = _parse(handle.read(_PROBE_BYTES))
        if first is None or first.length > size:
            return None
        handle.seek(size - first.length)
        last = _parse(handle.read(first.length))
    fits = last is not None and all(
        miniseed.unusable(header) is None
        and header.nslc == sds.nslc
        and header.start_ns >= sds.start_ns - 3600 * NANOSECONDS
        and header.end_ns <= sds.end_ns + 3600 * NANOSECONDS
        for header in (first, last)
    )
    if last is None or not fits:
        return None
    start_ns, end_ns = min(first.start_ns, last.start_ns), max(first.end_ns, last.end_ns)
    if not selection.overlaps(min(start_ns, sds.start_ns), max(end_ns, sds.end_ns)):
        return None
    return FileInfo(
        path,
        MINISEED,
        (first.nslc,),
        min(start_ns, sds.start_ns),
        start_ns,
        end_ns,
        first.samples * size // first.length,
    )


def _parse(raw: bytes) -> miniseed.Header | None:
    try:
        record = MS3Record.parse(raw, validate_crc=False)
        return miniseed.Header(
            miniseed.channel_of(record.sourceid),
            record.starttime,
            record.samprate,
            record.samplecnt,
            record.encoding == clibmseed.DE_TEXT,
            0,
            record.reclen,
        )
    except (MiniSEEDError, ValueError):
        return None
