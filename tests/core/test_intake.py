"""Which samples are fit for use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ml_prediction.core.intake import LARGEST, are_usable

BEYOND = float(np.nextafter(LARGEST, np.inf))


@pytest.mark.parametrize("place", [0, 7, 15])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize(
    ("value", "usable"),
    [
        (np.nan, False),
        (np.inf, False),
        (-np.inf, False),
        (2 * LARGEST, False),
        (-2 * LARGEST, False),
        (LARGEST / 2, True),
        (-LARGEST / 2, True),
        (0.0, True),
    ],
)
def test_one_bad_float_is_enough(
    value: float, usable: bool, dtype: type[np.floating[Any]], place: int
) -> None:
    samples = np.arange(16).astype(dtype)
    samples[place] = value
    assert are_usable(samples) is usable


def test_the_largest_value_is_usable_and_the_next_one_is_not() -> None:
    assert are_usable(np.array([-LARGEST, LARGEST]))
    assert not are_usable(np.array([0.0, BEYOND]))
    assert not are_usable(np.array([-BEYOND, 0.0]))


def test_long_integers_are_judged_too() -> None:
    assert are_usable(np.array([-(10**15), 10**15]))
    assert not are_usable(np.array([np.iinfo(np.int64).min, 0]))
    assert are_usable(np.array([np.iinfo(np.int32).min], dtype=np.int32))
