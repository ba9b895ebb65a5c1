"""Picks as markers for snuffler, Pyrocko's waveform browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from obspy import Stream

from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.plain import plain_code
from ml_prediction.util.times import isoformat, seconds_to_ns, to_ns, to_utc

HEADER: Final = "# Snuffler Markers File Version 0.2\n"

KINDS: Final = {"P": 1, "S": 2}
"""Snuffler's colour classes of phases; others are 0."""

_POLARITIES: Final = {"up": "1", "down": "-1"}


class MarkersSink:
    """Writes picks.markers: a phase marker from time - sigma to time + sigma for each pick.

    The format is that of Pyrocko's ``pyrocko.gui.snuffler.marker``, version 0.2.
    """

    FILES: ClassVar[tuple[str, ...]] = ("picks.markers",)

    def __init__(self, folder: OutputFolder) -> None:
        self._file = folder.part(self.FILES[0]).open("w", encoding="utf-8")
        self._file.write(HEADER)

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None = None,
    ) -> None:
        """Append one line for each pick."""
        self._file.writelines(marker_line(pick) for pick in picks)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    abort = close


def marker_line(pick: Pick) -> str:
    """One line of a markers file, with its line end.

    Columns: ``phase:``, start, end and length (one time only where sigma is not a positive
    number), kind, channel, event (three columns, none here), phase, polarity, automatic.
    """
    time_ns = to_ns(pick.time)
    sigma_ns = seconds_to_ns(pick.sigma) if math.isfinite(pick.sigma) else 0
    if sigma_ns >= 1000:
        start, end = _stamp(time_ns - sigma_ns), _stamp(time_ns + sigma_ns)
        span = [start, end, f"{2 * pick.sigma:.6f}"]
    else:
        span = [_stamp(time_ns)]
    codes = (pick.network, pick.station, pick.location, pick.channel)
    channel = ".".join(_column(code) for code in codes)
    polarity = _POLARITIES.get(pick.polarity, "None")
    columns = ["phase:", *span, str(KINDS.get(pick.phase, 0)), channel]
    columns += ["None", "None", "None", _column(pick.phase) or "None", polarity, "True"]
    return " ".join(columns) + "\n"


def _column(code: str) -> str:
    # Blanks divide columns, dots the codes of a channel, commas channels.
    return plain_code(code).replace(".", "_").replace(",", "_")


def _stamp(time_ns: int) -> str:
    return isoformat(to_utc(time_ns)).replace("T", " ").removesuffix("Z")
