"""Picks as Apache Parquet, with every field and exact types."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Final

from obspy import Stream, UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import to_microseconds

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
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ConfigurationError(
                f"Format parquet needs pyarrow, which can't be imported ({error}): "
                "install a version of it that fits NumPy's, or use csv."
            ) from error
        self._arrow: Any = pyarrow
        self._schema = arrow_schema(pyarrow, Pick, "us")
        self._writer = pyarrow.parquet.ParquetWriter(
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
        columns = {
            field.name: [_value(getattr(pick, field.name)) for pick in self._rows]
            for field in fields(Pick)
        }
        self._writer.write_table(self._arrow.Table.from_pydict(columns, schema=self._schema))
        self._rows.clear()


def arrow_schema(
    arrow: Any, kind: type[Pick] | type[Detection], unit: str, omit: Collection[str] = ()
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


def _value(value: Any) -> Any:
    if isinstance(value, UTCDateTime):
        return to_microseconds(value)
    if isinstance(value, tuple):
        return list(value)
    return None if value != value else value  # NaN
