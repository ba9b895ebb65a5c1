"""Results as Arrow tables and Parquet files, and back without loss.

Times are nanoseconds, UTC; NaN is null. Network and day are not in the files: by Hive's convention
they are in the names of the folders.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import DataError
from ml_prediction.sinks.parquet import arrow_schema, column_values
from ml_prediction.sinks.store.base import StationDay, UnitKey
from ml_prediction.sinks.store.bins import PROBABILITY_EDGES, SIGMA_EDGES_S, bins_of
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

ROWS_AT_ONCE: Final = 10_000
"""Rows that are made Python's at a time."""

_INT: Final = pyarrow.int64()
_DAY_SCHEMA: Final = pyarrow.schema(
    [
        ("run_id", pyarrow.string()),
        ("station", pyarrow.string()),
        ("location", pyarrow.string()),
        ("prefix", pyarrow.string()),
        ("samples", _INT),
        ("covered_s", pyarrow.float64()),
        ("gaps", _INT),
        ("windows", _INT),
        ("picks", _INT),
        ("detections", _INT),
        ("skipped", pyarrow.string()),  # JSON
    ]
)


class ArrowCodec:
    """Arrow tables of one class of results.

    Parameters
    ----------
    kind
        Pick or Detection.
    order
        Field whose time they are sorted by.
    """

    def __init__(self, kind: type[Pick] | type[Detection], order: str) -> None:
        self._kind = kind
        self._order = order
        self._types = {f.name: str(f.type) for f in fields(kind)}
        self._schema = arrow_schema(pyarrow, kind, "ns", omit=("network",))
        whole = [(f.name, f.type) for f in self._schema]
        self._whole = pyarrow.schema([*whole, ("network", pyarrow.string())])

    def encode(self, results: Sequence[Pick] | Sequence[Detection]) -> Any:
        """Table of one station's results."""
        columns = {}
        for field in self._schema:
            values = [getattr(result, field.name) for result in results]
            columns[field.name] = pyarrow.array(
                _plain(values, self._types[field.name]), type=field.type
            )
        return pyarrow.Table.from_pydict(columns, schema=self._schema)

    def read(self, path: Path, network: str) -> Any:
        """Table of a file, with its network."""
        table = read_parquet(path)
        column = pyarrow.array([network] * len(table), pyarrow.string())
        return table.append_column("network", column)

    def join(self, tables: Sequence[Any]) -> Any:
        """Tables as one, by time to the microsecond, then id."""
        table = pyarrow.concat_tables(tables) if tables else self._whole.empty_table()
        written = (self.times(table) + 500) // 1000
        keys = pyarrow.table({"time": written, "id": table["id"]})
        by = [("time", "ascending"), ("id", "ascending")]
        return table.take(pyarrow.compute.sort_indices(keys, sort_keys=by))

    def times(self, table: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Nanoseconds of each row's time."""
        return np.asarray(table[self._order].cast(_INT))

    def decode(self, table: Any) -> Iterator[Any]:
        """Results that the rows of a table stand for."""
        names = list(self._types)
        for start in range(0, len(table), ROWS_AT_ONCE):
            part = table.slice(start, ROWS_AT_ONCE)
            columns = [column_values(pyarrow, part[name], self._types[name]) for name in names]
            for row in zip(*columns, strict=True):
                values = dict(zip(names, row, strict=True))
                if values.get("amplitude_unit") and values["amplitude_physical"] is None:
                    values["amplitude_physical"] = float("nan")  # asked for, but not to be had
                yield self._kind(**values)


def to_parquet(table: Any) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def count_picks(path: Path) -> Counter[tuple[str, int, int, int]]:
    """Picks of a file by phase, quality, and bins of probability and sigma."""
    table = read_parquet(path, ["phase", "quality", "probability", "sigma"])
    bins = (
        bins_of(table[name].to_numpy().astype(np.float64), edges).tolist()
        for name, edges in (("probability", PROBABILITY_EDGES), ("sigma", SIGMA_EDGES_S))
    )
    phases, qualities = table["phase"].to_pylist(), table["quality"].to_pylist()
    return Counter(zip(phases, qualities, *bins, strict=True))


def read_parquet(path: Path, columns: list[str] | None = None) -> Any:
    """Table of one file of a store; of some columns, if not of all.

    Raises
    ------
    DataError
        If it is missing or damaged, which no kill can bring about.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return file.read(columns)
    except (FileNotFoundError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{path} is missing or damaged ({error}): remove its unit's lines from the journal in "
            "runs/ and resume, so that it is picked again."
        ) from error


def encode_days(days: Sequence[StationDay], run_id: str) -> Any:
    """Table of the statistics of one unit."""
    rows = [
        {
            "run_id": run_id,
            "station": day.instrument.station,
            "location": day.instrument.location,
            "prefix": day.instrument.prefix,
            "samples": int(day.samples),
            "covered_s": float(day.covered_s),
            "gaps": int(day.gaps),
            "windows": int(day.windows),
            "picks": int(day.picks),
            "detections": int(day.detections),
            "skipped": json.dumps({reason: int(n) for reason, n in day.skipped.items()}),
        }
        for day in sorted(days, key=lambda day: day.instrument)
    ]
    return pyarrow.Table.from_pylist(rows, schema=_DAY_SCHEMA)


def decode_days(table: Any, key: UnitKey) -> Iterator[StationDay]:
    """Statistics that a table stands for."""
    for row in table.to_pylist():
        instrument = Instrument(key.network, key.station, row["location"], row["prefix"])
        yield StationDay(
            instrument,
            row["samples"],
            row["covered_s"],
            row["gaps"],
            row["windows"],
            row["picks"],
            row["detections"],
            json.loads(row["skipped"]),
        )


def _plain(values: list[Any], type_: str) -> list[Any]:
    if type_ == "UTCDateTime":
        return [to_ns(value) for value in values]
    if type_.startswith("float"):
        return [None if value is None or value != value else float(value) for value in values]
    if type_.startswith("tuple"):
        return [list(value) for value in values]
    return values


PICKS: Final = ArrowCodec(Pick, "time")
DETECTIONS: Final = ArrowCodec(Detection, "onset")
