"""Picks as Apache Parquet, with every field and exact types."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Final, TypeVar

from obspy import Stream, UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import to_microseconds, to_utc

R = TypeVar("R", Pick, Detection)

ROWS_PER_GROUP: Final = 10_000
"""Picks held in memory until they are written as one row group."""

_TYPES: Final = {
    "UTCDateTime": "time",
    "float": "float64",
    "float | None": "float64",
    "int": "int64",
    "bool": "bool",
    "tuple[str, ...]": "texts",
}  # everything else is text


class ParquetSink:
    """Writes picks.parquet, row group by row group.

    Times are ``timestamp[us, UTC]``, ``members`` is a list of strings, and what does not exist
    is null.

    Raises
    ------
    ConfigurationError
        If pyarrow can't be imported.
    """

    FILES: ClassVar[tuple[str, ...]] = ("picks.parquet",)

    def __init__(self, folder: OutputFolder) -> None:
        self._arrow: Any = _pyarrow()
        self._schema = arrow_schema(self._arrow, Pick)
        self._writer = self._arrow.parquet.ParquetWriter(
            str(folder.part(self.FILES[0])), self._schema, compression="zstd"
        )
        self._rows: list[Pick] = []

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None = None,
    ) -> None:
        """Append picks."""
        self._rows.extend(picks)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write the last row group and finish the file."""
        self._flush()
        self._writer.close()

    def abort(self) -> None:
        """Close the file."""
        self._rows.clear()
        self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write_table(_table(self._arrow, self._schema, Pick, self._rows))
        self._rows.clear()


def to_parquet(rows: Sequence[R], kind: type[R]) -> bytes:
    """Picks, or detections, as a Parquet file in memory, with every field.

    Raises
    ------
    ConfigurationError
        If pyarrow can't be imported.
    """
    arrow = _pyarrow()
    schema = arrow_schema(arrow, kind)
    body = io.BytesIO()
    arrow.parquet.write_table(_table(arrow, schema, kind, rows), body, compression="zstd")
    return body.getvalue()


def from_parquet(body: bytes, kind: type[R]) -> list[R]:
    """Picks, or detections, of a Parquet file; their times are whole microseconds.

    Raises
    ------
    ConfigurationError
        If pyarrow can't be imported.
    ValueError
        If it is no Parquet file with these columns.
    """
    arrow = _pyarrow()
    table = arrow.parquet.read_table(io.BytesIO(body), schema=arrow_schema(arrow, kind))
    columns = [column_values(arrow, table[field.name], str(field.type)) for field in fields(kind)]
    return [kind(*values) for values in zip(*columns, strict=True)]


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            f"Format parquet needs pyarrow, which can't be imported ({error}): "
            "install a version of it that fits NumPy's, or use csv."
        ) from error
    return pyarrow


def _table(arrow: Any, schema: Any, kind: type[R], rows: Sequence[R]) -> Any:
    columns = {field.name: [_value(getattr(r, field.name)) for r in rows] for field in fields(kind)}
    return arrow.Table.from_pydict(columns, schema=schema)


def arrow_schema(
    arrow: Any, kind: type[Pick] | type[Detection], unit: str = "us", omit: Collection[str] = ()
) -> Any:
    """Arrow's schema of picks or detections.

    Parameters
    ----------
    arrow
        Module pyarrow: it is imported where it is used.
    kind
        Their class.
    unit
        Of times: ``us`` or ``ns``.
    omit
        Fields to leave out.
    """
    types = {
        "time": arrow.timestamp(unit, tz="UTC"),
        "float64": arrow.float64(),
        "int64": arrow.int64(),
        "bool": arrow.bool_(),
        "texts": arrow.list_(arrow.string()),
    }
    text = arrow.string()
    return arrow.schema(
        [
            (f.name, types.get(_TYPES.get(str(f.type), ""), text))
            for f in fields(kind)
            if f.name not in omit
        ]
    )


def column_values(arrow: Any, column: Any, declared: str) -> list[Any]:
    """Values of a column as the fields of picks and detections have them.

    Parameters
    ----------
    arrow
        Module pyarrow.
    column
        Of a table with `arrow_schema`.
    declared
        Type of the field, as text.
    """
    if declared == "UTCDateTime":
        exact = column.cast(arrow.timestamp("ns", tz="UTC")).cast(arrow.int64())
        return [to_utc(time_ns) for time_ns in exact.to_pylist()]
    values: list[Any] = column.to_pylist()
    if declared == "float":
        return [float("nan") if value is None else value for value in values]
    if declared.startswith("tuple"):
        return [tuple(value) for value in values]
    return values


def _value(value: Any) -> Any:
    if isinstance(value, UTCDateTime):
        return to_microseconds(value)
    if isinstance(value, tuple):
        return list(value)
    return None if value != value else value  # NaN
