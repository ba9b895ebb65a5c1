"""Whether sigma and probability mean what they say."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from ml_prediction.explore.arrivals import PHASES
from ml_prediction.explore.bootstrap import Resampling, ratio

SIGMA_BINS: Final = 5
FEWEST_IN_BIN: Final = 10
ONE_SIGMA: Final = 0.6827
"""Share of a normal distribution within one standard deviation."""


def sigma_reliability(
    outcomes: pd.DataFrame, resampling: Resampling, units: npt.NDArray[np.int64]
) -> pd.DataFrame:
    """Residuals of found arrivals against their sigma, all and in up to five bins of equal number.

    Returns
    -------
    pandas.DataFrame
        ``phase``, ``bin``, ``found``, ``sigma_s`` (median of the bin), ``error_s`` (what 68 % of
        the absolute residuals are below), ``within_1_sigma`` with ``_low`` and ``_high``,
        ``within_2_sigma``. Empty where picks have no sigma.
    """
    rows: list[dict[str, Any]] = []
    sigma = outcomes["sigma_s"].to_numpy(np.float64)
    residuals = np.abs(outcomes["residual_s"].to_numpy(np.float64))
    usable = (outcomes["kind"] == "found").to_numpy() & np.isfinite(sigma) & (sigma > 0)
    for phase in PHASES:
        mine = np.flatnonzero(usable & (outcomes["phase"] == phase).to_numpy())
        if not len(mine):
            continue
        ordered = mine[np.argsort(sigma[mine], kind="stable")]
        bins = min(SIGMA_BINS, len(mine) // FEWEST_IN_BIN)
        parts = np.array_split(ordered, bins) if bins > 1 else []
        for number, part in enumerate([mine, *parts]):
            inside = residuals[part] <= sigma[part]
            replicates = ratio(
                resampling.totals(units[part[inside]]), resampling.totals(units[part])
            )
            taking_part = len(np.unique(units[part]))
            share = resampling.share(float(inside.mean()), replicates, taking_part)
            rows.append(
                {
                    "phase": phase,
                    "bin": f"{number} of {len(parts)}" if number else "all",
                    "found": len(part),
                    "sigma_s": float(np.median(sigma[part])),
                    "error_s": float(np.quantile(residuals[part], ONE_SIGMA)),
                    "within_1_sigma": share.value,
                    "within_1_sigma_low": share.low,
                    "within_1_sigma_high": share.high,
                    "within_2_sigma": float((residuals[part] <= 2 * sigma[part]).mean()),
                }
            )
    return pd.DataFrame(rows)


def probability_reliability(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Share of judged picks that are right, by tenths of the probability.

    Returns
    -------
    pandas.DataFrame
        ``phase``, ``low``, ``high``, ``picks``, ``probability`` (mean of the bin), ``right``
        (share) with ``right_low`` and ``right_high`` (Wilson's 95 % interval). Empty without
        probabilities.
    """
    rows: list[dict[str, Any]] = []
    judged = outcomes[outcomes["kind"].isin(["found", "false"]) & outcomes["probability"].notna()]
    for phase in PHASES:
        mine = judged[judged["phase"] == phase]
        tenth = np.clip((mine["probability"] * 10).to_numpy().astype(np.int64), 0, 9)
        for number in np.unique(tenth):
            part = mine[tenth == number]
            right = int((part["kind"] == "found").sum())
            limits = binomtest(right, len(part)).proportion_ci(method="wilson")
            rows.append(
                {
                    "phase": phase,
                    "low": number / 10,
                    "high": (number + 1) / 10,
                    "picks": len(part),
                    "probability": float(part["probability"].mean()),
                    "right": right / len(part),
                    "right_low": float(limits.low),
                    "right_high": float(limits.high),
                }
            )
    return pd.DataFrame(rows)
