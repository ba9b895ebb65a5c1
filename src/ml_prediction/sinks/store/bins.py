"""Bins in which stores count picks by probability and sigma."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

PROBABILITY_EDGES: Final = tuple(n / 20 for n in range(1, 20))
"""Upper edges of all bins but the last; a bin includes its lower edge."""

SIGMA_EDGES_S: Final = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)

UNKNOWN: Final = -1
"""Bin of what is not known."""


def bin_of(column: sa.Column[Any], edges: tuple[float, ...]) -> sa.ColumnElement[int]:
    """Number of a column's bin, in SQL."""
    below = [(column < edge, number) for number, edge in enumerate(edges)]
    return sa.case((column.is_(None), UNKNOWN), *below, else_=len(edges))


def bins_of(values: npt.NDArray[np.float64], edges: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """Number of each value's bin; NaN is not known."""
    return np.where(np.isnan(values), UNKNOWN, np.digitize(values, edges)).astype(np.int64)
