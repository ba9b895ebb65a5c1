"""Packets from files, all channels interleaved in event time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from obspy import UTCDateTime

from ml_prediction.core.packets import Packet
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources.inputs import expand
from ml_prediction.sources.problems import Problem, ProblemLedger
from ml_prediction.sources.scan import FileInfo, scan
from ml_prediction.sources.selection import Selection
from ml_prediction.sources.sweep import Sweep
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import seconds_to_ns, to_ns


class FileSource:
    """Files that have been looked at and can be read in time order; see `open_files`.

    Attributes
    ----------
    channels
        All wanted channels, sorted.
    span
        Time of the first and of the last wanted sample, nanoseconds since 1970 (UTC), to a
        record.
    total_samples
        About how many samples there are.
    """

    def __init__(self, files: list[FileInfo], selection: Selection, ledger: ProblemLedger) -> None:
        self._files = files
        self._selection = selection
        self._ledger = ledger
        self.channels: tuple[NSLC, ...] = tuple(sorted({c for f in files for c in f.channels}))
        start_ns = min(info.start_ns for info in files)
        end_ns = max(info.end_ns for info in files)
        if selection.start_ns is not None:
            start_ns = max(start_ns, selection.start_ns)
        if selection.end_ns is not None:
            end_ns = min(end_ns, selection.end_ns)
        self.span: tuple[int, int] = (start_ns, end_ns)
        self.total_samples: int = sum(_samples_within(info, self.span) for info in files)

    @property
    def problems(self) -> list[Problem]:
        """Everything that was not handed over so far, by file and reason.

        What the user did not select is not a problem and not in here.
        """
        return self._ledger.all

    def batches(self, seconds: float = 5.0) -> Iterator[list[Packet]]:
        """All packets, in batches that each cover an interval of event time.

        Parameters
        ----------
        seconds
            Length of an interval. Its limits are multiples of it since 1970. At most half the
            pipeline's lateness, so that nothing is late.

        Yields
        ------
        list of Packet
            All channels' samples within one interval, in time order. Overlapping and duplicate
            data are handed on as they are. Intervals without data are left out.

        Raises
        ------
        ConfigurationError
            If ``seconds`` is not positive.
        """
        if not 0 < seconds < float("inf"):
            raise ConfigurationError(f"A batch of {seconds} s is impossible: use e.g. 5.")
        width_ns = max(1, seconds_to_ns(seconds))
        return Sweep(self._files, self._selection, self._ledger, width_ns).batches()


def open_files(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: Iterable[str] = ("*",),
    starttime: UTCDateTime | None = None,
    endtime: UTCDateTime | None = None,
) -> FileSource:
    """Look at files, and get ready to read them in time order.

    Parameters
    ----------
    inputs
        Files, folders, globs, or the root of an SDS archive; see `expand`. miniSEED is read
        record by record with libmseed, any other format whole with ObsPy.
    channels
        Patterns for the channel code (``HH?``) or the full code (``UW.GNW..HH?``).
    starttime, endtime
        First and last time wanted, inclusive, to the sample.

    Returns
    -------
    FileSource
        Files that can't be used are in its ``problems``.

    Raises
    ------
    ConfigurationError
        If an input does not exist or the range of time is empty.
    DataError
        If no file has any sample that can be used and is wanted.
    """
    selection = Selection(
        channels,
        None if starttime is None else to_ns(starttime),
        None if endtime is None else to_ns(endtime),
    )
    ledger = ProblemLedger()
    found = expand(inputs, selection)
    scanned = (scan(file, selection, ledger) for file in found)
    files = [info for info in scanned if info is not None]
    if not files:
        raise DataError(_nothing(len(found), ledger))
    return FileSource(files, selection, ledger)


def _nothing(looked_at: int, ledger: ProblemLedger) -> str:
    said = [problem.message for problem in ledger.all]
    more = f" And {len(said) - 3} more." if len(said) > 3 else ""
    if not said:
        return (
            f"None of the {looked_at} files has samples of the wanted channels and times: "
            "widen --channels, --starttime, --endtime."
        )
    return f"None of the {looked_at} files can be used. {' '.join(said[:3])}{more}"


def _samples_within(info: FileInfo, span: tuple[int, int]) -> int:
    length = info.end_ns - info.start_ns
    inside = min(info.end_ns, span[1]) - max(info.start_ns, span[0])
    if length <= 0 or inside >= length:
        return info.samples
    return max(0, round(info.samples * inside / length))
