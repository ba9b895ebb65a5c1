"""What is known of a file before it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS


@dataclass(frozen=True, slots=True)
class Extent:
    """Wanted part of one channel of a file.

    Attributes
    ----------
    nslc
        Channel.
    start_ns, end_ns
        Times of the first and the last sample, to a record.
    samples
        How many; an estimate for SDS day files.
    """

    nslc: NSLC
    start_ns: int
    end_ns: int
    samples: int

    def samples_within(self, span: tuple[int, int]) -> int:
        """About how many samples lie within a span of time."""
        length = self.end_ns - self.start_ns
        inside = min(self.end_ns, span[1]) - max(self.start_ns, span[0])
        if length <= 0 or inside >= length:
            return self.samples
        return max(0, round(self.samples * inside / length))


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file and the channels wanted of it.

    Attributes
    ----------
    path, format
        File, and ObsPy's name of its format.
    extents
        One for each wanted channel.
    open_ns
        No wanted sample is earlier, so the file is opened when the sweep gets here.
    tells
        Whether to report a fault of the whole file: of the sources that `FileSource.select`
        makes, that which has the file's first channel does.
    """

    path: Path
    format: str
    extents: tuple[Extent, ...]
    open_ns: int
    tells: bool = True

    @property
    def channels(self) -> tuple[NSLC, ...]:
        """Wanted channels in it."""
        return tuple(extent.nslc for extent in self.extents)

    @property
    def samples(self) -> int:
        """How many samples are wanted."""
        return sum(extent.samples for extent in self.extents)

    def select(self, channels: Collection[NSLC]) -> FileInfo | None:
        """The file with some of its channels; None if it has none of them."""
        chosen = tuple(extent for extent in self.extents if extent.nslc in channels)
        if not chosen:
            return None
        return replace(self, extents=chosen, tells=self.tells and chosen[0] == self.extents[0])


def covered_seconds(extents: Iterable[Extent], span: tuple[int, int]) -> float:
    """Length in seconds of the union of extents within a span of time."""
    covered, reached = 0, span[0]
    for extent in sorted(extents, key=lambda extent: extent.start_ns):
        end_ns = min(extent.end_ns, span[1])
        if end_ns > reached:
            covered += end_ns - max(extent.start_ns, reached)
            reached = end_ns
    return covered / NANOSECONDS
