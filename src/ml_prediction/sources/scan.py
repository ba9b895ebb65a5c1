"""First look at a file: its format, channels and extent. Nothing else of it is kept."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from obspy import Stream, Trace
from pymseed import MiniSEEDError

from ml_prediction.core.packets import Packet, channel_of, packets_from_trace
from ml_prediction.sources import foreign, libmseed, miniseed
from ml_prediction.sources.file_info import Extent, FileInfo
from ml_prediction.sources.inputs import InputFile, SdsName
from ml_prediction.sources.problems import (
    MISNAMED,
    OVERFULL,
    UNREADABLE,
    Problem,
    ProblemLedger,
    Report,
)
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, isoformat, to_ns, to_utc

logger = logging.getLogger(__name__)

MINISEED: Final = "MSEED"
_PROBE_BYTES: Final = 1 << 16

_Part = tuple[NSLC, int, int]  # channel, time of its first and of its last sample

_COMPRESSED: Final = (
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x1f\x9d", "compress"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (257, b"ustar", "tar"),
)
"""Offset, first bytes and name. None of these is searched for records: what a search would find in
an archive is a part of what is in it."""


def scan(file: InputFile, selection: Selection, ledger: ProblemLedger) -> FileInfo | None:
    """Channels and extent of a file's wanted part; None if it has none.

    miniSEED record headers are all read, because records may be in any order; of an SDS day
    file only the first and the last, because its name says the rest. Of other formats the
    headers alone are read, where their readers can.
    """
    path = file.path
    try:
        if path.stat().st_size == 0:
            text = f"{path} is empty; skipped. Fetch it again, or remove it."
            ledger.add(Problem(path, "empty file", text, 1))
            return None
        with path.open("rb") as handle:
            head = handle.read(512)
        packed = _compression(head)
        if packed is not None:
            text = f"{path} is packed with {packed}; skipped. Unpack it first."
            ledger.add(Problem(path, "compressed", text, 1))
            return None
        if miniseed.starts_with_record(head):
            return _scan_miniseed(file, selection, ledger)
        name = foreign.detect(path)
        if name is not None:
            return _scan_foreign(file, name, selection, ledger)
        if miniseed.contains_record(path):
            return _scan_miniseed(file, selection, ledger)
    except OSError as error:
        text = f"{path} can't be read ({error.strerror}); skipped. Check the file and its rights."
        ledger.add(Problem(path, UNREADABLE, text, 1))
        return None
    text = (
        f"{path} is in no waveform format that ObsPy knows; skipped. "
        "Convert it to miniSEED, or leave it out."
    )
    ledger.add(Problem(path, "not waveform data", text, 1, quiet=not file.named))
    logger.debug(text)
    return None


def read_foreign(info: FileInfo, selection: Selection, report: Report) -> Iterator[Packet]:
    """Usable packets of a file that is not miniSEED; what is unusable is reported.

    Raises
    ------
    one of foreign.READ_ERRORS
        If the file can't be read.
    """
    usable = list(_usable(foreign.read(info.path, info.format), info.path, selection, report))
    missing = info.samples - sum(
        len(trace.data) for trace in usable if selection.overlaps(*_limits(trace))
    )
    if missing > 0:
        text = f"{info.path}: {missing} samples that its headers announce are not there."
        report("corrupt", f"{text} Fetch the file again.", 1, "record")
    while usable:
        for packet in packets_from_trace(usable.pop(0)):
            if len(packet):
                yield packet
            else:
                _report_empty(info.path, packet.nslc, report)


def not_read(path: Path, format_name: str, error: BaseException) -> tuple[str, str]:
    """Reason and message for a file whose reader raised one of foreign.READ_ERRORS."""
    # Readers that take a file for what it is not ask the system for what can't be.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        text = f"{path} can't be read ({error.strerror}); skipped. Check the file and its rights."
        return UNREADABLE, text
    text = f"{path} looks like {format_name} but does not read ({error}); skipped."
    return "corrupt", f"{text} Fetch it again."


def _compression(head: bytes) -> str | None:
    found = (name for at, magic, name in _COMPRESSED if head[at:].startswith(magic))
    return next(found, None)


def _usable(stream: Stream, path: Path, selection: Selection, report: Report) -> Iterator[Trace]:
    """Wanted traces that have samples and a rate; works on headers alone."""
    for trace in stream:
        nslc, rate = channel_of(trace), float(trace.stats.sampling_rate)
        if not selection.wants(nslc):
            continue
        if trace.stats.npts == 0:
            _report_empty(path, nslc, report)
        elif not 0 < rate < float("inf"):
            text = f"{path}: {nslc} has a rate of {rate:g} Hz; not used. Mend the header."
            report("unsupported rate", text, 1, "record")
        else:
            yield trace


def _report_empty(path: Path, nslc: NSLC, report: Report) -> None:
    text = f"{path}: empty trace {nslc}; not used. Fetch the file again, if it should have data."
    report("zero-length record", text, 1, "record")


def _limits(trace: Trace) -> tuple[int, int]:
    """Times of the first and the last sample."""
    start_ns = to_ns(trace.stats.starttime)
    length = (trace.stats.npts - 1) * NANOSECONDS / trace.stats.sampling_rate
    return start_ns, start_ns + round(length)


def _scan_miniseed(file: InputFile, selection: Selection, ledger: ProblemLedger) -> FileInfo | None:
    probed = None if file.sds is None else _probe(file.path, file.sds)
    if file.sds is not None and probed is not None:
        extent = probed.extents[0]
        start_ns = min(extent.start_ns, file.sds.start_ns)
        end_ns = max(extent.end_ns, file.sds.end_ns)
        if selection.wants(extent.nslc) and selection.overlaps(start_ns, end_ns):
            return probed
    report = ledger.reporter(file.path)
    parts = (
        (row.first.nslc, int(row.starts_ns.min()), int(row.ends_ns.max()), int(row.counts.sum()))
        for row in miniseed.wanted_rows(file.path, selection, report)
    )
    found = _summarise(file.path, MINISEED, parts)
    if probed is None:
        _check_name(file, _held(file.path), found, ledger)
    return found


def _scan_foreign(
    file: InputFile, name: str, selection: Selection, ledger: ProblemLedger
) -> FileInfo | None:
    path = file.path
    try:
        stream = _read_headers(path, name)
    except foreign.READ_ERRORS as error:
        reason, text = not_read(path, name, error)
        ledger.add(Problem(path, reason, text, 1))
        return None
    wanted = (
        (channel_of(trace), *limits, int(trace.stats.npts))
        for trace in _usable(stream, path, selection, ledger.reporter(path))
        if selection.overlaps(*(limits := _limits(trace)))
    )
    found = _summarise(path, name, wanted)
    usable = _usable(stream, path, Selection(), lambda *_: None)
    _check_name(file, ((channel_of(trace), *_limits(trace)) for trace in usable), found, ledger)
    return found


def _held(path: Path) -> Iterator[_Part]:
    """What a miniSEED file has, wanted or not."""
    for row in miniseed.rows(path, lambda *_: None):
        if miniseed.unusable(row.first) is None:
            yield row.first.nslc, int(row.starts_ns.min()), int(row.ends_ns.max())


def _check_name(
    file: InputFile, parts: Iterable[_Part], found: FileInfo | None, ledger: ProblemLedger
) -> None:
    """Tell of a day file that has nothing of what it is named by, or more than is looked for in it.

    Records may overrun midnight, long ones of slow channels by hours.
    """
    if file.sds is None:
        return
    held = list(parts)
    own = any(file.sds.has(*part) for part in held)
    others = [part for part in held if not (own and file.sds.is_near(*part))]
    if not others:
        return
    codes = sorted({str(nslc) for nslc, _, _ in others})
    more = f" and {len(codes) - 3} more" if len(codes) > 3 else ""
    limits = min(start_ns for _, start_ns, _ in others), max(end_ns for _, _, end_ns in others)
    first, last = (isoformat(to_utc(time_ns))[:19] for time_ns in limits)
    reason, what = (OVERFULL, "more than") if own else (MISNAMED, "nothing of")
    text = (
        f"{file.path} has {what} {file.sds.nslc} on the day that it is named by: "
        f"{', '.join(codes[:3])}{more} from {first} to {last}. Give it another name."
    )
    unit = "file" if found is None and not own else "name"
    ledger.add(Problem(file.path, reason, text, 1, unit))


def _read_headers(path: Path, name: str) -> Stream:
    if name in foreign.HEADERS_ALONE:
        try:
            return foreign.read(path, name, headonly=True)
        except foreign.READ_ERRORS as error:
            logger.debug("%s: headers alone don't read (%s)", path, error)
    return foreign.read(path, name)


def _summarise(
    path: Path, name: str, parts: Iterable[tuple[NSLC, int, int, int]]
) -> FileInfo | None:
    """What is known of a file, from the channel, first and last time and samples of its parts."""
    channels: dict[NSLC, list[int]] = {}
    for nslc, start_ns, end_ns, samples in parts:
        known = channels.get(nslc)
        if known is None:
            channels[nslc] = [start_ns, end_ns, samples]
            continue
        if start_ns < known[0]:
            known[0] = start_ns
        if end_ns > known[1]:
            known[1] = end_ns
        known[2] += samples
    if not channels:
        return None
    extents = tuple(Extent(nslc, *known) for nslc, known in channels.items())
    return FileInfo(path, name, extents, min(extent.start_ns for extent in extents))


def _probe(path: Path, sds: SdsName) -> FileInfo | None:
    """A look at the first and last record of an SDS day file; None if they don't fit the name."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        first = _parse(handle.read(_PROBE_BYTES))
        if first is None or first.length > size:
            return None
        handle.seek(size - first.length)
        last = _parse(handle.read(first.length))
    fits = last is not None and all(
        miniseed.unusable(header) is None and sds.holds(header.nslc, header.start_ns, header.end_ns)
        for header in (first, last)
    )
    if last is None or not fits:
        return None
    start_ns, end_ns = min(first.start_ns, last.start_ns), max(first.end_ns, last.end_ns)
    samples = first.samples * size // first.length
    extent = Extent(first.nslc, start_ns, end_ns, samples)
    return FileInfo(path, MINISEED, (extent,), min(start_ns, sds.start_ns))


def _parse(raw: bytes) -> miniseed.Header | None:
    try:
        with libmseed.Parser(raw, libmseed.HEADERS_OF_PART) as parser:
            return miniseed.header_of(parser.at(0), 0)
    except (MiniSEEDError, ValueError):
        return None
