"""Precision and recall against the threshold, from picks made at a low one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from ml_prediction.explore.arrivals import PHASES
from ml_prediction.explore.bootstrap import ratio
from ml_prediction.explore.judging import By, Judgement, judge, sensors_of

THRESHOLDS: Final = tuple(
    float(value) for value in (0.02, 0.05, *np.round(np.arange(0.1, 0.951, 0.05), 2))
)


def judge_above(
    picks: pd.DataFrame,
    reference: pd.DataFrame,
    coverage: pd.DataFrame,
    threshold: float,
    tolerance_s: float,
    by: By = "station",
) -> Judgement:
    """Judge the picks whose probability is at least the threshold.

    A trigger at a lower threshold may join two that a higher one keeps apart, so these are nearly,
    not exactly, the picks of a run at that threshold.
    """
    above = picks[picks["probability"] >= threshold].reset_index(drop=True)
    return judge(above, reference, coverage, tolerance_s, by, sensors_of(picks))


def sweep(
    picks: pd.DataFrame,
    reference: pd.DataFrame,
    coverage: pd.DataFrame,
    tolerance_s: float,
    by: By = "station",
) -> pd.DataFrame:
    """Counts, precision, recall and F1 of each phase at each threshold.

    Thresholds below the least probability of the picks are left out: nothing changes there.
    Empty where picks have no probability.
    """
    rows: list[dict[str, Any]] = []
    probabilities = picks["probability"].dropna()
    if probabilities.empty:
        return pd.DataFrame(rows)
    least = float(probabilities.min())
    for threshold in [least, *(value for value in THRESHOLDS if value > least)]:
        outcomes = judge_above(picks, reference, coverage, threshold, tolerance_s, by).outcomes
        counts = outcomes.groupby(["phase", "kind"]).size()
        for phase in PHASES:
            found, missed, false = (
                int(counts.get((phase, kind), 0)) for kind in ("found", "missed", "false")
            )
            if found + missed + false:
                rows.append(
                    {
                        "phase": phase,
                        "threshold": threshold,
                        "found": found,
                        "missed": missed,
                        "false": false,
                        "precision": float(ratio(found, found + false)),
                        "recall": float(ratio(found, found + missed)),
                        "f1": float(ratio(2 * found, 2 * found + missed + false)),
                    }
                )
    return pd.DataFrame(rows)


def best_thresholds(table: pd.DataFrame) -> dict[str, float]:
    """Threshold with the largest F1 of each phase; the lowest of equal ones."""
    if table.empty:
        return {}
    best = table.loc[table.groupby("phase")["f1"].idxmax().dropna()]
    return dict(zip(best["phase"], best["threshold"], strict=True))
