"""The time of instruments that have nothing for long in files: their sites need not wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.sources.file_info import FileInfo
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import seconds_to_ns, to_utc

PATIENCE_NS: Final = seconds_to_ns(600.0)
"""How long a site waits: its other instruments' data are kept in memory for so long."""


class SiteTime:
    """Tells a pipeline when an instrument of a site has no data for long, or none any more.

    The picks are the same without it: only memory is spared. (Where the end of a file is only
    estimated, as of SDS day files, the end of an instrument's data may be taken for a gap: its
    last 0.5 s then have no probabilities.)

    Parameters
    ----------
    pipeline
        Its sites are looked after.
    files
        What is to be pushed, in order of time.
    width
        Seconds: no sample is pushed after one that is so much younger.
    """

    def __init__(self, pipeline: Pipeline, files: Iterable[FileInfo], width: float) -> None:
        self._pipeline = pipeline
        self._width_ns = seconds_to_ns(width)
        self._heard = dict.fromkeys((i for site in pipeline.sites for i in site), 0)
        self._ends: dict[Instrument, int] = {}
        for extent in (extent for info in files for extent in info.extents):
            instrument = extent.nslc.instrument
            self._ends[instrument] = max(self._ends.get(instrument, 0), extent.end_ns)

    def after(self, batch: Sequence[Packet]) -> Iterator[Result]:
        """What comes out when it is told what time it is after a batch has been pushed."""
        if not self._heard or not batch:
            return
        for packet in batch:
            instrument = packet.nslc.instrument
            if instrument in self._heard:
                self._heard[instrument] = max(self._heard[instrument], packet.end_ns)
        now_ns = max(packet.end_ns for packet in batch) - self._width_ns
        for instrument, heard_ns in list(self._heard.items()):
            if now_ns - heard_ns < PATIENCE_NS:
                continue
            if self._ends.get(instrument, 0) < now_ns:
                del self._heard[instrument]
                yield self._pipeline.finish(instrument)
            else:
                self._heard[instrument] = now_ns
                yield self._pipeline.advance(instrument, to_utc(now_ns))
