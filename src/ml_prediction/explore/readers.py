"""Files of picks and reference arrivals; what a file is, its contents say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import Arrivals
from ml_prediction.explore.csv_arrivals import read_csv_arrivals, read_parquet_arrivals
from ml_prediction.explore.marker_arrivals import FIRST_WORDS, read_marker_arrivals
from ml_prediction.explore.processed import Processed, read_processed
from ml_prediction.explore.quakeml_arrivals import read_quakeml_arrivals

IN_FOLDER: Final = ("picks.csv", "picks.parquet", "picks.xml", "picks.markers", "metadata.csv")
"""What is read of a folder: the first of these."""


def read_arrivals(path: str | os.PathLike[str]) -> Arrivals:
    """Read picks or reference arrivals.

    Parameters
    ----------
    path
        QuakeML, CSV (``ml-prediction pick``'s, or any with ``network``, ``station``, ``phase`` and
        ``time``), Parquet, SeisBench's metadata.csv, a snuffler marker file; or a folder with one.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    DataError
        If it is none of these, or damaged; the message names the file and line.
    """
    file = _file_of(Path(path))
    try:
        with file.open("rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise ConfigurationError(f"Can't read {str(file)!r}: {error.strerror}.") from error
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PAR1"):
        return read_parquet_arrivals(file)
    if start.startswith(b"<"):
        return read_quakeml_arrivals(file)
    if start.startswith(FIRST_WORDS.encode()):
        return read_marker_arrivals(file)
    if b"," in start.split(b"\n", 1)[0] and b"\0" not in start:
        return read_csv_arrivals(file)
    first_line = start.split(b"\n", 1)[0]
    for sign, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if sign in first_line and b"\0" not in start:
            raise DataError(
                f"{file}, line 1: its cells are separated by {name}; save it as CSV with commas "
                "between cells and points in numbers."
            )
    raise DataError(
        f"{file}: neither QuakeML, nor CSV with a header line, nor Parquet, nor a snuffler marker "
        "file; give one of these."
    )


def read_run(path: str | os.PathLike[str]) -> Processed | None:
    """What the run that made these picks has looked at, from the summary.json beside them.

    Raises
    ------
    DataError
        If there is one that can't be read.
    """
    place = Path(path)
    summary = (place if place.is_dir() else place.parent) / "summary.json"
    if not summary.is_file():
        return None
    try:
        return read_processed(json.loads(summary.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{summary}: not the summary of a run of `ml-prediction pick` ({error}); move it away, "
            "and say with --stations, --from and --to what was picked."
        ) from error


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in IN_FOLDER:
        if (path / name).is_file():
            return path / name
    raise ConfigurationError(f"{str(path)!r} has none of {', '.join(IN_FOLDER)}: name a file.")
