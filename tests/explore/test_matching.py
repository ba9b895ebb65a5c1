"""Matching: as many pairs as possible, then the smallest residuals; against brute force."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_prediction.explore.matching import match

TIMES = st.lists(st.integers(0, 30), max_size=5)


def best_by_hand(picks: list[int], references: list[int], tolerance: int) -> tuple[int, int]:
    """Most pairs, and the least sum of absolute residuals with so many, over all assignments."""
    best = (0, 0)
    for size in range(1, min(len(picks), len(references)) + 1):
        for some in combinations(range(len(picks)), size):
            for others in permutations(range(len(references)), size):
                residuals = [
                    abs(picks[i] - references[j]) for i, j in zip(some, others, strict=True)
                ]
                if max(residuals) <= tolerance and (-size, sum(residuals)) < (-best[0], best[1]):
                    best = (size, sum(residuals))
    return best


def matched(picks: list[int], references: list[int], tolerance: int) -> tuple[list[int], list[int]]:
    found, arrivals = match(
        np.zeros(len(picks), dtype=np.int64),
        np.array(picks, dtype=np.int64),
        np.zeros(len(references), dtype=np.int64),
        np.array(references, dtype=np.int64),
        tolerance,
    )
    return found.tolist(), arrivals.tolist()


@given(TIMES, TIMES, st.integers(0, 12))
def test_it_is_what_brute_force_finds(
    picks: list[int], references: list[int], tolerance: int
) -> None:
    found, arrivals = matched(picks, references, tolerance)
    assert len(set(found)) == len(found)
    assert len(set(arrivals)) == len(arrivals)
    residuals = [abs(picks[i] - references[j]) for i, j in zip(found, arrivals, strict=True)]
    assert max(residuals, default=0) <= tolerance
    assert (len(residuals), sum(residuals)) == best_by_hand(picks, references, tolerance)


def test_nearest_first_would_lose_a_pair() -> None:
    # The pick at 10 is nearest to the arrival at 11, which is the only one that 15 can have.
    assert matched([10, 15], [6, 11], 4) == ([0, 1], [0, 1])


@given(st.integers(1, 200))
def test_the_order_of_rows_is_of_no_account(seed: int) -> None:
    generator = np.random.default_rng(seed)
    keys = generator.integers(0, 3, 40)
    times = generator.permutation(1000)[:40]
    order = generator.permutation(25)
    one = match(keys[:25], times[:25], keys[25:], times[25:], 40)
    two = match(keys[:25][order], times[:25][order], keys[25:], times[25:], 40)
    residuals = [
        np.abs(times[picks] - times[25:][arrivals]).sum()
        for picks, arrivals in (one, (order[two[0]], two[1]))
    ]
    assert len(one[0]) == len(two[0])
    assert residuals[0] == residuals[1]  # among equal ones, either will do


def test_other_stations_and_phases_are_never_matched() -> None:
    found, _ = match(np.array([0, 1]), np.array([5, 5]), np.array([2]), np.array([5]), 10)
    assert len(found) == 0


@pytest.mark.parametrize("picks", [[], [5]])
def test_nothing_to_match_is_no_match(picks: list[int]) -> None:
    assert matched(picks, [], 10) == ([], [])


def test_a_hundred_thousand_picks_of_many_stations_are_matched() -> None:
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 200, 100_000)
    times = generator.integers(0, 86_400 * 10**9, 100_000)
    late = times + generator.integers(-(10**8), 10**8, 100_000)
    found, arrivals = match(keys, late, keys, times, 5 * 10**8)
    assert len(found) == len(arrivals) == 100_000
