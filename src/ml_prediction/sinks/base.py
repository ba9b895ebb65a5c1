"""What every sink can do, and the sinks by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Protocol

from obspy import Stream

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.markers import MarkersSink
from ml_prediction.sinks.parquet import ParquetSink
from ml_prediction.sinks.probabilities import ProbabilitySink
from ml_prediction.sinks.quakeml import QuakemlSink
from ml_prediction.sinks.tables import CsvSink


class Sink(Protocol):
    """Where results go. Results may come in any number of calls.

    ``FILES`` are the names of the files that it writes.
    """

    FILES: ClassVar[tuple[str, ...]]

    def __init__(self, folder: OutputFolder) -> None: ...

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None,
    ) -> None:
        """Take what has become final."""

    def close(self) -> None:
        """Finish the output; it appears when its OutputFolder commits."""

    def abort(self) -> None:
        """Let go of the output, without finishing it; never raises because of its state."""


def make_sinks(formats: Iterable[str], folder: OutputFolder) -> list[Sink]:
    """Sinks that write into a folder.

    Parameters
    ----------
    formats
        Keys of SINKS; what each writes is said by `files_of`.
    folder
        Commits or removes what the sinks write.

    Raises
    ------
    ConfigurationError
        If a format is unknown, or an optional library is missing.
    """
    names = list(dict.fromkeys(name.strip().lower() for name in formats if name.strip()))
    _check(names)
    sinks: list[Sink] = []
    try:
        for name in names:
            sinks.append(SINKS[name](folder))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks


def files_of(format_name: str) -> tuple[str, ...]:
    """Names of the files that a format writes.

    Raises
    ------
    ConfigurationError
        If the format is unknown.
    """
    _check([format_name])
    return SINKS[format_name].FILES


def _check(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in SINKS]
    if unknown:
        raise ConfigurationError(
            f"Unknown format {', '.join(unknown)}: choose from {', '.join(SINKS)}."
        )


SINKS: Final[dict[str, type[Sink]]] = {
    "csv": CsvSink,
    "parquet": ParquetSink,
    "quakeml": QuakemlSink,
    "markers": MarkersSink,
    "mseed": ProbabilitySink,
}
"""Sinks by the name of their format. Large libraries are imported when a sink is made."""
