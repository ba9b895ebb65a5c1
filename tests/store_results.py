"""Runs and units for tests of stores, and what a store holds, in a form to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from factories import make_detection, make_pick
from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.store import RunRecord, StationDay, Store, UnitKey, UnitResult
from ml_prediction.util.codes import Instrument

DAY = date(2017, 5, 1)


def make_run(**changes: Any) -> RunRecord:
    """Record of run ``may``."""
    values: dict[str, Any] = {
        "run_id": "may",
        "config_hash": "0123456789ab",
        "config": {"pipeline": {"stride": 3000, "thresholds": {"P": 0.1}}, "networks": ["UW"]},
        "models": [{"name": "EQTransformer", "weights": "original", "sha256": "00" * 32}],
        "versions": {"ml_prediction": "0.1.0", "numpy": "1.26.4"},
        "created": datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC),
        "root": "/archive/SDS",
    }
    return RunRecord(**(values | changes))


def make_units(stations: int, days: int) -> list[UnitKey]:
    """Units of UW.S0, UW.S1, ... from DAY on."""
    return [
        UnitKey("UW", f"S{station}", DAY + timedelta(days=day))
        for day in range(days)
        for station in range(stations)
    ]


def make_result(key: UnitKey, run_id: str = "may", count: int = 5, **changes: Any) -> UnitResult:
    """Result of a unit: so many picks, half as many detections, and statistics."""
    start = UTCDateTime(key.day.isoformat())
    codes = {"network": key.network, "station": key.station, "run_id": run_id}
    stem = f"{key.network}.{key.station}..EH"
    spacing = min(3_600_000_000_123, 86_400_000_000_000 // (count + 1))
    found = [
        make_pick(
            **codes,
            time=UTCDateTime(ns=start.ns + (n + 1) * spacing),
            id=f"{stem}/P/EQTransformer:original/{start.ns // 10**7 + n}",
        )
        for n in range(count)
    ]
    detections = [
        make_detection(
            **codes,
            onset=pick.time - 1,
            pick_ids=(pick.id,),
            id=f"{stem}/Detection/EQTransformer:original/{start.ns // 10**7 + n}",
        )
        for n, pick in enumerate(found[::2])
    ]
    days = [
        StationDay(
            Instrument(key.network, key.station, "", prefix),
            25_920_000,
            86_399.99,
            2,
            2880,
            count,
            len(detections),
            {"gap": 2, "too short": 1},
        )
        for prefix in ("EH", "EN")
    ]
    result = UnitResult(key, found, detections, days, 12.5, 1)
    return dataclasses.replace(result, **changes)


def plain(results: Iterable[Pick | Detection]) -> list[dict[str, Any]]:
    """Every field of results; times as nanoseconds, NaN as text, since it isn't equal to itself."""
    return [
        {name: _plain(value) for name, value in dataclasses.asdict(each).items()}
        for each in results
    ]


def contents(store: Store, run_id: str | None = None) -> dict[str, Any]:
    """All that a store holds of a run but when and how long."""
    return {
        "picks": plain(store.picks(run_id=run_id)),
        "detections": plain(store.detections(run_id=run_id)),
        "statistics": list(store.statistics(run_id=run_id)),
        "states": [
            (state.key, state.state, state.reason, state.picks, state.detections)
            for state in store.states(run_id=run_id)
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, UTCDateTime):
        return int(value.ns)
    return "NaN" if isinstance(value, float) and value != value else value
