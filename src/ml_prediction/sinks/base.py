"""What every sink can do, and the sinks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from obspy import Stream

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OutputFolder


class Sink(Protocol):
    """Where results go. Results may come in any number of calls."""

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
        Of ``csv`` (picks.csv, detections.csv), ``parquet`` (picks.parquet), ``quakeml``
        (picks.xml), ``markers`` (picks.markers), ``mseed`` (predictions.mseed).
    folder
        Commits or removes what the sinks write.

    Raises
    ------
    ConfigurationError
        If a format is unknown, or an optional library is missing.
    """
    names = list(dict.fromkeys(name.strip().lower() for name in formats if name.strip()))
    unknown = [name for name in names if name not in SINKS]
    if unknown:
        raise ConfigurationError(
            f"Unknown format {', '.join(unknown)}: choose from {', '.join(SINKS)}."
        )
    sinks: list[Sink] = []
    try:
        for name in names:
            sinks.append(SINKS[name](folder))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks


def _csv(folder: OutputFolder) -> Sink:
    from ml_prediction.sinks.tables import CsvSink

    return CsvSink(folder)


def _parquet(folder: OutputFolder) -> Sink:
    from ml_prediction.sinks.parquet import ParquetSink

    return ParquetSink(folder)


def _quakeml(folder: OutputFolder) -> Sink:
    from ml_prediction.sinks.quakeml import QuakemlSink

    return QuakemlSink(folder)


def _markers(folder: OutputFolder) -> Sink:
    from ml_prediction.sinks.markers import MarkersSink

    return MarkersSink(folder)


def _mseed(folder: OutputFolder) -> Sink:
    from ml_prediction.sinks.probabilities import ProbabilitySink

    return ProbabilitySink(folder)


SINKS: Final[dict[str, Callable[[OutputFolder], Sink]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "quakeml": _quakeml,
    "markers": _markers,
    "mseed": _mseed,
}
"""Sinks by the name of their format, each imported when it is first used."""
