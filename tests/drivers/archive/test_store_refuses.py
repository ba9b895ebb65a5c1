"""Stores that refuse units: one is that unit's matter, several in a row are the store's."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from rich.console import Console

from ml_prediction.drivers.archive.picking import UnitPicks
from ml_prediction.drivers.archive.plan import Unit
from ml_prediction.drivers.archive.run import MOST_REFUSED, _work
from ml_prediction.drivers.archive.workers import Outcome
from ml_prediction.errors import DataError, InternalError, MLPredictionError
from ml_prediction.sinks.store import UnitKey, UnitResult

UNITS = [Unit("XX", f"S{number}", date(2017, 5, 1), (), ()) for number in range(8)]


class Quick:
    """Works on one unit at a time, at once."""

    wanted = None

    def __init__(self) -> None:
        self.unit: Unit | None = None

    @property
    def idle(self) -> int:
        return int(self.unit is None)

    def start(self, unit: Unit) -> None:
        self.unit = unit

    def outcomes(self) -> list[Outcome]:
        unit, self.unit = self.unit, None
        return [] if unit is None else [(unit, UnitPicks([], [], [], (), 1.5))]


class Refusing:
    """A store that refuses some stations."""

    def __init__(self, stations: set[str], error: MLPredictionError) -> None:
        self.stations, self.error = stations, error
        self.done: list[str] = []
        self.failed: dict[str, str] = {}

    def write(self, result: UnitResult) -> None:
        if result.key.station in self.stations:
            raise self.error
        self.done.append(result.key.station)

    def fail(self, key: UnitKey, reason: str, attempts: int) -> None:
        self.failed[key.station] = reason


@pytest.mark.parametrize("error", [InternalError("twice"), DataError("too long")])
def test_units_that_the_store_refuses_fail_and_the_others_are_done(
    error: MLPredictionError,
) -> None:
    store: Any = Refusing({"S1", "S2", "S5", "S6"}, error)
    workers: Any = Quick()
    totals = _work(UNITS, {UNITS[5].key}, workers, store, Console(quiet=True))
    assert store.done == ["S0", "S3", "S4", "S7"]
    assert store.failed.keys() == {"S1", "S2", "S5", "S6"}
    assert set(store.failed.values()) == {f"its picks can't be stored: {error}"}
    assert (totals["failed"], totals["kept"], totals["units"]) == (4, 1, 8)


def test_a_store_that_refuses_several_units_in_a_row_ends_the_run() -> None:
    """What is left would be picked for nothing."""
    store: Any = Refusing({unit.station for unit in UNITS[2:]}, DataError("it is damaged"))
    workers: Any = Quick()
    with pytest.raises(DataError, match="it is damaged"):
        _work(UNITS, (), workers, store, Console(quiet=True))
    assert len(store.failed) == MOST_REFUSED - 1
