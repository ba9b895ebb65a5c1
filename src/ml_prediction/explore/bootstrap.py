"""Confidence intervals by the bootstrap (Efron 1979, doi 10.1214/aos/1176344552).

What is drawn again are whole events: picks of one earthquake are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEVEL: Final = 0.95
FEWEST_UNITS: Final = 5
"""With fewer events there is no interval: drawing so few again says nothing."""
ORDER_REPLICATES: Final = 200
"""At most so many replicates for statistics that need sorting: medians."""


class Interval(NamedTuple):
    """A value and its confidence interval; NaN where there is none."""

    value: float
    low: float
    high: float


class Resampling:
    """Weights of the units in each replicate, the same for all statistics.

    Parameters
    ----------
    units
        How many there are.
    replicates
        How many samples are drawn.
    seed
        Of the generator.
    """

    def __init__(self, units: int, replicates: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        shares = np.full(max(units, 1), 1 / max(units, 1))
        self.weights = generator.multinomial(max(units, 1), shares, size=replicates)

    def totals(self, units: Integers) -> Integers:
        """How many items each replicate has; ``units`` is that of each item."""
        counts = np.bincount(units, minlength=self.weights.shape[1])
        totals: Integers = self.weights @ counts
        return totals

    def interval(self, value: float, replicates: Floats, units: int) -> Interval:
        """Percentile interval of a statistic that so many units have a part in."""
        known = replicates[np.isfinite(replicates)]
        if not len(known) or not np.isfinite(value) or units < FEWEST_UNITS:
            return Interval(value, np.nan, np.nan)
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(value, float(low), float(high))

    def share(self, value: float, replicates: Floats, units: int) -> Interval:
        """Interval of a share; where all units agree, Wilson's, because no replicate can differ."""
        found = self.interval(value, replicates, units)
        if found.low == found.high and value in (0.0, 1.0):
            limits = binomtest(round(value * units), units).proportion_ci(LEVEL, method="wilson")
            return Interval(value, float(limits.low), float(limits.high))
        return found

    def of_samples(
        self, values: Floats, units: Integers, statistic: Callable[[Floats], float]
    ) -> Interval:
        """Interval of any statistic of values."""
        if not len(values):
            return Interval(np.nan, np.nan, np.nan)
        taking_part = len(np.unique(units))
        if taking_part < FEWEST_UNITS:
            return Interval(statistic(values), np.nan, np.nan)
        replicates = [
            statistic(np.repeat(values, weights[units])) if weights[units].any() else np.nan
            for weights in self.weights[:ORDER_REPLICATES]
        ]
        return self.interval(statistic(values), np.array(replicates), taking_part)


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Quotient; NaN where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
