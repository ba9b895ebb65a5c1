"""Tables of picks and detections as CSV, written row by row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar, Final

import numpy as np
from obspy import Stream, UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import isoformat

PICK_COLUMNS: Final = tuple(
    field.name
    for field in fields(Pick)
    if field.name not in ("amplitude_physical", "amplitude_unit")
)
"""Columns of picks.csv. Amplitudes are counts here, always; physical ones are in picks.parquet."""

DETECTION_COLUMNS: Final = tuple(field.name for field in fields(Detection))
"""Columns of detections.csv."""

_FORMATS: Final[dict[str, str]] = {
    "sigma": ".4f",
    "probability": ".4f",
    "scale": ".4f",
    "misfit": ".5f",
    "amplitude": ".6g",
    "snr": ".4g",
    "width": ".5f",
    "mu_error": ".6f",
    "coverage": ".4f",
    "polarity_confidence": ".3f",
}
"""Finer than anything that can be measured: seconds to 0.1 ms or better."""


class CsvSink:
    """Writes picks.csv and detections.csv.

    Times are ISO 8601 UTC with microseconds and Z; a value that does not exist (None or NaN)
    is an empty cell; several ids in one cell are joined by semicolons.
    """

    FILES: ClassVar[tuple[str, ...]] = ("picks.csv", "detections.csv")

    def __init__(self, folder: OutputFolder) -> None:
        self._files = [
            folder.part(name).open("w", newline="", encoding="utf-8") for name in self.FILES
        ]
        self._picks, self._detections = (csv.writer(f, lineterminator="\n") for f in self._files)
        self._picks.writerow(PICK_COLUMNS)
        self._detections.writerow(DETECTION_COLUMNS)

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None = None,
    ) -> None:
        """Append rows."""
        self._picks.writerows(_rows(picks, PICK_COLUMNS))
        self._detections.writerows(_rows(detections, DETECTION_COLUMNS))

    def close(self) -> None:
        """Finish both files."""
        for file in self._files:
            file.close()

    abort = close


def picks_csv(picks: Sequence[Pick]) -> bytes:
    """Picks as a CSV file in memory, as CsvSink writes it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PICK_COLUMNS)
    writer.writerows(_rows(picks, PICK_COLUMNS))
    return text.getvalue().encode()


def _rows(results: Sequence[Pick] | Sequence[Detection], columns: Sequence[str]) -> list[list[str]]:
    return [[_cell(name, getattr(result, name)) for name in columns] for result in results]


def _cell(name: str, value: Any) -> str:
    if isinstance(value, UTCDateTime):
        return isoformat(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(value)
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else format(value, _FORMATS.get(name, ".6g"))
    return "" if value is None else str(value)
