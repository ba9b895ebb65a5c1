"""Frozen mappings are values: they compare, hash, copy and pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from ml_prediction.util.frozen import FrozenMap

LIMITS = FrozenMap({"P": 0.1, "S": 0.2})


def test_it_reads_as_a_mapping() -> None:
    assert dict(LIMITS) == {"P": 0.1, "S": 0.2}
    assert LIMITS["S"] == 0.2
    assert LIMITS.get("X") is None
    assert len(LIMITS) == 2


def test_it_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        LIMITS["P"] = 0.3  # type: ignore[index]


def test_what_it_was_made_from_may_change_afterwards() -> None:
    values = {"P": 0.1}
    frozen = FrozenMap(values)
    values["P"] = 0.9
    assert frozen["P"] == 0.1


def test_equal_maps_are_one_value_in_any_order() -> None:
    other = FrozenMap({"S": 0.2, "P": 0.1})
    assert other == LIMITS
    assert hash(other) == hash(LIMITS)
    assert FrozenMap({"P": 0.1}) != LIMITS


def test_it_survives_copying_and_pickling() -> None:
    assert copy.deepcopy(LIMITS) == LIMITS
    assert pickle.loads(pickle.dumps(LIMITS)) == LIMITS
