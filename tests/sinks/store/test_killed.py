"""Killed at any moment, a store holds whole units, and a resumed run ends as an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import store_writer
from store_results import contents, make_result, make_run, make_units, plain

from ml_prediction.core.results import Pick, pick_order
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store import open_store

KILLS = 8


def assert_whole_units(url: str) -> int:
    """Check that every unit is there as a whole or not at all; returns how many are."""
    try:
        store = open_store(url, create=False)
    except ConfigurationError:  # killed before there was one
        return 0
    with store:
        if not store.runs():
            return 0
        assert len(store.states()) == store_writer.STATIONS
        done = [state.key for state in store.states() if state.state == "done"]
        results = [make_result(key) for key in done]
        picks = [pick for result in results for pick in result.picks]
        in_order: list[Pick] = sorted(picks, key=pick_order)
        assert plain(store.picks()) == plain(in_order)
        assert len(list(store.detections())) == sum(len(r.detections) for r in results)
        assert [key for key, _ in store.statistics()] == [k for k in done for _ in "12"]
        return len(done)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "parquet"])
def test_killed_at_many_moments(kind: str, make_url: Callable[[str], str]) -> None:
    undisturbed = make_url(kind)
    begun, whole = store_writer.count_moments(undisturbed)
    with open_store(undisturbed, create=False) as store:
        expected = contents(store)
    assert len(expected["picks"]) == 5 * store_writer.STATIONS
    seen = set()
    half = KILLS // 2
    moments = [begun * kill // half + 1 for kill in range(half)]
    moments += [begun + (whole - begun) * (2 * kill + 1) // (2 * half) for kill in range(half)]
    for moment in moments:  # one store each
        url = make_url(kind)
        assert store_writer.kill_at(url, moment)
        seen.add(assert_whole_units(url))
        with open_store(url) as store:
            store.begin(make_run(), make_units(store_writer.STATIONS, 1), resume=True)
            for state in store.states():
                if state.state != "done":
                    store.write(make_result(state.key))
            assert contents(store) == expected
    assert len(seen) > 1  # else the moments were not all over the run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "parquet"])
def test_killed_again_and_again(kind: str, make_url: Callable[[str], str]) -> None:
    """One store, a writer killed a little later each time."""
    undisturbed, url = make_url(kind), make_url(kind)
    begun, whole = store_writer.count_moments(undisturbed)
    assert store_writer.kill_at(url, begun)
    before = killed = 0
    for kill in range(KILLS):
        killed += store_writer.kill_at(url, 1 + kill * (whole - begun) // KILLS)
        done = assert_whole_units(url)
        assert done >= before
        before = done
    assert killed > KILLS // 2
    assert not store_writer.kill_at(url, 10 * whole)
    with open_store(undisturbed, create=False) as one, open_store(url, create=False) as resumed:
        assert contents(resumed) == contents(one)
