"""Packets from files, all channels interleaved in event time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from obspy import UTCDateTime

from ml_prediction.core.packets import Packet
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources.file_info import FileInfo, covered_seconds
from ml_prediction.sources.inputs import InputFile, expand
from ml_prediction.sources.problems import Problem, ProblemLedger, first_messages
from ml_prediction.sources.scan import scan
from ml_prediction.sources.selection import Selection
from ml_prediction.sources.sweep import Sweep
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import seconds_to_ns, to_ns


class FileSource:
    """Files that have been looked at and can be read in time order; see `open_files`.

    It can be pickled: another process reads the files without looking at them again.

    Attributes
    ----------
    files
        What is known of each.
    channels
        All wanted channels, sorted.
    span
        Time of the first and of the last wanted sample, nanoseconds since 1970 (UTC), to a
        record.
    total_samples
        About how many samples there are.
    covered_s
        Seconds of ``span`` in which any file has data: of each channel of a file, from its
        first sample to its last.
    """

    def __init__(
        self, files: Iterable[FileInfo], selection: Selection, ledger: ProblemLedger
    ) -> None:
        self.files: tuple[FileInfo, ...] = tuple(files)
        self._selection = selection
        self._ledger = ledger
        extents = [extent for info in self.files for extent in info.extents]
        self.channels: tuple[NSLC, ...] = tuple(sorted({extent.nslc for extent in extents}))
        start_ns = min(extent.start_ns for extent in extents)
        end_ns = max(extent.end_ns for extent in extents)
        if selection.start_ns is not None:
            start_ns = max(start_ns, selection.start_ns)
        if selection.end_ns is not None:
            end_ns = min(end_ns, selection.end_ns)
        self.span: tuple[int, int] = (start_ns, end_ns)
        self.total_samples: int = sum(extent.samples_within(self.span) for extent in extents)
        self.covered_s: float = covered_seconds(extents, self.span)

    @property
    def problems(self) -> list[Problem]:
        """Everything that was not handed over so far, by file and reason.

        What the user did not select is not a problem and not in here.
        """
        return self._ledger.all

    def select(self, channels: Iterable[NSLC]) -> FileSource:
        """Return a source of some of the channels, without looking at the files again.

        Parameters
        ----------
        channels
            Of ``channels``.

        Returns
        -------
        FileSource
            With a ledger of its own: its ``problems`` are those that come to light while it
            reads, and that this source does not know. Of the sources into which this one is
            dealt out, one alone tells of a fault of a whole file.

        Raises
        ------
        ConfigurationError
            If a channel is not here, or there are none.
        """
        chosen = frozenset(channels)
        strange = sorted(chosen.difference(self.channels))
        if strange or not chosen:
            named = ", ".join(map(str, strange)) or "no channel"
            raise ConfigurationError(f"Can't select {named}: choose from the source's channels.")
        files = [info for info in (f.select(chosen) for f in self.files) if info is not None]
        paths = {info.path for info in files}
        known = [problem for problem in self.problems if problem.path in paths]
        return FileSource(files, self._selection.only(chosen), ProblemLedger(known))

    def batches(self, seconds: float = 5.0) -> Iterator[list[Packet]]:
        """All packets, in batches that each cover an interval of event time.

        Parameters
        ----------
        seconds
            Length of an interval. Its limits are multiples of it since 1970. At most half the
            pipeline's lateness, so that nothing is late; any, if each batch is pushed at once.

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
        return Sweep(self.files, self._selection, self._ledger, width_ns).batches()


def open_files(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: Iterable[str] = ("*",),
    starttime: UTCDateTime | None = None,
    endtime: UTCDateTime | None = None,
    ledger: ProblemLedger | None = None,
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
    ledger
        Takes what can't be used, for those who want to know also if nothing can.

    Returns
    -------
    FileSource
        Files that can't be used are in its ``problems``.

    Raises
    ------
    ConfigurationError
        If an input is empty text or does not exist, or the range of time is empty.
    DataError
        If no file has any sample that can be used and is wanted.
    """
    selection = Selection(
        channels,
        None if starttime is None else to_ns(starttime),
        None if endtime is None else to_ns(endtime),
    )
    ledger = ProblemLedger() if ledger is None else ledger
    found = expand(inputs, selection, ledger)
    scanned = (scan(file, selection, ledger) for file in found)
    files = [info for info in scanned if info is not None]
    if not files:
        raise DataError(_nothing(found, ledger))
    return FileSource(files, selection, ledger)


def _nothing(found: list[InputFile], ledger: ProblemLedger) -> str:
    problems = ledger.all
    failed = {problem.path for problem in problems if problem.unit == "file"}
    if all(file.path in failed for file in found):
        text = f"None of the {len(found)} files can be used."
    else:
        text = (
            f"None of the {len(found)} files has usable samples of the wanted channels and times: "
            "widen the choice of channels and times."
        )
    return " ".join([text, *first_messages(problems)])
