"""Small tables of arrivals for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ml_prediction.explore.arrivals import Arrivals, to_table
from ml_prediction.util.times import NANOSECONDS

START: Final = 1_696_818_060 * NANOSECONDS  # 2023-10-09T02:21:00


def arrival(seconds: float, phase: str = "P", station: str = "HANS", **more: Any) -> dict[str, Any]:
    """One row, so many seconds after 2023-10-09T02:21:00."""
    return {
        "network": "UW",
        "station": station,
        "channel": "HHZ",
        "phase": phase,
        "time_ns": START + round(seconds * NANOSECONDS),
        **more,
    }


def arrivals(
    *rows: Mapping[str, Any],
    spans: Sequence[Mapping[str, Any]] | None = None,
    **more: Any,
) -> Arrivals:
    """A file's worth of rows."""
    table = None if spans is None else pd.DataFrame(list(spans))
    return Arrivals(Path("made.csv"), "CSV", to_table(rows), spans=table, **more)
