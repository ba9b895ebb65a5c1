"""Tables of a bundle as files: picks and detections as Parquet, contributions as CSV; exact."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.explore.comcat_history import COLUMNS, Contribution
from ml_prediction.sinks.parquet import from_parquet, to_parquet
from ml_prediction.sinks.tables import picks_csv
from ml_prediction.util.times import to_microseconds, to_utc

R = TypeVar("R", Pick, Detection)


def parquet_of(rows: Sequence[R], kind: type[R]) -> bytes:
    """Parquet file of picks or detections."""
    return to_parquet(rows, kind)


def csv_of_picks(picks: Sequence[Pick]) -> bytes:
    """CSV file of picks, for people and other programs: its numbers are rounded."""
    return picks_csv(picks)


def picks_parquet(body: bytes) -> tuple[Pick, ...]:
    """Picks of a Parquet file; ValueError if it is none."""
    return tuple(from_parquet(body, Pick))


def detections_parquet(body: bytes) -> tuple[Detection, ...]:
    """Detections of a Parquet file; ValueError if it is none."""
    return tuple(from_parquet(body, Detection))


def whole_microseconds(result: R) -> R:
    """A pick or detection with its times as every output rounds them."""
    times: dict[str, Any] = {
        field.name: to_utc(to_microseconds(value) * 1000)
        for field in fields(result)
        if isinstance(value := getattr(result, field.name), UTCDateTime)
    }
    return replace(result, **times)


def contributions_csv(contributions: Iterable[Contribution]) -> bytes:
    """CSV file of contributions: times in nanoseconds, numbers in full."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in contributions:
        writer.writerow([_cell(getattr(each, name)) for name in COLUMNS])
    return text.getvalue().encode()


def contributions_of_csv(body: bytes) -> tuple[Contribution, ...]:
    """Contributions of a CSV file; ValueError or KeyError if it is none."""
    reader = csv.DictReader(io.StringIO(body.decode(), newline=""))
    kinds = {field.name: str(field.type) for field in fields(Contribution)}
    return tuple(
        Contribution(**{name: _value(kind, row[name]) for name, kind in kinds.items()})
        for row in reader
    )


def _cell(value: object) -> str:
    return "" if value is None or value != value else str(value)


def _value(kind: str, text: str) -> Any:
    if kind == "float":
        return float(text or "nan")
    if kind == "int | None":
        return int(text) if text else None
    return int(text) if kind == "int" else text
