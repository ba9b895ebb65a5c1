"""Records of a buffer through libmseed, parsed into one structure that is used again and again.

pymseed's own iterators make a Python object for each record and ask it for each of its fields;
an archive has a hundred million records.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pymseed import MiniSEEDError, sourceid2nslc
from pymseed.clib import clibmseed, ffi
from pymseed.logging import begin_operation

from ml_prediction.util.codes import NSLC

HEADERS: Final[int] = clibmseed.MSF_ATENDOFFILE
"""Parse headers only. The buffer is all there is, so that a record without blockette 1000 ends
where the next one begins."""

HEADERS_OF_PART: Final[int] = 0
"""The same, of a buffer that is the beginning of more."""

SAMPLES: Final[int] = HEADERS | clibmseed.MSF_UNPACKDATA | clibmseed.MSF_VALIDATECRC
"""Decode the samples, too, and check them."""

_TYPES: Final[dict[bytes, np.dtype[Any]]] = {
    b"i": np.dtype(np.int32),
    b"f": np.dtype(np.float32),
    b"d": np.dtype(np.float64),
}


class Parser:
    """Parses records of a buffer, one at a time.

    Parameters
    ----------
    buffer
        Records one after the other.
    flags
        HEADERS, HEADERS_OF_PART or SAMPLES.
    """

    def __init__(self, buffer: bytes | memoryview, flags: int) -> None:
        begin_operation()
        self._whole = ffi.from_buffer(buffer)
        self._flags = flags
        self._place = ffi.new("MS3Record **")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        clibmseed.msr3_free(self._place)

    def at(self, offset: int) -> Any:
        """Structure in libmseed of the record at an offset; good until the next one is asked for.

        Raises
        ------
        MiniSEEDError
            Where there is no record, or one that is cut short (status MS_ENDOFFILE).
        """
        left = len(self._whole) - offset
        status = clibmseed.msr3_parse(self._whole + offset, left, self._place, self._flags, 0)
        if status:
            raise MiniSEEDError(_status(status, left, offset), "no whole record")
        return self._place[0]

    def fill(self, samples: npt.NDArray[Any], counts: Sequence[int], length: int) -> None:
        """Decode all records, of one length, into one array.

        Parameters
        ----------
        samples
            Shape (sample,), of the records' type.
        counts
            Samples of each record.

        Raises
        ------
        MiniSEEDError
            As `at`.
        ValueError
            If a record holds not so many samples.
        """
        target = ffi.from_buffer(samples)
        size, place, flags, parse = samples.itemsize, self._place, self._flags, clibmseed.msr3_parse
        at, done = self._whole, 0
        for number, count in enumerate(counts):
            status = parse(at, length, place, flags, 0)
            if status:
                raise MiniSEEDError(_status(status, length, number * length), "no whole record")
            record = place[0]
            if record.numsamples != count:
                raise ValueError("not a whole record of samples")
            ffi.memmove(target + done, record.datasamples, count * size)
            at, done = at + length, done + count * size


def _status(status: int, remaining: int, offset: int) -> int:
    """What a failed parse means: a positive status is the number of bytes that are missing."""
    if remaining < clibmseed.MINRECLEN:
        return int(clibmseed.MS_ENDOFFILE if offset else clibmseed.MS_NOTSEED)
    return int(clibmseed.MS_ENDOFFILE) if status > 0 else status


def channel(record: Any) -> NSLC:
    """Channel of a record.

    Raises
    ------
    ValueError
        If its codes are no text.
    """
    return channel_of(ffi.string(record.sid))


def rate(record: Any) -> float:
    """Sampling rate in Hz."""
    given: float = record.samprate
    return given if given >= 0 else float(clibmseed.msr3_sampratehz(record))


def sample_type(record: Any) -> np.dtype[Any] | None:
    """Type of the decoded samples; None for text."""
    return _TYPES.get(record.sampletype)


def sample_bytes(record: Any, item_size: int) -> bytes:
    """Copy of the decoded samples: libmseed uses its memory again."""
    return bytes(ffi.buffer(record.datasamples, record.numsamples * item_size))


@lru_cache(maxsize=100_000)
def channel_of(sourceid: bytes | str) -> NSLC:
    """Channel of an FDSN source identifier.

    Raises
    ------
    ValueError
        If it is not one.
    """
    text = sourceid if isinstance(sourceid, str) else sourceid.decode("utf-8")
    return NSLC.clean(*sourceid2nslc(text))
