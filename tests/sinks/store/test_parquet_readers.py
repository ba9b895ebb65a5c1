"""What others read from a folder of Parquet files: one table, with what went in."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset
import pytest
from store_results import make_result, make_run, make_units

from ml_prediction.sinks.store import UnitKey, open_store

UNITS = [
    *make_units(2, 2),
    UnitKey("CC", "JRO", date(2017, 5, 2)),
    UnitKey("", "X", date(2017, 5, 1)),
]
PICKS = [pick for unit in UNITS for pick in make_result(unit).picks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "picks"
    with open_store(f"parquet:///{path}") as store:
        store.begin(make_run(), UNITS, resume=False)
        for unit in UNITS:
            store.write(make_result(unit))
    return path


def expected() -> set[tuple[Any, ...]]:
    return {
        (
            pick.network or "--",
            date(pick.peak_time.year, pick.peak_time.month, pick.peak_time.day),
            pick.station,
            pick.id,
            int(pick.time.ns),
            pick.sigma,
            pick.members,
            pick.detection_id,
        )
        for pick in PICKS
    }


COLUMNS = ("network", "day", "station", "id", "time", "sigma", "members", "detection_id")


def by_duckdb(folder: Path) -> list[tuple[Any, ...]]:
    duckdb = pytest.importorskip("duckdb")
    columns = ", ".join(COLUMNS).replace("time", "epoch_ns(time)")
    files = f"{folder}/picks/**/*.parquet"
    rows: list[tuple[Any, ...]] = duckdb.sql(
        f"SELECT {columns} FROM read_parquet('{files}') WHERE run_id = 'may'"
    ).fetchall()
    return rows


def by_polars(folder: Path) -> list[tuple[Any, ...]]:
    polars = pytest.importorskip("polars")
    time = polars.col("time").dt.epoch("ns")
    table = polars.scan_parquet(folder / "picks").select(COLUMNS).with_columns(time)
    rows: list[tuple[Any, ...]] = table.collect().rows()
    return rows


def by_pandas(folder: Path) -> list[tuple[Any, ...]]:
    table = pd.read_parquet(folder / "picks")[list(COLUMNS)]
    table["time"] = table["time"].astype("int64")
    table["day"] = pd.to_datetime(table["day"].astype(str)).dt.date
    table["detection_id"] = None
    return list(table.itertuples(index=False, name=None))


def by_pyarrow(folder: Path) -> list[tuple[Any, ...]]:
    table = pyarrow.dataset.dataset(folder / "picks", partitioning="hive").to_table(list(COLUMNS))
    table = table.set_column(4, "time", table["time"].cast("int64"))
    rows = [tuple(row.values()) for row in table.to_pylist()]
    return [(row[0], date.fromisoformat(row[1]), *row[2:]) for row in rows]


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_pandas, by_pyarrow])
def test_others_read_it_as_one_table(
    folder: Path, read: Callable[[Path], list[tuple[Any, ...]]]
) -> None:
    rows = [(*row[:6], tuple(row[6]), row[7]) for row in read(folder)]
    assert len(rows) == len(PICKS)
    assert set(rows) == expected()


def test_the_journal_is_a_table_too(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = f"SELECT count(*), max(finished) FROM '{folder}/runs/*.jsonl' WHERE state = 'done'"
    ((count, finished),) = duckdb.sql(query).fetchall()
    assert count == len(UNITS)
    assert isinstance(finished, datetime)


def test_what_a_kill_left_is_in_nobodys_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UNITS[0]
    with open_store(f"parquet:///{folder}") as store:
        store.begin(make_run(), UNITS, resume=True)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", _killed)
            patched.setattr(Path, "unlink", _killed)
            with pytest.raises(KeyboardInterrupt):
                store.write(make_result(unit))
        left = [path for path in folder.rglob("*") if path.name.endswith(".part")]
        assert left
        for read in (by_duckdb, by_polars, by_pandas, by_pyarrow):
            assert len(read(folder)) == len(PICKS)
        store.write(make_result(unit))
        assert not any(path.exists() for path in left)


def test_a_unit_that_failed_after_a_kill_has_no_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_units(len(UNITS) + 1, 1)[-1]
    assert unit not in UNITS
    with open_store(f"parquet:///{folder}") as store:
        store.begin(make_run(), [unit], resume=True)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", _killed)  # before its line in the journal
            with pytest.raises(KeyboardInterrupt):
                store.write(make_result(unit))
        assert len(by_duckdb(folder)) > len(PICKS)
        store.fail(unit, "out of memory", 3)
        assert len(by_duckdb(folder)) == len(PICKS)


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
