"""Picks in CSV or Parquet (ours, and simple tables), and SeisBench's label metadata."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ml_prediction.errors import DataError
from ml_prediction.explore.arrivals import NUMBERS, TEXTS, Arrivals, phase_of, to_table
from ml_prediction.explore.coverage import COLUMNS
from ml_prediction.util.times import EARLIEST, LATEST, NANOSECONDS, YEARS

_NEEDED: Final = ("station", "phase", "time")
_OTHER_NAMES: Final = {"uncertainty_s": ("sigma", "uncertainty"), "width_s": ("width",)}
_LABEL: Final = re.compile(r"trace_(.+)_arrival_sample")
_LABEL_NEEDED: Final = ("station_code", "trace_start_time", "trace_sampling_rate_hz")
_LABEL_CODES: Final = {
    "network": "station_network_code",
    "station": "station_code",
    "location": "station_location_code",
    "channel": "trace_channel",
    "event": "source_id",
}
_YEAR_S: Final = 366 * 86400.0
_LABEL_NUMBERS: Final = {"magnitude": "source_magnitude", "distance_km": "path_ep_distance_km"}


def read_csv_arrivals(path: Path) -> Arrivals:
    """Read a CSV file of picks, or of SeisBench's trace labels.

    Raises
    ------
    DataError
        If a column that is needed is missing, or a cell is wrong; the message names the line.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no CSV ({str(error).strip()}).") from error
    if not isinstance(text.index, pd.RangeIndex):  # pandas takes a surplus cell for a row's name
        raise DataError(f"{path}, line 2: no CSV (more cells than the header has).")
    text.columns = text.columns.str.strip()
    if any(_LABEL.fullmatch(name) for name in text.columns):
        return _labels(path, text)
    return _picks(path, text, "CSV")


def read_parquet_arrivals(path: Path) -> Arrivals:
    """Read picks.parquet as `ml-prediction pick` writes it.

    Raises
    ------
    DataError
        If it can't be read, or a column is missing.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no Parquet file ({error}).") from error
    text = table.astype(object).where(table.notna(), "").map(str)
    return _picks(path, text, "Parquet")


def _picks(path: Path, text: pd.DataFrame, kind: str) -> Arrivals:
    _require(path, text, _NEEDED)
    phases = text["phase"].map(phase_of)
    with_time = text["time"].str.strip() != ""
    skipped = Counter({"without time": int((~with_time).sum())})
    for name, count in text["phase"][phases.isna() & with_time].str.strip().value_counts().items():
        skipped[f"phase {name}" if name else "without phase"] += int(count)
    kept = text[phases.notna() & with_time]
    columns: dict[str, Any] = {"time_ns": _times(path, kept["time"]), "phase": phases[kept.index]}
    for name in TEXTS:
        if name != "phase" and name in kept:
            columns[name] = kept[name].str.strip()
    for name in NUMBERS:
        for alias in (name, *_OTHER_NAMES.get(name, ())):
            if alias in kept:
                columns[name] = _numbers(path, kept[alias])
                _refuse_senseless(path, name, kept[alias], columns[name])
                break
    return Arrivals(path, kind, to_table(pd.DataFrame(columns)), +skipped)


def _labels(path: Path, text: pd.DataFrame) -> Arrivals:
    """SeisBench's trace labels: one row for each trace, a column of samples for each phase."""
    _require(path, text, _LABEL_NEEDED)
    starts = _times(path, text["trace_start_time"])
    rates = _numbers(path, text["trace_sampling_rate_hz"])
    _refuse(path, text["trace_sampling_rate_hz"], ~(rates > 0), "no sampling rate")
    codes = {
        name: text[column].str.strip() for name, column in _LABEL_CODES.items() if column in text
    }
    if "event" not in codes and "trace_name" in text:
        codes["event"] = text["trace_name"].str.strip()
    numbers = {
        name: _numbers(path, text[column])
        for name, column in _LABEL_NUMBERS.items()
        if column in text
    }
    length = _numbers(path, text["trace_npts"]) if "trace_npts" in text else None
    samples: dict[str, pd.Series] = {}
    skipped: Counter[str] = Counter()
    for column in text.columns:
        found = _LABEL.fullmatch(column)
        if found is None:
            continue
        values = _numbers(path, text[column])
        _refuse_far(path, text[column], values / rates)
        phase = phase_of(found[1]) or phase_of(found[1].upper())
        if phase is None:
            skipped[f"phase {found[1]}"] += int(values.notna().sum())
        elif phase in samples:  # several branches: the first arrival is what a picker is to find
            samples[phase] = pd.concat([samples[phase], values], axis=1).min(axis=1)
        else:
            samples[phase] = values
    parts, spans = [to_table([])], []
    for phase, values in samples.items():
        known = values.notna()
        skipped[f"traces without {phase}, which is taken as unknown"] += int((~known).sum())
        of_trace = pd.DataFrame(
            {
                **{name: column[known] for name, column in {**codes, **numbers}.items()},
                "phase": pd.Series(phase, index=values.index[known], dtype=object),
            }
        )
        offset = (values[known] / rates[known] * NANOSECONDS).round().astype(np.int64)
        arrivals = of_trace.assign(time_ns=starts[known] + offset)
        if length is not None:
            _refuse(path, text["trace_npts"], ~(length > 0), "no number of samples")
            _refuse_far(path, text["trace_npts"], length / rates)
            duration = (length[known] / rates[known] * NANOSECONDS).round().astype(np.int64)
            inside = values[known].between(0, length[known] - 1)
            skipped["outside of its trace"] += int((~inside).sum())
            arrivals = arrivals[inside]
            span = of_trace.assign(start_ns=starts[known], end_ns=starts[known] + duration)
            spans.append(span.reindex(columns=list(COLUMNS)).fillna({"network": "", "event": ""}))
        parts.append(to_table(arrivals))
    return Arrivals(
        path,
        "SeisBench labels",
        to_table(pd.concat(parts[1:] or parts)),
        +skipped,
        spans=pd.concat(spans, ignore_index=True) if spans else None,
    )


def _require(path: Path, text: pd.DataFrame, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in text]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {', '.join(missing)}; needed are {', '.join(needed)}."
        )


def _times(path: Path, cells: pd.Series) -> pd.Series:
    times = pd.to_datetime(cells.str.strip(), utc=True, format="ISO8601", errors="coerce")
    first, last = (pd.Timestamp(str(time)) for time in (EARLIEST, LATEST))
    wrong = times.isna() | (times < first) | (times >= last)
    complaint = f"no time like 2009-08-24T00:20:07.72Z from the years {YEARS}"
    _refuse(path, cells, wrong, complaint)
    return times.astype("datetime64[ns, UTC]").astype(np.int64)


def _numbers(path: Path, cells: pd.Series) -> pd.Series:
    stripped = cells.str.strip()
    numbers = pd.to_numeric(stripped, errors="coerce").astype(np.float64)
    empty = stripped.str.lower().isin(["", "nan", "none", "null", "<na>"])
    wrong = (numbers.isna() & ~empty) | np.isinf(numbers)
    _refuse(path, cells, wrong, f"no number for {cells.name}")
    return numbers


def _refuse_senseless(path: Path, column: str, cells: pd.Series, numbers: pd.Series) -> None:
    """Complain about a sigma below 0 and a probability beyond 0 to 1."""
    empty = "leave the cell empty where it is unknown"
    if cells.name in {"sigma", "probability"}:  # a pick that was made has them
        nan = cells.str.strip().str.lower() == "nan"
        _refuse(path, cells, nan, f"no number for {cells.name}; {empty}")
    if column == "uncertainty_s":
        _refuse(path, cells, numbers < 0, f"no {cells.name}, which is 0 s or more; {empty}")
    if column == "probability":
        percent = (numbers > 1) & (numbers <= 100)
        wanted = "no probability from 0 to 1"
        _refuse(path, cells, percent, f"{wanted}; if it is in percent, divide by 100")
        _refuse(path, cells, (numbers < 0) | (numbers > 1), f"{wanted}; {empty}")


def _refuse_far(path: Path, cells: pd.Series, seconds: pd.Series) -> None:
    """Complain about what overflows when it becomes a time."""
    wrong = seconds.abs() > _YEAR_S
    _refuse(path, cells, wrong, f"a {cells.name} more than a year from its trace's start")


def _refuse(path: Path, cells: pd.Series, wrong: pd.Series, complaint: str) -> None:
    """Complain about the first wrong cell; the header is line 1."""
    if wrong.any():
        row = int(wrong.index[int(wrong.to_numpy().argmax())])
        raise DataError(f"{path}, line {row + 2}: {cells[row]!r} is {complaint}.")
