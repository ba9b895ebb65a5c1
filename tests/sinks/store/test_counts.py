"""Counts that a store makes are those of its picks, read one by one."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections import Counter
from itertools import cycle

import pytest
from store_results import make_result, make_run, make_units

from ml_prediction.sinks.store import open_store, without_password
from ml_prediction.sinks.store.bins import PROBABILITY_EDGES, SIGMA_EDGES_S, UNKNOWN

SIGMAS = (0.004, 0.01, 0.0999999, 0.3, 0.05, 7.0, float("nan"))
PROBABILITIES = (0.0, 0.1, 0.15, 0.8765, 0.95, 1.0, float("nan"), 0.3)


def number(value: float, edges: tuple[float, ...]) -> int:
    return UNKNOWN if value != value else bisect_right(edges, value)


def test_counts_are_those_of_the_picks(url: str) -> None:
    units = make_units(3, 2)
    varied = cycle(zip(SIGMAS * 8, PROBABILITIES * 7, "PSP" * 19, range(5), strict=False))
    with open_store(url) as store:
        for run_id in ("may", "june"):
            store.begin(make_run(run_id=run_id), units, resume=False)
            for key in units[:-1]:
                result = make_result(key, run_id, 40)
                picks = [
                    dataclasses.replace(pick, sigma=s, probability=p, phase=phase, quality=q)
                    for pick, (s, p, phase, q) in zip(result.picks, varied, strict=False)
                ]
                store.write(dataclasses.replace(result, picks=picks))
            store.fail(units[-1], "no", 3)
        picks = list(store.picks(run_id="may"))
        counts = store.pick_counts(run_id="may")
    assert counts.by_station == Counter((p.network, p.station, p.phase) for p in picks)
    assert counts.by_kind == Counter(
        (
            p.phase,
            p.quality,
            number(p.probability, PROBABILITY_EDGES),
            number(p.sigma, SIGMA_EDGES_S),
        )
        for p in picks
    )


def test_an_empty_run_has_no_counts(url: str) -> None:
    with open_store(url) as store:
        store.begin(make_run(), [], resume=False)
        counts = store.pick_counts()
    assert (counts.by_station, counts.by_kind) == ({}, {})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p@ss/w@host:5432/name", "postgresql://me:***@host:5432/name"),
        ("postgresql://me@host/name", "postgresql://me@host/name"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
    ],
)
def test_messages_have_no_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("edges", [PROBABILITY_EDGES, SIGMA_EDGES_S], ids=["probability", "sigma"])
def test_edges_rise(edges: tuple[float, ...]) -> None:
    assert list(edges) == sorted(set(edges))
