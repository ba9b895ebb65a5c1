"""Probability traces of one process, as a miniSEED file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from obspy import Stream

from ml_prediction.sinks.base import make_sinks
from ml_prediction.sinks.folder import OutputFolder

PROBABILITIES: Final = "predictions.mseed"


class ProbabilityFile:
    """Writes probabilities below a folder; miniSEED files can be put together end to end.

    Parameters
    ----------
    folder
        The file goes to a folder within it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = OutputFolder(folder / "probabilities")
        (self._sink,) = make_sinks(["mseed"], self._folder)

    def write(self, probabilities: Stream) -> None:
        """Append what became final."""
        self._sink.write([], [], probabilities)

    def close(self) -> Path:
        """Finish the file; returns its path."""
        self._sink.close()
        self._folder.commit()
        return self._folder.path / PROBABILITIES

    def abort(self) -> None:
        """Let go of the file, without finishing it."""
        self._sink.abort()
        self._folder.abort()
