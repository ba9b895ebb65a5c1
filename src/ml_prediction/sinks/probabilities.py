"""Probability traces as miniSEED, appended as they become final."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from obspy import Stream, Trace

from ml_prediction.core.joining import join
from ml_prediction.core.packets import Packet, packets_from_trace, runs
from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.codes import NSLC

LONGEST_CODES: Final = (2, 5, 2, 3)
"""Letters of network, station, location and channel in miniSEED 2."""

RECORD_BYTES: Final = 4096
SAMPLES_HELD: Final = 10_000
"""Samples of a trace that are held back, so that records are filled."""

_log = logging.getLogger(__name__)


class ProbabilitySink:
    """Writes predictions.mseed: float32 samples, split where they are NaN."""

    FILES: ClassVar[tuple[str, ...]] = ("predictions.mseed",)

    def __init__(self, folder: OutputFolder) -> None:
        self._file = folder.part(self.FILES[0]).open("wb")
        self._held: dict[NSLC, list[Packet]] = {}
        self._refused: set[NSLC] = set()

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None = None,
    ) -> None:
        """Append the samples of a stream; what comes first must be earlier."""
        for trace in probabilities or ():
            for packet in _valid_parts(trace):
                if not self._fits(packet.nslc):
                    continue
                held = self._held.setdefault(packet.nslc, [])
                held.append(packet)
                if sum(map(len, held)) >= SAMPLES_HELD:
                    self._flush(packet.nslc)

    def close(self) -> None:
        """Write what is held back and finish the file."""
        for nslc in list(self._held):
            self._flush(nslc)
        self._file.close()

    def abort(self) -> None:
        """Close the file."""
        self._file.close()

    def _fits(self, nslc: NSLC) -> bool:
        """Whether miniSEED can hold the codes; says once for each channel that it can't."""
        if all(len(code) <= longest for code, longest in zip(nslc, LONGEST_CODES, strict=True)):
            return True
        if nslc not in self._refused:
            self._refused.add(nslc)
            _log.warning(
                "%s is left out of %s: miniSEED's codes have at most %s letters; shorten it.",
                nslc,
                self.FILES[0],
                ", ".join(map(str, LONGEST_CODES)),
            )
        return False

    def _flush(self, nslc: NSLC) -> None:
        for packet in join(self._held.pop(nslc)):
            buffer = io.BytesIO()
            packet.to_trace().write(
                buffer, format="MSEED", encoding="FLOAT32", reclen=RECORD_BYTES, byteorder=">"
            )
            self._file.write(buffer.getvalue())


def _valid_parts(trace: Trace) -> list[Packet]:
    """Runs of numbers in a trace; masked samples and NaN are left out."""
    parts = []
    for packet in packets_from_trace(trace):
        samples = np.asarray(packet.samples, dtype=np.float32)
        whole = Packet(packet.nslc, packet.start_ns, packet.sampling_rate, samples)
        parts += [whole.slice(start, stop) for start, stop in runs(~np.isnan(samples))]
    return parts
