"""Picks against reference arrivals: how many are found, how exactly, and what is false."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import pandas as pd
from obspy import Inventory, UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import MARKERS, PHASES, Arrivals
from ml_prediction.explore.bootstrap import FEWEST_UNITS, ORDER_REPLICATES, Resampling
from ml_prediction.explore.coverage import AROUND, LONGEST_AROUND, around, whole
from ml_prediction.explore.distances import with_distances
from ml_prediction.explore.judging import By, drop_repeated, judge, name_events
from ml_prediction.explore.one_model import makers, of_one_model
from ml_prediction.explore.processed import Processed
from ml_prediction.explore.reliability import probability_reliability, sigma_reliability
from ml_prediction.explore.statistics import statistics, units_of
from ml_prediction.explore.sweep import sweep
from ml_prediction.util.times import (
    EARLIEST,
    LATEST,
    NANOSECONDS,
    is_exact,
    isoformat,
    to_ns,
    to_utc,
)

TOLERANCE: Final = 0.5
"""Seconds."""
LARGEST_TOLERANCE: Final = 3600.0
MOST_REPLICATES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What the reference is complete for, and what is judged.

    Attributes
    ----------
    start, end
        The reference has every arrival between them; both or neither. None: within ``around_s``
        of its arrivals, for the same station and phase, unless its file says more.
    stations
        ``NET.STA`` or ``STA``; empty: those that were picked, as far as is known.
    phases
        What is judged.
    around_s
        See ``start``.
    source
        Only reference arrivals whose ``source`` has this text.
    """

    start: UTCDateTime | None = None
    end: UTCDateTime | None = None
    stations: tuple[str, ...] = ()
    phases: tuple[str, ...] = PHASES
    around_s: float = AROUND
    source: str = ""

    def __post_init__(self) -> None:
        if (self.start is None) != (self.end is None):
            raise ConfigurationError(
                "Give both --from and --to: between them the reference counts as complete."
            )
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ConfigurationError(f"--to {self.end} must be later than --from {self.start}.")
        for option, time in (("--from", self.start), ("--to", self.end)):
            if time is not None and not is_exact(time):
                raise ConfigurationError(
                    f"{option} {time}: give a time between {EARLIEST.year} and {LATEST.year}."
                )
        if not 0 <= self.around_s <= LONGEST_AROUND:
            raise ConfigurationError(
                f"--around {self.around_s:g}: give seconds, from 0 to {LONGEST_AROUND:.0f} (a "
                "year); what is complete for longer has --from and --to."
            )
        if set(self.phases) - set(PHASES) or not self.phases:
            raise ConfigurationError(
                f"--phases {','.join(self.phases)}: give P, S, or both, separated by a comma."
            )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of a comparison.

    Attributes
    ----------
    outcomes
        What became of each pick and arrival, as in `ml_prediction.explore.judging.Judgement`.
    statistics, sigma, probability, sweep
        Tables, as in the modules of these names.
    not_judged
        What counts neither way, by reason.
    statement
        What was compared, and what is assumed, in sentences.
    settings
        What was asked for, as plain values.
    """

    outcomes: pd.DataFrame
    statistics: pd.DataFrame
    sigma: pd.DataFrame
    probability: pd.DataFrame
    sweep: pd.DataFrame
    not_judged: Mapping[str, int]
    statement: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def overall(self, phase: str) -> Mapping[str, Any]:
        """Row of `statistics` for a whole phase; empty if it has neither picks nor arrivals."""
        table = self.statistics
        if table.empty:
            return {}
        rows = table[(table["phase"] == phase) & (table["kind"] == "all")]
        return {} if rows.empty else {str(k): v for k, v in rows.iloc[0].items()}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tables that can be judged: what is out of scope is counted, not in them."""

    picks: pd.DataFrame
    reference: pd.DataFrame
    coverage: pd.DataFrame
    not_judged: Mapping[str, int]
    statement: tuple[str, ...]


def evaluate(
    picks: Arrivals,
    reference: Arrivals,
    tolerance: float = TOLERANCE,
    *,
    scope: Scope | None = None,
    by: By = "station",
    model: str | None = None,
    processed: Processed | None = None,
    inventory: Inventory | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare picks with a reference.

    Parameters
    ----------
    picks, reference
        From `ml_prediction.explore.readers.read_arrivals`.
    tolerance
        Largest residual in seconds of an arrival that counts as found.
    scope
        What the reference is complete for.
    by
        ``station``: one pick for each arrival of a station; ``instrument``: each instrument that
        has picks is judged by its station's arrivals.
    model
        Whose picks are judged, where there are some of several models, as in
        `ml_prediction.explore.one_model.of_one_model`.
    processed
        Stations and span that were picked; None: those of the picks.
    inventory
        Station coordinates, for distances that the reference does not have.
    replicates, seed
        Of the bootstrap.

    Raises
    ------
    ConfigurationError
        If a setting is wrong, or it isn't clear which model is to be judged.
    DataError
        If nothing is left to compare.
    """
    check_tolerance(tolerance)
    if by not in get_args(By):
        raise ConfigurationError(f"--by {by}: known are {', '.join(get_args(By))}.")
    if not 1 <= replicates <= MOST_REPLICATES:
        raise ConfigurationError(
            f"--replicates {replicates}: give a number from 1 to {MOST_REPLICATES}."
        )
    if seed < 0:
        raise ConfigurationError(f"--seed {seed}: give a whole number, 0 or more.")
    if processed is not None and len(processed.models) > 1 and picks.kind == MARKERS:
        raise ConfigurationError(
            f"{picks.path}: markers don't say whose they are, and the run had "
            f"{len(processed.models)} models ({', '.join(processed.models)}): give its picks.csv "
            "and --model."
        )
    picks = of_one_model(picks, model)
    whose = [f"They are picks of {maker.id}." for maker in makers(picks)]
    ready = prepare(picks, reference, tolerance, scope or Scope(), processed, inventory)
    judged = judge(ready.picks, ready.reference, ready.coverage, tolerance, by)
    kind, units, count = units_of(judged.outcomes)
    resampling = Resampling(count, replicates, seed)
    fewer = (
        f" (of median and spread from {ORDER_REPLICATES} of these)"
        if replicates > ORDER_REPLICATES
        else ""
    )
    intervals = (
        f"Intervals: 95 %, from {replicates} bootstrap samples of {count} {kind}{fewer}."
        if count >= FEWEST_UNITS
        else f"No intervals: there are only {count} {kind} to draw from."
    )
    return Evaluation(
        judged.outcomes,
        statistics(judged.outcomes, resampling, units, by),
        sigma_reliability(judged.outcomes, resampling, units),
        probability_reliability(judged.outcomes),
        sweep(ready.picks, ready.reference, ready.coverage, tolerance, by),
        {**ready.not_judged, **judged.not_judged, **_without(ready.picks)},
        (ready.statement[0], *whose, *ready.statement[1:], intervals),
        {
            "model": model,
            "tolerance_s": tolerance,
            "by": by,
            "replicates": replicates,
            "seed": seed,
        },
    )


def _without(picks: pd.DataFrame) -> dict[str, int]:
    """How many picks lack what others of the same file have."""
    notes = {}
    for column, name in (("uncertainty_s", "sigma"), ("probability", "probability")):
        lacking = int(picks[column].isna().sum())
        if 0 < lacking < len(picks):
            notes[f"{name} of picks that have none"] = lacking
    return notes


def check_tolerance(seconds: float) -> None:
    """Whether a tolerance can be one.

    Raises
    ------
    ConfigurationError
        If not.
    """
    if not 0 < seconds <= LARGEST_TOLERANCE:
        raise ConfigurationError(
            f"--tolerance {seconds:g}: give seconds, more than 0 and at most {LARGEST_TOLERANCE:g}."
        )


def prepare(
    picks: Arrivals,
    reference: Arrivals,
    tolerance: float,
    scope: Scope,
    processed: Processed | None = None,
    inventory: Inventory | None = None,
) -> Prepared:
    """Cut both tables to what can be judged.

    Raises
    ------
    DataError
        If no reference arrival and no covered time are left.
    """
    notes: Counter[str] = Counter()
    for origin, file in (("picks", picks), ("reference", reference)):
        for reason, count in file.not_judged.items():
            notes[f"{origin}: {reason}"] += count
    known = processed or _processed_of(picks.table, scope.around_s)
    table = _keep(
        reference.table, reference.table["phase"].isin(scope.phases), notes, "phase not asked for"
    )
    if scope.source:
        with_source = table["source"].str.contains(scope.source, case=False, regex=False)
        table = _keep(table, with_source, notes, f"source is not {scope.source!r}")
    table, repeated = drop_repeated(table, tolerance)
    notes["reference: the same arrival on another channel"] += repeated
    stations, where = _stations(table, scope, known)
    table = _keep(table, _at(table, stations), notes, "station was not picked")
    start, end = known.start_ns, known.end_ns
    if scope.start is not None and scope.end is not None:
        start, end = to_ns(scope.start), to_ns(scope.end)
    table = _keep(table, table["time_ns"].between(start, end), notes, "outside of the time picked")
    table = name_events(with_distances(table, reference.origins, inventory))
    coverage, claim = _coverage(table, reference, scope, stations, (start, end))
    ours = picks.table[picks.table["phase"].isin(scope.phases)]
    ours = ours[_at(ours, stations)].reset_index(drop=True)
    margin = round(tolerance * NANOSECONDS)
    ours = ours[ours["time_ns"].between(start - margin, end + margin)].reset_index(drop=True)
    notes["picks: phase, station or time out of scope"] += len(picks.table) - len(ours)
    if table.empty and coverage.empty:
        raise DataError(
            f"Nothing to compare: of {len(reference.table)} arrivals in {reference.path} none is "
            f"at a station and time that was picked ({len(picks.table)} picks in {picks.path}). "
            "Check network and station codes and times."
        )
    statement = (
        f"{len(ours)} picks ({picks.kind}) against {len(table)} arrivals ({reference.kind}) at "
        f"{len(stations)} stations, {isoformat(to_utc(start))} to {isoformat(to_utc(end))}; "
        f"tolerance {tolerance:g} s.",
        where,
        claim,
    )
    return Prepared(ours, table, coverage, +notes, statement)


def _processed_of(picks: pd.DataFrame, margin_s: float) -> Processed:
    """What was picked, judged by the picks themselves."""
    if picks.empty:
        raise DataError("There are no picks, so that nobody knows what was picked.")
    margin = round(margin_s * NANOSECONDS)
    return Processed(
        frozenset(zip(picks["network"], picks["station"], strict=True)),
        int(picks["time_ns"].min()) - margin,
        int(picks["time_ns"].max()) + margin,
        "the picks themselves: a station without any pick counts as not picked",
    )


def _stations(
    reference: pd.DataFrame, scope: Scope, known: Processed
) -> tuple[frozenset[tuple[str, str]], str]:
    if not scope.stations:
        return known.stations, f"What was picked is known from {known.source}."
    candidates = known.stations | set(zip(reference["network"], reference["station"], strict=True))
    wanted = set(scope.stations)
    stations = frozenset(
        (network, station)
        for network, station in candidates
        if station in wanted or f"{network}.{station}" in wanted
    )
    met = {name for n, s in stations for name in (s, f"{n}.{s}")}
    if wanted - met:
        raise ConfigurationError(
            f"--stations: neither picks nor reference have {', '.join(sorted(wanted - met))}."
        )
    return stations, "Stations are those of --stations."


def _coverage(
    table: pd.DataFrame,
    reference: Arrivals,
    scope: Scope,
    stations: frozenset[tuple[str, str]],
    span: tuple[int, int],
) -> tuple[pd.DataFrame, str]:
    """Where the reference is complete, and a sentence about it."""
    if scope.start is not None:
        return whole(stations, *span, scope.phases), (
            "The reference is taken as complete between --from and --to: every other pick there "
            "is false."
        )
    if reference.spans is not None:
        spans = reference.spans[reference.spans["phase"].isin(scope.phases)]
        spans = spans[_at(spans, stations)]
        return spans.reset_index(drop=True), (
            "The labels are taken as complete for each trace and phase that is labelled: further "
            "picks there are false, though they may be arrivals that nobody labelled."
        )
    return around(table, scope.around_s), (
        f"The reference is taken as complete within {scope.around_s:g} s of its arrivals, for the "
        "same station and phase; picks elsewhere are not judged. Precision holds only there, and "
        "says nothing of quiet times: for these give a reference that is complete, with --from "
        "and --to."
    )


def _keep(table: pd.DataFrame, wanted: pd.Series, notes: Counter[str], reason: str) -> pd.DataFrame:
    notes[f"reference: {reason}"] += int((~wanted).sum())
    return table[wanted].reset_index(drop=True)


def _at(table: pd.DataFrame, stations: frozenset[tuple[str, str]]) -> pd.Series:
    """Whether rows are at these stations; by station alone where one side has no networks."""
    nameless = "network" not in table or (table["network"] == "").all()
    if nameless or all(network == "" for network, _ in stations):
        return table["station"].isin({station for _, station in stations})
    keys = pd.Series(
        list(zip(table["network"], table["station"], strict=True)), index=table.index, dtype=object
    )
    return keys.isin(stations)
