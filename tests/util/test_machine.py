"""What is asked of the interpreter for a run is taken back after it."""

from __future__ import annotations

import gc

import pytest

from ml_prediction.util.machine import collections_spared, cores


def test_there_is_a_core() -> None:
    assert cores() >= 1


def test_collections_pass_over_what_is_there_until_the_end() -> None:
    before = gc.get_freeze_count()  # Python 3.12 begins with some hundreds

    def work() -> None:
        with collections_spared():
            assert gc.get_freeze_count() > before + 1000
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert gc.get_freeze_count() <= before


def test_who_has_frozen_objects_finds_them_so() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with collections_spared():
            pass
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
