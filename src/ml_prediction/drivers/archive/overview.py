"""What a run has of each station and day, and how good its picks are: what a report shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.sinks.store import PickCounts, RunRecord, Store, UnitState

Floats = npt.NDArray[np.float32]

DAY_S: Final = 86_400.0

NOISY: Final = 5.0
"""A station with so many times the picks a day of the median one stands out."""

DEAD_COVER: Final = 0.5
"""A day that data cover less can't be expected to have picks."""

LIVELY: Final = 5.0
"""A station with fewer picks on its median day may well have none on another."""

MOST_S_PER_P: Final = 3.0
"""S picks for each P pick; more, or less than its inverse, stands out."""

FEWEST_FOR_RATIO: Final = 50
"""Picks from which a ratio of S to P says something."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A run in arrays of stations by days.

    Attributes
    ----------
    run
        What the run is.
    states
        Of all units.
    stations
        Network and station codes: the rows, sorted.
    days
        Every day from the first to the last: the columns.
    picks
        Picks of each done unit; NaN where there is none.
    failed
        Where a unit has failed.
    cover
        Share of a done day that the data cover, of the instrument that has most; NaN where unknown.
    gaps
        Gaps, of the instrument that has most; NaN where unknown.
    counts
        Counts of picks by phase and so on.
    """

    run: RunRecord
    states: Sequence[UnitState]
    stations: tuple[tuple[str, str], ...]
    days: tuple[date, ...]
    picks: Floats
    failed: npt.NDArray[np.bool_]
    cover: Floats
    gaps: Floats
    counts: PickCounts

    @property
    def names(self) -> list[str]:
        """Stations as ``NET.STA``."""
        return [".".join(codes) for codes in self.stations]


@dataclass(frozen=True, slots=True)
class StationRow:
    """One station of a run.

    Attributes
    ----------
    name
        ``NET.STA``.
    done, failed
        Days.
    picks
        All of them.
    p, s
        By phase.
    per_day
        Median of picks on its done days; NaN where there are none.
    cover
        Mean share of its done days that data cover.
    gaps_per_day
        Mean.
    remarks
        Why it stands out; empty if it doesn't.
    """

    name: str
    done: int
    failed: int
    picks: int
    p: int
    s: int
    per_day: float
    cover: float
    gaps_per_day: float
    remarks: tuple[str, ...]


def overview(store: Store, run_id: str | None = None) -> Overview:
    """Overview of a run; picks are counted by the store.

    Raises
    ------
    ConfigurationError
        If there is no such run, or none was chosen of several.
    """
    states = store.states(run_id=run_id)
    run = next(run for run in store.runs() if run_id in (None, run.run_id))
    stations = tuple(sorted({(s.key.network, s.key.station) for s in states}))
    days = _days({state.key.day for state in states})
    row = {station: number for number, station in enumerate(stations)}
    shape = (len(stations), len(days))
    picks, cover, gaps = (np.full(shape, np.nan, np.float32) for _ in range(3))
    failed = np.zeros(shape, np.bool_)
    for state in states:
        key = state.key
        place = row[key.network, key.station], (key.day - days[0]).days
        if state.state == "done":
            picks[place] = state.picks
        failed[place] = state.state == "failed"
    for key, statistics in store.statistics(run_id=run_id):
        place = row[key.network, key.station], (key.day - days[0]).days
        covered = min(statistics.covered_s / DAY_S, 1.0)
        if not covered <= cover[place]:  # of the instrument that has most
            cover[place], gaps[place] = covered, statistics.gaps
    if not np.isnan(cover).all():  # a day without data has no statistics
        cover[np.isnan(cover) & ~np.isnan(picks)] = 0
    counts = store.pick_counts(run_id=run_id)
    return Overview(run, states, stations, days, picks, failed, cover, gaps, counts)


def station_rows(found: Overview) -> list[StationRow]:
    """Every station of a run, those that stand out first."""
    typical = [_median(row) for row in found.picks]
    live = [value for value in typical if value > 0]
    network = float(np.median(live)) if live else np.nan
    rows = []
    for number, (code, name) in enumerate(zip(found.stations, found.names, strict=True)):
        picks, cover = found.picks[number], found.cover[number]
        p, s = (found.counts.by_station.get((*code, phase), 0) for phase in ("P", "S"))
        failed = int(found.failed[number].sum())
        rows.append(
            StationRow(
                name=name,
                done=int((~np.isnan(picks)).sum()),
                failed=failed,
                picks=int(np.nansum(picks)),
                p=p,
                s=s,
                per_day=typical[number],
                cover=_mean(cover),
                gaps_per_day=_mean(found.gaps[number]),
                remarks=tuple(_remarks(picks, cover, typical[number], network, (p, s), failed)),
            )
        )
    return sorted(rows, key=lambda row: (not row.remarks, -len(row.remarks), row.name))


def _remarks(
    picks: Floats,
    cover: Floats,
    typical: float,
    network: float,
    phases: tuple[int, int],
    failed: int,
) -> list[str]:
    done = ~np.isnan(picks)
    p, s = phases
    silent = done & (cover >= DEAD_COVER) & (picks == 0)
    remarks = []
    if failed:
        remarks.append(f"{failed} failed")
    if done.any() and not np.nansum(picks):
        remarks.append("dead: data, but no pick" if silent.any() else "no pick, and hardly data")
    elif typical >= LIVELY and silent.any():
        remarks.append(f"silent on {int(silent.sum())} of its days with data")
    if typical > NOISY * network:
        remarks.append(f"noisy: {typical / network:.1f} times the median station")
    if p + s >= FEWEST_FOR_RATIO and s > MOST_S_PER_P * p:
        remarks.append("many S for each P")
    if p + s >= FEWEST_FOR_RATIO and p > MOST_S_PER_P * s:
        remarks.append("few S for each P")
    return remarks


def _days(found: Collection[date]) -> tuple[date, ...]:
    if not found:
        return ()
    first, last = min(found), max(found)
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else float("nan")
