"""What became of each pick and each reference arrival: found, missed, false."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_prediction.explore.arrivals import instruments
from ml_prediction.explore.coverage import owners
from ml_prediction.explore.matching import Integers, match
from ml_prediction.util.times import NANOSECONDS

By = Literal["station", "instrument"]
APART: Final = 60.0
"""Seconds without a reference arrival between two events that have no name."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of a comparison.

    Attributes
    ----------
    outcomes
        One row each: ``kind`` (``found``, ``missed`` or ``false``), ``phase``, ``event``,
        ``network``, ``station``, ``instrument`` (empty where it has no meaning), ``residual_s``
        (pick minus reference), ``sigma_s``, ``width_s``, ``probability``, ``quality``,
        ``distance_km``, ``magnitude``, ``time_ns`` (of the pick, or of what was missed).
    not_judged
        Picks and arrivals that count neither way, by reason.
    """

    outcomes: pd.DataFrame
    not_judged: Mapping[str, int]


def judge(
    picks: pd.DataFrame,
    reference: pd.DataFrame,
    coverage: pd.DataFrame,
    tolerance_s: float,
    by: By = "station",
    sensors: pd.DataFrame | None = None,
) -> Judgement:
    """Match picks with reference arrivals, and say what the rest is.

    Parameters
    ----------
    picks, reference
        Tables as in `ml_prediction.explore.arrivals`.
    coverage
        Where the reference is complete, as in `ml_prediction.explore.coverage`.
    tolerance_s
        Largest residual in seconds of an arrival that counts as found.
    by
        ``station``: one pick for each arrival; the same arrival picked on another instrument of the
        site counts neither way. ``instrument``: each instrument that has picks at a station is
        judged by all of the station's arrivals.
    sensors
        Instruments that there are, from `sensors_of`; None: those of the picks.
    """
    notes: Counter[str] = Counter()
    tolerance_ns = round(tolerance_s * NANOSECONDS)
    if by == "instrument":
        known = sensors_of(picks) if sensors is None else sensors
        reference, coverage = _for_instruments(reference, coverage, known)
    parts = _parts(by)
    keys = _Keys(parts, picks, reference, coverage)
    pick_keys, reference_keys, span_keys = keys.of(picks), keys.of(reference), keys.of(coverage)
    pick_times = picks["time_ns"].to_numpy(np.int64)
    reference_times = reference["time_ns"].to_numpy(np.int64)
    paired, arrivals = match(pick_keys, pick_times, reference_keys, reference_times, tolerance_ns)
    rest = np.ones(len(picks), dtype=np.bool_)
    rest[paired] = False
    if by == "station":
        again = rest & _found_again(picks, reference, tolerance_ns)
        notes["picks of an arrival that another instrument of the site has"] = int(again.sum())
        rest &= ~again
    owner = owners(
        pick_keys,
        pick_times,
        span_keys,
        coverage["start_ns"].to_numpy(np.int64),
        coverage["end_ns"].to_numpy(np.int64),
    )
    outside = rest & (owner < 0)
    notes["picks where the reference is not complete"] = int(outside.sum())
    false = np.flatnonzero(rest & (owner >= 0))
    missed = np.setdiff1d(np.arange(len(reference)), arrivals)
    found_rows = _rows("found", picks.iloc[paired], reference.iloc[arrivals], by)
    found_rows["residual_s"] = (pick_times[paired] - reference_times[arrivals]) / NANOSECONDS
    false_rows = _rows("false", picks.iloc[false], coverage.iloc[owner[false]], by)
    nameless = (false_rows["event"] == "").to_numpy()
    false_rows.loc[nameless, "event"] = _nearest_event(reference, pick_times[false[nameless]])
    missed_rows = _rows("missed", None, reference.iloc[missed], by)
    outcomes = pd.concat([found_rows, missed_rows, false_rows], ignore_index=True)
    return Judgement(outcomes, +notes)


def name_events(reference: pd.DataFrame) -> pd.DataFrame:
    """Reference in which every arrival has an event: by pauses of a minute where it has none."""
    nameless = reference["event"] == ""
    if not nameless.any():
        return reference
    times = reference.loc[nameless, "time_ns"].to_numpy(np.int64)  # sorted
    numbers = np.concatenate([[0], np.cumsum(np.diff(times) > APART * NANOSECONDS)])
    named = reference.copy()
    named.loc[nameless, "event"] = [f"group {number + 1}" for number in numbers]
    return named


def drop_repeated(reference: pd.DataFrame, tolerance_s: float) -> tuple[pd.DataFrame, int]:
    """Reference with one row for each arrival, and how many rows were dropped.

    An arrival that stands there for several channels of a station, within the tolerance, is kept
    where its uncertainty is smallest.
    """
    if reference.empty:
        return reference, 0
    ordered = reference.sort_values(["network", "station", "phase", "time_ns"], kind="stable")
    same = (
        ordered[["network", "station", "phase"]] == ordered[["network", "station", "phase"]].shift()
    ).all(axis=1)
    near = ordered["time_ns"].diff() <= tolerance_s * NANOSECONDS
    other = ordered["channel"] != ordered["channel"].shift()
    group = (~(same & near & other)).cumsum()
    best = (
        ordered.assign(group=group)
        .sort_values(["uncertainty_s", "time_ns"], kind="stable", na_position="last")
        .drop_duplicates("group")
        .drop(columns="group")
    )
    kept = best.sort_values("time_ns", kind="stable").reset_index(drop=True)
    return kept, len(reference) - len(kept)


class _Keys:
    """Numbers for what must be equal; networks count only where everybody names them."""

    def __init__(self, parts: tuple[str, ...], *tables: pd.DataFrame) -> None:
        nameless = any(len(table) and (table["network"] == "").all() for table in tables)
        self._parts = tuple(part for part in parts if part != "network" or not nameless)
        names = pd.concat([self._text(table) for table in tables])
        self._codes = pd.Index(names.unique())

    def of(self, table: pd.DataFrame) -> Integers:
        """Number of each row."""
        numbers: Integers = self._codes.get_indexer(self._text(table)).astype(np.int64)
        return numbers

    def _text(self, table: pd.DataFrame) -> pd.Series:
        if "instrument" in self._parts and "instrument" not in table:
            table = table.assign(instrument=_sensor(table))
        return _joined(table, self._parts, "|")


def _parts(by: By) -> tuple[str, ...]:
    return ("network", "station", "phase") + (("instrument",) if by == "instrument" else ())


def _sensor(table: pd.DataFrame) -> pd.Series:
    return _joined(table.assign(code=instruments(table)), ("location", "code"), ".")


def _joined(table: pd.DataFrame, names: Sequence[str], sign: str) -> pd.Series:
    """Text of several columns in one."""
    rows = zip(*(table[name] for name in names), strict=True)
    return pd.Series([sign.join(row) for row in rows], index=table.index, dtype=object)


def sensors_of(picks: pd.DataFrame) -> pd.DataFrame:
    """Instruments that have picks: ``network``, ``station``, ``instrument`` (location and code)."""
    table = picks.assign(instrument=_sensor(picks))[["network", "station", "instrument"]]
    return table.drop_duplicates().reset_index(drop=True)


def _each_sensor(table: pd.DataFrame, sensors: pd.DataFrame) -> pd.DataFrame:
    """Rows of each station once for each of its instruments."""
    if any(len(each) and (each["network"] == "").all() for each in (table, sensors)):
        sensors = sensors.drop(columns="network").drop_duplicates()
        return table.merge(sensors, on="station", how="inner").reset_index(drop=True)
    return table.merge(sensors, on=["network", "station"], how="inner").reset_index(drop=True)


def _for_instruments(
    reference: pd.DataFrame, coverage: pd.DataFrame, sensors: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Arrivals and coverage of each station once for each of its instruments."""
    return _each_sensor(reference, sensors), _each_sensor(coverage, sensors)


def _found_again(
    picks: pd.DataFrame, reference: pd.DataFrame, tolerance_ns: int
) -> npt.NDArray[np.bool_]:
    """Picks that would be right if their instrument were the only one of the site."""
    found = np.zeros(len(picks), dtype=np.bool_)
    if picks.empty or reference.empty:
        return found
    each = _each_sensor(reference, sensors_of(picks))
    keys = _Keys(_parts("instrument"), picks, each)
    paired, _ = match(
        keys.of(picks),
        picks["time_ns"].to_numpy(np.int64),
        keys.of(each),
        each["time_ns"].to_numpy(np.int64),
        tolerance_ns,
    )
    found[paired] = True
    return found


def _nearest_event(reference: pd.DataFrame, times: Integers) -> npt.NDArray[np.object_]:
    """Event of the arrival that is nearest in time."""
    if reference.empty:
        return np.full(len(times), "none", dtype=object)
    order = np.argsort(reference["time_ns"].to_numpy(), kind="stable")
    ordered = reference["time_ns"].to_numpy(np.int64)[order]
    right = np.clip(np.searchsorted(ordered, times), 0, len(ordered) - 1)
    left = np.maximum(right - 1, 0)
    nearer = np.where(abs(times - ordered[left]) <= abs(ordered[right] - times), left, right)
    events: npt.NDArray[np.object_] = reference["event"].to_numpy(dtype=object)[order[nearer]]
    return events


def _rows(kind: str, picks: pd.DataFrame | None, arrivals: pd.DataFrame, by: By) -> pd.DataFrame:
    """Rows of outcomes, from a pick (if there is one) and an arrival each."""
    count = len(arrivals)
    place = arrivals if picks is None else picks
    unknown = np.full(count, np.nan)
    if picks is not None:
        instrument = instruments(picks).to_numpy()
    elif by == "instrument":
        instrument = arrivals["instrument"].str.rsplit(".", n=1).str[-1].to_numpy()
    else:
        instrument = np.full(count, "", dtype=object)
    columns = {name: place[name].to_numpy() for name in ("phase", "network", "station", "time_ns")}
    measured = {
        "sigma_s": "uncertainty_s",
        "width_s": "width_s",
        "probability": "probability",
        "quality": "quality",
    }
    return pd.DataFrame(
        {
            "kind": kind,
            **columns,
            "event": arrivals["event"].to_numpy(),
            "instrument": instrument,
            "residual_s": unknown,
            **{
                name: unknown if picks is None else picks[column].to_numpy()
                for name, column in measured.items()
            },
            "distance_km": arrivals["distance_km"].to_numpy(),
            "magnitude": arrivals["magnitude"].to_numpy(),
        }
    )
