"""Waveform files as packets of Earthworm, and tanks as miniSEED."""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_prediction.core.packets import Packet, packets_from_trace
from ml_prediction.earthworm.messages import (
    MessageError,
    TraceBuf,
    encode_tracebuf2,
    start_ns,
)
from ml_prediction.earthworm.messages.tracebuf import HEADER_BYTES, LARGEST_BYTES
from ml_prediction.earthworm.tank import decode_packet, head_of, is_tank, is_tracebuf2, read_tank
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.probabilities import LONGEST_CODES
from ml_prediction.sources import foreign
from ml_prediction.sources.decoding import decode
from ml_prediction.sources.miniseed import index, starts_with_record
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.files import check_free, check_place, writing_whole
from ml_prediction.util.times import NANOSECONDS

MOST_SAMPLES: Final = 1000
"""Of a packet."""

TOLERANCE: Final = 0.1
"""Samples by which a packet or record may be off, and is still the next one."""

OPEN_RUNS: Final = 4
"""How many stretches of a channel that overlap are followed at once."""

RECORD_BYTES: Final = 4096

_STEIM2: Final = 1 << 29  # differences of Steim 2 have 30 bits
_INT32: Final = np.iinfo(np.int32)
_INTEGERS: Final = ("int16", "int32")
_FLOATS: Final = ("float32", "float64")
_DATATYPES: Final = {np.dtype(n): f"{n[0]}{np.dtype(n).itemsize}" for n in (*_INTEGERS, *_FLOATS)}

Samples = npt.NDArray[Any]
Warn = Callable[[str], None]


class Cut(NamedTuple):
    """One packet, ready to be put into a ring or a tank.

    Attributes
    ----------
    end
        Time of its last sample, seconds since 1970 (UTC).
    payload
        TRACEBUF2; or TRACEBUF, where ``old``.
    """

    end: float
    payload: bytes
    old: bool = False


def packets_of(
    paths: Iterable[Path], warn: Warn, *, seconds: float = 1.0, floats: bool = False
) -> Iterator[Cut]:
    """Packets of files, all channels interleaved by the time at which each packet ends.

    Parameters
    ----------
    paths
        Tanks, whose packets stay as they are and in their order; and files of any format that
        ObsPy reads, which are in memory at once.
    warn
        Told of parts of a file that are no packets or records, and where packets are shorter.
    seconds
        Length of packets that are cut here; at most 1000 samples.
    floats
        Whether floating point stays so. Else samples in floating point must be whole numbers.

    Raises
    ------
    ConfigurationError
        If there is no such file, or the length is impossible.
    DataError
        If a file or a channel can't be used. Nothing has been yielded then.
    """
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"--packet {seconds:g}: give a length in seconds, like 1.0.")
    sources: list[Iterator[Cut]] = []
    told = False
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(f"Input {path} does not exist or is no file: check the path.")
        if is_tank(path):
            sources.append(_of_tank(path, warn))
            continue
        for packet in _read(path, floats, warn):
            length, wanted = _length(packet, seconds), round(seconds * packet.sampling_rate)
            if wanted > length < len(packet) and not told:
                told = True
                warn(
                    f"{path}: packets of {packet.nslc} are of {length} samples, not {wanted} "
                    f"(--packet {seconds:g}): no more fit into one. Perhaps others', too."
                )
            sources.append(_cut(packet, length))
    return heapq.merge(*sources, key=attrgetter("end"))


def _of_tank(path: Path, warn: Warn) -> Iterator[Cut]:
    for payload in read_tank(path, lambda damage: warn(f"{damage}; skipped.")):
        head = head_of(payload)
        if head is not None:
            yield Cut(head.end, payload, not is_tracebuf2(payload))


def _read(path: Path, floats: bool, warn: Warn) -> list[Packet]:
    """Contiguous samples of a file, of types that packets can have."""
    with path.open("rb") as handle:
        is_miniseed = starts_with_record(handle.read(64))
    packets: list[Packet] = []
    for packet in _of_miniseed(path, warn) if is_miniseed else _of_foreign(path):
        if len(packet):
            fit = _fitting(packet, path, floats)
            try:
                _encode(fit, 0, 1)  # before anything is played
            except MessageError as error:
                raise DataError(f"{path}: {error}") from error
            packets.append(fit)
    return packets


def _of_miniseed(path: Path, warn: Warn) -> Iterator[Packet]:
    """Records that follow each other, joined; of damaged ones, the others are not affected."""

    def report(reason: str, message: str, count: int, unit: str) -> None:
        warn(message)

    channels: dict[NSLC, list[Packet]] = {}
    for block in index(path, Selection(), report):
        for packet in decode(path, block, report):
            channels.setdefault(packet.nslc, []).append(packet)
    for nslc in list(channels):
        yield from _joined(channels.pop(nslc))


def _of_foreign(path: Path) -> Iterator[Packet]:
    kind = foreign.detect(path)
    if kind is None:
        raise DataError(f"{path} is neither a tank nor of a format that ObsPy knows: name another.")
    try:
        traces = list(foreign.read(path, kind))
    except foreign.READ_ERRORS as error:
        said = " ".join(str(error).split())
        raise DataError(f"{path} can't be read as {kind} ({said}): fetch it again.") from error
    while traces:  # one after the other, so that not all are in memory twice
        yield from packets_from_trace(traces.pop(0))


def _fitting(packet: Packet, path: Path, floats: bool) -> Packet:
    """The samples in a type of Earthworm's.

    Raises
    ------
    DataError
        If they would change by it.
    """
    samples: Samples = packet.samples
    name = samples.dtype.name
    if name not in _INTEGERS and not (floats and name in _FLOATS):
        if samples.dtype.kind not in "iuf":
            raise DataError(f"{path}: samples of {packet.nslc} are {name}, no numbers: mend it.")
        if samples.dtype.kind == "f" and not np.array_equal(samples, np.rint(samples)):
            raise DataError(
                f"{path}: samples of {packet.nslc} are no whole numbers, and Earthworm's programs "
                "refuse floating point: multiply them, e.g. by 1e6, and round."
            )
        if not (_INT32.min <= samples.min() and samples.max() <= _INT32.max):
            raise DataError(
                f"{path}: samples of {packet.nslc} don't fit into 4 bytes: divide them."
            )
        name = "int32"
    native = samples.astype(name, copy=False)
    return Packet(packet.nslc, packet.start_ns, packet.sampling_rate, native)


def _length(packet: Packet, seconds: float) -> int:
    """Samples of packets of so many seconds, or as many as fit."""
    room = (LARGEST_BYTES - HEADER_BYTES) // packet.samples.dtype.itemsize
    wanted = round(min(seconds * packet.sampling_rate, MOST_SAMPLES))
    return max(1, min(wanted, room))


def _cut(packet: Packet, length: int) -> Iterator[Cut]:
    for first in range(0, len(packet), length):
        yield _encode(packet, first, min(first + length, len(packet)))


def _encode(packet: Packet, first: int, stop: int) -> Cut:
    """Samples ``first`` to ``stop`` (exclusive); times by the trace's, so that none adds up."""
    samples = packet.samples[first:stop]
    end = packet.sample_ns(stop - 1) / NANOSECONDS
    buf = TraceBuf(
        nslc=packet.nslc,
        starttime=packet.sample_ns(first) / NANOSECONDS,
        endtime=end,
        sampling_rate=packet.sampling_rate,
        samples=samples,
        datatype=_DATATYPES[samples.dtype],
    )
    return Cut(end, encode_tracebuf2(buf, allow_float=True))


def convert(
    source: Path,
    target: Path,
    warn: Warn,
    *,
    seconds: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Write a tank as miniSEED, or any waveform file as a tank.

    Parameters
    ----------
    source, target
        Files. What the first is, its contents say.
    warn
        Told of what was left out, and what was done.
    seconds
        Length of a tank's packets.
    overwrite
        Replace what is there.

    Raises
    ------
    ConfigurationError
        If the source is not there, the target is, or can't be a file.
    DataError
        If nothing can be used.
    OSError
        If a file can't be read or written; nothing half-written is left.
    """
    check_free(target, overwrite=overwrite)
    check_place(target)
    if not source.is_file():
        raise ConfigurationError(f"Input {source} does not exist or is no file: check the path.")
    parts = _miniseed(source, warn) if is_tank(source) else _tank(source, warn, seconds)
    with writing_whole(target) as file:
        if not sum(file.write(each) for each in parts):
            raise DataError(f"{source} has no samples that can be written: name another.")


def _tank(source: Path, warn: Warn, seconds: float) -> Iterator[bytes]:
    floats = False
    for cut in packets_of([source], warn, seconds=seconds, floats=True):
        floats |= cut.payload[57:58] in (b"f", b"t")
        yield cut.payload
    if floats:
        warn(f"{source}: its samples in floating point stay so; Earthworm's programs refuse them.")


def _miniseed(source: Path, warn: Warn) -> Iterator[bytes]:
    """Records of a tank's channels, packets that follow each other merged."""
    channels: dict[NSLC, list[Packet]] = {}
    for payload in read_tank(source, lambda damage: warn(f"{damage}; skipped.")):
        try:
            buf = decode_packet(payload)
        except MessageError as error:
            warn(f"{source}: {error} It is left out.")
            continue
        packet = Packet(buf.nslc, start_ns(buf), buf.sampling_rate, buf.samples)
        channels.setdefault(buf.nslc, []).append(packet)
    repeated = 0
    for nslc in sorted(channels):
        packets = channels.pop(nslc)
        if any(len(code) > most for code, most in zip(nslc, LONGEST_CODES, strict=True)):
            warn(f"{source}: {nslc} is left out: miniSEED's codes have at most 2, 5, 2, 3 letters.")
            continue
        once = _once(packets)
        repeated += len(packets) - len(once)
        del packets  # so that not all are in memory twice
        for packet in _joined(once):
            yield _records(packet)
    if repeated:
        warn(f"{source}: {repeated} packets are there more than once, and are written once.")


def _once(packets: list[Packet]) -> list[Packet]:
    """Packets in order of time, each once."""
    kept: list[Packet] = []
    same: list[Packet] = []  # begin at the same time
    for packet in sorted(packets, key=attrgetter("start_ns")):
        same = [each for each in same if each.start_ns == packet.start_ns]
        if not any(_equal(each, packet) for each in same):
            same.append(packet)
            kept.append(packet)
    return kept


def _equal(one: Packet, other: Packet) -> bool:
    return one.sampling_rate == other.sampling_rate and np.array_equal(one.samples, other.samples)


def _joined(packets: list[Packet]) -> Iterator[Packet]:
    """Packets of a channel, those joined of which one follows the other."""
    runs: list[list[Packet]] = []
    lengths: list[int] = []
    for packet in packets:
        for number in range(len(runs) - 1, max(-1, len(runs) - 1 - OPEN_RUNS), -1):
            if _continues(runs[number][0], lengths[number], packet):
                runs[number].append(packet)
                lengths[number] += len(packet)
                break
        else:
            runs.append([packet])
            lengths.append(len(packet))
    for run in runs:
        first = run[0]
        samples: Samples = np.concatenate([packet.samples for packet in run])
        run.clear()
        yield Packet(first.nslc, first.start_ns, first.sampling_rate, samples)


def _continues(first: Packet, length: int, packet: Packet) -> bool:
    """Whether a packet is what comes after so many samples from the first one's start."""
    one, other = first.samples.dtype, packet.samples.dtype
    off_ns = abs(packet.start_ns - first.sample_ns(length))
    return (
        packet.sampling_rate == first.sampling_rate
        and (one == other or one.kind == other.kind == "i")
        and off_ns * first.sampling_rate <= TOLERANCE * NANOSECONDS
    )


def _records(packet: Packet) -> bytes:
    """As miniSEED; integers by Steim 2 where their differences fit."""
    samples: Samples = packet.samples
    if samples.dtype.kind == "i":
        samples = samples.astype(np.int32, copy=False)
        steps = np.abs(np.diff(samples.astype(np.int64), prepend=0))
        encoding = "STEIM2" if steps.max() < _STEIM2 else "INT32"
    else:
        encoding = samples.dtype.name.upper()
    buffer = io.BytesIO()
    Packet(packet.nslc, packet.start_ns, packet.sampling_rate, samples).to_trace().write(
        buffer, format="MSEED", encoding=encoding, reclen=RECORD_BYTES, byteorder=">"
    )
    return buffer.getvalue()
