"""Picks and reference arrivals in one small table, whatever file they came from.

A table is a `pandas.DataFrame` with the columns of `COLUMNS`, one row for each arrival:

=============================== =====================================================
``network station location      codes; empty where unknown
channel``
``phase``                       ``P`` or ``S``
``time_ns``                     integer nanoseconds since 1970 (UTC)
``uncertainty_s``               standard deviation in seconds; of our picks, sigma
``probability width_s quality`` of our picks; NaN elsewhere
``event``                       name of the earthquake, or of the labelled window
``distance_km magnitude``       epicentral distance, and of the event; NaN where unknown
``model weights``               of our picks; empty elsewhere
``weights_sha256``              the same
``source``                      who made it: a CSV's column, QuakeML's evaluation mode
=============================== =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ml_prediction.errors import DataError
from ml_prediction.util.times import YEARS, is_exact, to_utc

TEXTS: Final = (
    "network",
    "station",
    "location",
    "channel",
    "phase",
    "event",
    "model",
    "weights",
    "weights_sha256",
    "source",
)
NUMBERS: Final = (
    "uncertainty_s",
    "probability",
    "width_s",
    "quality",
    "distance_km",
    "magnitude",
)
COLUMNS: Final = (*TEXTS, "time_ns", *NUMBERS)

MARKERS: Final = "snuffler markers"
"""The kind that has no room for a model's name."""

PHASES: Final = ("P", "S")
_BRANCHES: Final = ("", "n", "g", "b", "*", "1")
_NAMES: Final = {
    prefix + letter + branch: phase
    for phase in PHASES
    for letter in (phase, phase.lower())
    for branch in _BRANCHES
    for prefix in ("", "i", "e", "I", "E")
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when an earthquake was; magnitude NaN if unknown."""

    time_ns: int
    latitude: float
    longitude: float
    magnitude: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a file says.

    Attributes
    ----------
    path
        The file.
    kind
        ``QuakeML``, ``CSV``, ``Parquet``, ``SeisBench labels`` or ``snuffler markers``.
    table
        See the module; sorted by time.
    not_judged
        Number of entries that are no P or S arrival with a time, by reason.
    origins
        By event.
    spans
        What the file says of its own completeness: columns ``network``, ``station``, ``phase``,
        ``start_ns``, ``end_ns``, ``event``. Empty where it says nothing.
    """

    path: Path
    kind: str
    table: pd.DataFrame
    not_judged: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    spans: pd.DataFrame | None = None


def phase_of(name: str) -> str | None:
    """P or S for a phase's name: P, Pn, Pg, Pb, P*, P1, p, iP, eP, and the same of S.

    Later phases (PmP, PP, Lg, ...) are None: a picker of first arrivals is not judged by them.
    """
    return _NAMES.get(name.strip())


def to_table(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Table with all columns, of their types, sorted by time; what is not given is unknown."""
    given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    columns: dict[str, Any] = {}
    for name in TEXTS:
        columns[name] = (
            given[name].astype(object).where(given[name].notna(), "")
            if name in given
            else np.full(len(given), "", dtype=object)
        )
    columns["time_ns"] = (
        given["time_ns"].astype(np.int64) if "time_ns" in given else np.zeros(0, dtype=np.int64)
    )
    for name in NUMBERS:
        columns[name] = (
            given[name].astype(np.float64) if name in given else np.full(len(given), np.nan)
        )
    table = pd.DataFrame(columns, index=given.index)
    table["location"] = table["location"].replace("--", "")
    return table.sort_values(
        ["time_ns", "network", "station", "channel"], kind="stable"
    ).reset_index(drop=True)


def refuse_senseless(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Complain about a time that no arrival has, and an uncertainty below 0.

    Raises
    ------
    DataError
        Names the file and the station.
    """
    for row in rows:
        time = to_utc(row["time_ns"])
        where = f"{path}: {row['phase']} at {row['network']}.{row['station']}"
        if not is_exact(time):
            raise DataError(f"{where} has the time {time}; it must be from the years {YEARS}.")
        if row["uncertainty_s"] < 0:
            raise DataError(
                f"{where}, {time}, has the uncertainty {row['uncertainty_s']:g} s; it must not be "
                "below 0."
            )


def instruments(table: pd.DataFrame) -> pd.Series:
    """Band and instrument code of each row, e.g. ``HH``; empty without a channel."""
    return table["channel"].str.slice(0, 2)
