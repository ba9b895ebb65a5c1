"""Packets that came too late, or from the future, as miniSEED: nothing is thrown away."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from ml_prediction.core.intake import plain
from ml_prediction.core.packets import Packet
from ml_prediction.sinks.probabilities import LONGEST_CODES
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_utc

LATE_SUFFIX: Final = ".late.mseed"
"""Of the files' names: a run of driver_local on nothing else marks its picks as late."""


class LateArchive:
    """Appends packets to one file for each channel and day.

    Parameters
    ----------
    folder
        Made if it does not exist.

    Raises
    ------
    OSError
        If it can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, packets: Iterable[Packet]) -> int:
        """Append packets; the number of those that have no form in miniSEED.

        Raises
        ------
        OSError
            If the disk is full or the like.
        """
        refused = 0
        for packet in packets:
            data = _records(packet)
            if data is None:
                refused += 1
                continue
            day = to_utc(packet.start_ns).strftime("%Y-%m-%d")
            name = f"{packet.nslc}.{day}{LATE_SUFFIX}"
            with (self.folder / name).open("ab") as handle:
                handle.write(data)
        return refused


def _fits(nslc: NSLC) -> bool:
    """Whether miniSEED has room for the codes; it would cut them."""
    return all(len(code) <= most for code, most in zip(nslc, LONGEST_CODES, strict=True))


def _records(packet: Packet) -> bytes | None:
    if not len(packet) or not plain(packet.nslc) or not _fits(packet.nslc):
        return None
    kind = packet.samples.dtype
    if kind.kind == "i" and kind.itemsize > 4:
        return None
    trace = packet.to_trace()
    if kind.kind == "i":
        trace.data = packet.samples.astype(np.int32)
    buffer = io.BytesIO()
    try:
        trace.write(buffer, format="MSEED", reclen=512)
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        return None
    return buffer.getvalue()
