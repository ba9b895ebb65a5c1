"""Phase markers of snuffler, Pyrocko's waveform browser, as a table of arrivals.

The text form is that of ``pyrocko.gui.snuffler.marker``, version 0.2: a phase marker is ``phase:``,
its start (and, if it is a span, end and length), kind, channels, event (hash, date, time), phase,
polarity, automatic. The middle of a span is the time, half of it the uncertainty.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from pathlib import Path
from typing import Any, Final

from obspy import UTCDateTime

from ml_prediction.errors import DataError
from ml_prediction.explore.arrivals import MARKERS, Arrivals, Origin, phase_of, to_table
from ml_prediction.util.times import NANOSECONDS, YEARS, is_exact, to_ns

FIRST_WORDS: Final = "# Snuffler Markers File Version"
_VERSION: Final = "0.2"
_TAIL: Final = 8  # columns from the kind on
_SPAN: Final = 3  # further columns of a span


def read_marker_arrivals(path: Path) -> Arrivals:
    """Read a marker file.

    Raises
    ------
    DataError
        If a line is no marker; the message names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no text in UTF-8 ({error}).") from error
    if lines[0].removeprefix(FIRST_WORDS).strip() != _VERSION:
        raise DataError(f"{path}: only version {_VERSION} of marker files can be read; save anew.")
    rows: list[dict[str, Any]] = []
    origins: dict[str, Origin] = {}
    skipped: Counter[str] = Counter()
    for number, line in enumerate(lines[1:], 2):
        try:
            words = shlex.split(line)
            if not words:
                continue
            if words[0] == "event:":
                name, origin = _event(words)
                origins[name] = origin
            elif words[0] != "phase:":
                skipped["marker without phase"] += 1
            else:
                _take_phase(words, rows, skipped)
        except (ValueError, TypeError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: no marker ({error}): {line[:80]!r}."
            ) from error
    for row in rows:
        if row["event"] in origins:
            row["magnitude"] = origins[row["event"]].magnitude
    return Arrivals(path, MARKERS, to_table(rows), skipped, origins)


def _take_phase(words: list[str], rows: list[dict[str, Any]], skipped: Counter[str]) -> None:
    if len(words) not in (3 + _TAIL, 3 + _SPAN + _TAIL):
        raise ValueError(f"{len(words)} columns")
    start = end = _time(words[1], words[2])
    if len(words) > 3 + _TAIL:
        end = _time(words[3], words[4])
    channels, event, _, _, name = words[-_TAIL + 1 : -2]
    phase = phase_of(name)
    if phase is None:
        skipped["marker without phase" if name == "None" else f"phase {name}"] += 1
        return
    if channels == "None":
        skipped["marker of no channel"] += 1
        return
    for channel in channels.split(","):
        codes = channel.split(".")
        if len(codes) != 4:
            raise ValueError(f"channel {channel!r}")
        if any(letter in channel for letter in "*?"):
            skipped["marker of no one channel"] += 1
            continue
        rows.append(
            {
                **dict(zip(("network", "station", "location", "channel"), codes, strict=True)),
                "phase": phase,
                "time_ns": (start + end) // 2,
                "uncertainty_s": (end - start) / 2 / NANOSECONDS if end > start else math.nan,
                "event": "" if event == "None" else event,
            }
        )


def _event(words: list[str]) -> tuple[str, Origin]:
    latitude, longitude, _, magnitude = (
        math.nan if word == "None" else float(word) for word in words[5:9]
    )
    return words[4], Origin(_time(words[1], words[2]), latitude, longitude, magnitude)


def _time(day: str, clock: str) -> int:
    time = UTCDateTime(f"{day}T{clock}")
    if not is_exact(time):
        raise ValueError(f"times are from the years {YEARS}")
    return to_ns(time)
