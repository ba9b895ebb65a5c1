"""TRACEBUF2 and TRACEBUF: samples of one channel behind a header of 64 bytes.

The data type stands at the same place in both, and tells the byte order of samples and header.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ml_prediction.earthworm.messages.errors import MessageError, is_code, shown
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

HEADER_BYTES: Final = 64
LARGEST_BYTES: Final = 4096
"""Bytes of the longest message, header included."""

_EARLIEST, _LATEST = -2_208_988_800.0, 7_258_118_400.0  # seconds: the years 1900 and 2200
_SLACK = 5.0  # samples by which Earthworm lets the end time be off
_FLOAT32 = float(np.finfo(np.float32).max)
_CHANNELS = 8192  # whose codes are remembered


class _Codes(NamedTuple):
    """Where the codes stand in the header, and what is read of them."""

    name: str
    station: int  # bytes, with the NUL at the end, as for the others
    network: int
    channel: int
    location: int  # 0: the message has none


_SCNL = _Codes("TRACEBUF2", 7, 9, 4, 3)
_SCN = _Codes("TRACEBUF", 7, 9, 9, 0)


class _Kind(NamedTuple):
    """What a data type says."""

    name: str
    scnl: struct.Struct  # of a TRACEBUF2
    scn: struct.Struct  # of a TRACEBUF
    factor: struct.Struct
    samples: np.dtype[np.generic]  # in the byte order of this machine
    size: int  # bytes of a sample
    swapped: bool
    most: int


def _kind(name: str) -> _Kind:
    order = "<" if name[0] in "if" else ">"
    size = int(name[1])
    return _Kind(
        name,
        struct.Struct(f"{order}iiddd23s2s3s4s"),
        struct.Struct(f"{order}iiddd25s3s4s"),
        struct.Struct(f"{order}f"),
        np.dtype(f"{'i' if name[0] in 'is' else 'f'}{size}"),
        size,
        (order == "<") != (sys.byteorder == "little"),
        (LARGEST_BYTES - HEADER_BYTES) // size,
    )


_KINDS = {
    name.encode() + b"\0": _kind(name) for name in ("i2", "i4", "s2", "s4", "f4", "f8", "t4", "t8")
}
_FLOATS = {"f4", "f8", "t4", "t8"}


@dataclass(frozen=True, slots=True)
class TraceBuf:
    """Contiguous samples of one channel, as a message carries them.

    Attributes
    ----------
    nslc
        Channel; the location ``--`` is the empty one.
    starttime, endtime
        Times of the first and of the last sample, seconds since 1970 (UTC).
    sampling_rate
        In Hz.
    samples
        Shape (sample,), int16, int32, float32 or float64 in the byte order of this machine;
        may be read-only.
    datatype
        Kind, byte order and size of the message's samples: ``i`` and ``f`` are integers and
        floats in little endian, ``s`` and ``t`` in big endian.
    pin
        Number of the digitiser's pin; 0 where there is none.
    version
        ``20`` or ``21``; a TRACEBUF has none and counts as ``20``.
    quality
        2 bytes of version 20, first the data quality of SEED.
    conversion_factor
        Of version 21; None for any other, and where it is not finite.
    """

    nslc: NSLC
    starttime: float
    endtime: float
    sampling_rate: float
    samples: npt.NDArray[np.generic]
    datatype: str
    pin: int = 0
    version: str = "20"
    quality: bytes = b"\0\0"
    conversion_factor: float | None = None


def start_ns(buf: TraceBuf) -> int:
    """Time of the first sample in nanoseconds since 1970, rounded to the microsecond.

    A double of today's seconds is good to 0.24 microseconds: any finer digit is noise.
    """
    whole = math.floor(buf.starttime)
    return whole * NANOSECONDS + round((buf.starttime - whole) * 1e6) * 1000


def decode_tracebuf2(payload: bytes) -> TraceBuf:
    """Read a TRACEBUF2.

    Parameters
    ----------
    payload
        Message without transport header. Bytes behind the samples are ignored.

    Returns
    -------
    TraceBuf
        Its samples are a view of the payload unless their bytes had to be swapped.

    Raises
    ------
    MessageError
        If Earthworm's own readers would refuse it, but for samples in floating point, which are
        read; and if its version, a time or a code makes no sense.
    """
    kind = _KINDS.get(payload[57:60]) or _no_kind(payload, _SCNL)
    if len(payload) < HEADER_BYTES:
        raise _too_short(payload, _SCNL)
    pin, count, start, end, rate, codes, version, _, tail = kind.scnl.unpack_from(payload)
    nslc = _read_scnl(codes)
    samples = _read_samples(payload, kind, "TRACEBUF2", nslc, count, start, end, rate)
    if version == b"20":
        return TraceBuf(nslc, start, end, rate, samples, kind.name, pin, "20", tail[:2])
    if version != b"21":
        raise MessageError(f"TRACEBUF2 of {nslc}: version {shown(version)} is not '20' or '21'.")
    factor = kind.factor.unpack(tail)[0]
    known = factor if math.isfinite(factor) else None
    return TraceBuf(nslc, start, end, rate, samples, kind.name, pin, "21", b"\0\0", known)


def decode_tracebuf(payload: bytes) -> TraceBuf:
    """Read a TRACEBUF, the older form without location and version.

    Parameters, result and errors are those of :func:`decode_tracebuf2`.
    """
    kind = _KINDS.get(payload[57:60]) or _no_kind(payload, _SCN)
    if len(payload) < HEADER_BYTES:
        raise _too_short(payload, _SCN)
    pin, count, start, end, rate, codes, _, tail = kind.scn.unpack_from(payload)
    nslc = _read_scn(codes)
    samples = _read_samples(payload, kind, "TRACEBUF", nslc, count, start, end, rate)
    return TraceBuf(nslc, start, end, rate, samples, kind.name, pin, "20", tail[:2])


def encode_tracebuf2(buf: TraceBuf, *, allow_float: bool = False) -> bytes:
    """Write a TRACEBUF2.

    Parameters
    ----------
    buf
        What it shall say.
    allow_float
        Whether samples may be in floating point, which Earthworm's own readers refuse.

    Returns
    -------
    bytes
        64 bytes of header and the samples, in the byte order of the data type.

    Raises
    ------
    MessageError
        If the message has no room for a value, or a reader would refuse it.
    """
    codes = _write_codes(buf.nslc, _SCNL)
    kind = _writable(buf, _SCNL, allow_float)
    if buf.version == "20":
        if buf.conversion_factor is not None:
            raise MessageError(
                f"TRACEBUF2 of {buf.nslc}: version '20' has no room for the conversion factor "
                f"{buf.conversion_factor}."
            )
        tail = _quality(buf, _SCNL)
    elif buf.version == "21":
        factor = buf.conversion_factor
        if factor is None or not abs(factor) <= _FLOAT32:
            raise MessageError(
                f"TRACEBUF2 of {buf.nslc}: the conversion factor {factor} of version '21' is not "
                "a finite number of 4 bytes."
            )
        if buf.quality.strip(b"\0"):
            raise MessageError(
                f"TRACEBUF2 of {buf.nslc}: version '21' has no room for the quality "
                f"{shown(buf.quality)}."
            )
        tail = kind.factor.pack(factor)
    else:
        raise MessageError(
            f"TRACEBUF2 of {buf.nslc}: version {shown(buf.version)} is not '20' or '21'."
        )
    header = kind.scnl.pack(
        buf.pin,
        len(buf.samples),
        buf.starttime,
        buf.endtime,
        buf.sampling_rate,
        codes,
        buf.version.encode(),
        kind.name.encode(),
        tail,
    )
    return header + _write_samples(buf, kind)


def encode_tracebuf(buf: TraceBuf, *, allow_float: bool = False) -> bytes:
    """Write a TRACEBUF, the older form, whose channel code may have 8 characters.

    Parameters, result and errors are those of :func:`encode_tracebuf2`. A location is an error
    too: without it, the samples of two channels could become those of one.
    """
    codes = _write_codes(buf.nslc, _SCN)
    kind = _writable(buf, _SCN, allow_float)
    if buf.version != "20" or buf.conversion_factor is not None:
        raise MessageError(
            f"TRACEBUF of {buf.nslc}: there is no room for version {shown(buf.version)} and the "
            f"conversion factor {buf.conversion_factor}."
        )
    header = kind.scn.pack(
        buf.pin,
        len(buf.samples),
        buf.starttime,
        buf.endtime,
        buf.sampling_rate,
        codes,
        kind.name.encode(),
        _quality(buf, _SCN),
    )
    return header + _write_samples(buf, kind)


def _read_samples(
    payload: bytes,
    kind: _Kind,
    message: str,
    nslc: NSLC,
    count: int,
    start: float,
    end: float,
    rate: float,
) -> npt.NDArray[np.generic]:
    """Check the header, and read the samples, shape (sample,)."""
    _check(kind, message, nslc, count, start, end, rate)
    if len(payload) < HEADER_BYTES + count * kind.size:
        raise MessageError(
            f"{message} of {nslc}: its {len(payload)} bytes have room for "
            f"{(len(payload) - HEADER_BYTES) // kind.size} samples; its header says {count}."
        )
    samples = np.frombuffer(payload, kind.samples, count, HEADER_BYTES)
    return samples.byteswap() if kind.swapped else samples


def _write_samples(buf: TraceBuf, kind: _Kind) -> bytes:
    return (buf.samples.byteswap() if kind.swapped else buf.samples).tobytes()


def _check(
    kind: _Kind, message: str, nslc: NSLC, count: int, start: float, end: float, rate: float
) -> None:
    """Raise MessageError if number of samples, rate and times don't make sense together."""
    if not 0 < count <= kind.most:
        raise MessageError(
            f"{message} of {nslc}: {count} samples are not 1 to {kind.most}, which a message of "
            f"type {kind.name} has."
        )
    if not 0 < rate < math.inf:
        raise MessageError(f"{message} of {nslc}: sampling rate {rate} is not a rate in Hz.")
    if not (_EARLIEST <= start < _LATEST and _EARLIEST <= end < _LATEST):
        raise MessageError(
            f"{message} of {nslc}: start time {start} and end time {end} are not both within the "
            "years 1900 to 2199."
        )
    # In samples, not in seconds: those are known to 2.4e-7 only.
    if abs((end - start) * rate - (count - 1)) > _SLACK:
        raise MessageError(
            f"{message} of {nslc}: end time {end} is more than {_SLACK:.0f} samples away from "
            f"where {count} samples at {rate} Hz end that start at {start}."
        )


def _writable(buf: TraceBuf, layout: _Codes, allow_float: bool) -> _Kind:
    """Kind of the samples, once what both forms have in common is known to fit."""
    where = f"{layout.name} of {buf.nslc}"
    kind = _KINDS.get(buf.datatype.encode("ascii", "replace") + b"\0")
    if kind is None:
        raise MessageError(f"{where}: there is no data type {shown(buf.datatype)}.")
    if kind.name in _FLOATS and not allow_float:
        raise MessageError(
            f"{where}: Earthworm's readers refuse type {kind.name}; scale the samples to integers."
        )
    if buf.samples.dtype != kind.samples or buf.samples.ndim != 1:
        raise MessageError(
            f"{where}: samples of type {buf.samples.dtype} and shape {buf.samples.shape} are not "
            f"the one-dimensional {kind.samples} of type {kind.name}."
        )
    if not -(2**31) <= buf.pin < 2**31:
        raise MessageError(f"{where}: pin {buf.pin} has no room in 4 bytes.")
    times = buf.starttime, buf.endtime, buf.sampling_rate
    _check(kind, layout.name, buf.nslc, len(buf.samples), *times)
    return kind


def _quality(buf: TraceBuf, layout: _Codes) -> bytes:
    if len(buf.quality) != 2:
        raise MessageError(
            f"{layout.name} of {buf.nslc}: quality {shown(buf.quality)} is not 2 bytes."
        )
    return buf.quality + b"\0\0"


def _no_kind(payload: bytes, layout: _Codes) -> _Kind:
    """Raise what is wrong with a message whose data type is unknown."""
    if len(payload) < HEADER_BYTES:
        raise _too_short(payload, layout)
    raise MessageError(
        f"{layout.name}: data type {shown(payload[57:60])} is none of i2, i4, s2, s4, f4, f8, t4 "
        "and t8 with a NUL behind it."
    )


def _too_short(payload: bytes, layout: _Codes) -> MessageError:
    return MessageError(
        f"{layout.name}: {len(payload)} bytes are fewer than the {HEADER_BYTES} of the header."
    )


_Reader: TypeAlias = Callable[[bytes], NSLC]


def _reader(layout: _Codes) -> _Reader:
    """A function from the bytes of the codes to the channel; many packets have the same."""
    sizes = layout[1:]
    fields = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]
    kinds = ("station", "network", "channel", "location")

    @lru_cache(maxsize=_CHANNELS)
    def read(raw: bytes) -> NSLC:
        station, network, channel, location = (
            _read_code(raw[field], kind, layout.name) if raw[field] else ""
            for field, kind in zip(fields, kinds, strict=True)
        )
        nslc = NSLC.clean(network, station, location, channel)
        if not (nslc.station and nslc.channel):
            raise MessageError(f"{layout.name} of {nslc}: the station or channel code is empty.")
        return nslc

    return read


def _read_code(raw: bytes, kind: str, message: str) -> str:
    code, end, _ = raw.partition(b"\0")
    text = code.decode("latin-1").strip(" ")
    if not end:
        raise MessageError(f"{message}: the {kind} code {shown(raw)} has no NUL at its end.")
    if not is_code(text):
        raise MessageError(f"{message}: {shown(text)} is no {kind} code.")
    return text


_read_scnl = _reader(_SCNL)
_read_scn = _reader(_SCN)


@lru_cache(maxsize=8192)
def _write_codes(nslc: NSLC, layout: _Codes) -> bytes:
    fields = (
        ("station", nslc.station, layout.station),
        ("network", nslc.network, layout.network),
        ("channel", nslc.channel, layout.channel),
        ("location", nslc.location or ("--" if layout.location else ""), layout.location or 1),
    )
    for kind, code, size in fields:
        where = f"{layout.name} of {shown(str(nslc))}: the {kind} code {shown(code)}"
        if not is_code(code):
            raise MessageError(f"{where} has blanks or characters that are not visible ASCII.")
        if len(code) >= size:
            raise MessageError(f"{where} has more than {size - 1} characters.")
        if not code and kind in ("station", "channel"):
            raise MessageError(f"{where} is empty.")
    parts = (code.encode().ljust(size, b"\0") for _, code, size in fields)
    return b"".join(parts)[: sum(layout[1:])]
