"""Precision, recall, F1 and residuals of outcomes, by phase and by bins, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_prediction.explore.arrivals import PHASES
from ml_prediction.explore.bootstrap import FEWEST_UNITS, Interval, Resampling, ratio

Floats = npt.NDArray[np.float64]

DISTANCE_EDGES_KM: Final = (0.0, 10.0, 25.0, 50.0, 100.0, 200.0, 400.0, np.inf)
MAGNITUDE_EDGES: Final = (-np.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.inf)
WITHIN_S: Final = (0.1, 0.2, 0.5)
_MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution


def units_of(outcomes: pd.DataFrame) -> tuple[str, npt.NDArray[np.int64], int]:
    """What is drawn again, its number for each row, and how many there are.

    Events; stations where there are too few events.
    """
    codes, names = pd.factorize(outcomes["event"])
    kind = "events"
    if len(names) < FEWEST_UNITS:
        codes, names = pd.factorize(outcomes["network"] + "." + outcomes["station"])
        kind = "stations"
    return kind, codes.astype(np.int64), len(names)


def statistics(
    outcomes: pd.DataFrame, resampling: Resampling, units: npt.NDArray[np.int64], by: str
) -> pd.DataFrame:
    """One row for each phase and bin.

    Parameters
    ----------
    outcomes
        As in `ml_prediction.explore.judging.Judgement`.
    resampling, units
        What is drawn again, and its number for each outcome.
    by
        ``station`` or ``instrument``: with the former, an arrival that was missed belongs to no
        instrument, so that instruments have no recall.

    Returns
    -------
    pandas.DataFrame
        ``phase``, ``kind`` of the bin (``all``, ``distance``, ``magnitude``, ``instrument``,
        ``quality``), ``bin``; counts ``arrivals``, ``found``, ``missed``, ``false``; ``recall``,
        ``precision``, ``f1``, ``median_s``, ``spread_s`` (1.4826 times the median absolute
        deviation), ``within_0.1_s`` and so on (shares of what was found), each with ``_low`` and
        ``_high`` of its 95 % interval.
    """
    rows = []
    for phase in PHASES:
        of_phase = (outcomes["phase"] == phase).to_numpy()
        for kind, name, inside in _bins(outcomes):
            chosen = of_phase & inside
            if not chosen.any():
                continue
            whole = kind not in {"quality"} and (kind != "instrument" or by == "instrument")
            row = _row(outcomes[chosen], resampling, units[chosen], whole)
            rows.append({"phase": phase, "kind": kind, "bin": name, **row})
    return pd.DataFrame(rows)


def _row(
    outcomes: pd.DataFrame, resampling: Resampling, units: npt.NDArray[np.int64], has_recall: bool
) -> dict[str, Any]:
    is_kind = {k: (outcomes["kind"] == k).to_numpy() for k in ("found", "missed", "false")}
    n = {k: int(mask.sum()) for k, mask in is_kind.items()}
    taking_part = len(np.unique(units))
    drawn = {k: resampling.totals(units[mask]) for k, mask in is_kind.items()}
    row: dict[str, Any] = {
        "arrivals": n["found"] + n["missed"] if has_recall else np.nan,
        "found": n["found"],
        "missed": n["missed"] if has_recall else np.nan,
        "false": n["false"],
    }
    shares = {
        "recall": (n["found"], n["found"] + n["missed"], drawn["found"] + drawn["missed"]),
        "precision": (n["found"], n["found"] + n["false"], drawn["found"] + drawn["false"]),
        "f1": (
            2 * n["found"],
            2 * n["found"] + n["missed"] + n["false"],
            2 * drawn["found"] + drawn["missed"] + drawn["false"],
        ),
    }
    for name, (part, whole, drawn_whole) in shares.items():
        factor = 2 if name == "f1" else 1
        found = resampling.share(
            float(ratio(part, whole)), ratio(factor * drawn["found"], drawn_whole), taking_part
        )
        if not has_recall and name != "precision":
            found = Interval(np.nan, np.nan, np.nan)
        _put(row, name, found)
    residuals = outcomes["residual_s"].to_numpy(np.float64)[is_kind["found"]]
    of_found = units[is_kind["found"]]
    _put(row, "median_s", resampling.of_samples(residuals, of_found, _median))
    _put(row, "spread_s", resampling.of_samples(residuals, of_found, spread))
    for limit in WITHIN_S:
        near = np.abs(residuals) <= limit
        share = ratio(resampling.totals(of_found[near]), drawn["found"])
        value = float(ratio(near.sum(), len(near)))
        _put(row, f"within_{limit}_s", resampling.share(value, share, taking_part))
    return row


def spread(values: Floats) -> float:
    """1.4826 times the median absolute deviation: the standard deviation, if it were a normal."""
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def _median(values: Floats) -> float:
    return float(np.median(values))


def _put(row: dict[str, Any], name: str, found: Interval) -> None:
    row[name], row[f"{name}_low"], row[f"{name}_high"] = found


def _bins(outcomes: pd.DataFrame) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    yield "all", "all", np.ones(len(outcomes), dtype=np.bool_)
    yield from _numeric(outcomes, "distance_km", "distance", DISTANCE_EDGES_KM, " km")
    yield from _numeric(outcomes, "magnitude", "magnitude", MAGNITUDE_EDGES, "")
    for code in sorted(set(outcomes["instrument"]) - {""}):
        yield "instrument", code, (outcomes["instrument"] == code).to_numpy()
    for quality in sorted(outcomes["quality"].dropna().unique()):
        yield "quality", f"{quality:.0f}", (outcomes["quality"] == quality).to_numpy()


def _numeric(
    outcomes: pd.DataFrame, column: str, kind: str, edges: tuple[float, ...], unit: str
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Bins that include their lower edge; ``unknown`` beside them, if anything is known."""
    values = outcomes[column].to_numpy(np.float64)
    if np.isnan(values).all():
        return
    for low, high in pairwise(edges):
        name = (
            f"< {high:g}{unit}"
            if np.isneginf(low)
            else f">= {low:g}{unit}"
            if np.isposinf(high)
            else f"{low:g} - {high:g}{unit}"
        )
        yield kind, name, (values >= low) & (values < high)
    yield kind, "unknown", np.isnan(values)
