"""What every store promises, SQLite, PostgreSQL and Parquet alike."""

from __future__ import annotations

import dataclasses
import math
import os
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_detection, make_pick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obspy import UTCDateTime
from store_results import DAY, contents, make_result, make_run, make_units, plain

from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.errors import ConfigurationError, InternalError
from ml_prediction.sinks.store import Store, UnitKey, UnitResult, UnitState, open_store


def by_time(picks: Iterable[Pick]) -> list[Pick]:
    return sorted(picks, key=pick_order)


def by_onset(detections: Iterable[Detection]) -> list[Detection]:
    return sorted(detections, key=detection_order)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def test_a_run_comes_back_as_it_was(store: Store) -> None:
    created = datetime(2026, 11, 27, 3, 0, tzinfo=timezone(timedelta(hours=-8)))
    odd = make_run(run_id="a/b c%2F@é", created=created, config={"é": [1, 1.5, None, True, "x"]})
    store.begin(make_run(), [], resume=False)
    store.begin(odd, [], resume=False)
    assert store.runs() == [odd, make_run()]


def test_units_go_from_planned_to_done_or_failed(store: Store) -> None:
    units = make_units(3, 1)
    store.begin(make_run(), units, resume=False)
    assert store.states() == [UnitState(unit, "planned") for unit in units]
    store.write(make_result(units[1], attempts=2))
    store.fail(units[2], "corrupt: UW.S2..EHZ.D.2017.121", 3)
    planned, done, failed = store.states()
    assert planned == UnitState(units[0], "planned")
    assert dataclasses.replace(done, finished=None) == UnitState(
        units[1], "done", 2, "", picks=5, detections=3, seconds=12.5
    )
    assert dataclasses.replace(failed, finished=None) == UnitState(
        units[2], "failed", 3, "corrupt: UW.S2..EHZ.D.2017.121"
    )
    for state in (done, failed):
        assert state.finished is not None
        assert abs(state.finished - datetime.now(UTC)) < timedelta(minutes=5)
    store.write(make_result(units[2]))  # tried again
    assert [state.state for state in store.states()] == ["planned", "done", "done"]
    assert store.states()[2].reason == ""


def test_what_of_a_done_unit_was_left_out_is_kept(store: Store) -> None:
    (unit,) = make_units(1, 1)
    store.begin(make_run(), [unit], resume=False)
    store.write(make_result(unit, left_out="UW.S0..EHZ.D.2017.121 [record 3] is damaged.\0"))
    (state,) = store.states()
    assert (state.state, state.picks) == ("done", 5)
    assert state.reason == "UW.S0..EHZ.D.2017.121 [record 3] is damaged.?"
    store.write(make_result(unit, files="0123abcd"))  # whole now
    assert (store.states()[0].reason, store.states()[0].files) == ("", "0123abcd")


def test_a_done_unit_does_not_fail_any_more(store: Store) -> None:
    (unit,) = make_units(1, 1)
    store.begin(make_run(), [unit], resume=False)
    store.write(make_result(unit))
    before = contents(store)
    store.fail(unit, "too late", 2)
    assert contents(store) == before


def test_names_that_are_no_text_do_not_stop_a_run(store: Store) -> None:
    (unit,) = make_units(1, 1)
    path = os.fsdecode(b"/archive/caf\xe9")
    store.begin(make_run(root=path, config={"inputs": [path]}), [unit], resume=False)
    store.fail(unit, f"corrupt: {path}\0", 1)
    assert store.states()[0].reason == "corrupt: /archive/caf??"
    store.begin(make_run(root=path, config={"inputs": [path]}), [unit], resume=True)


def test_results_come_back_in_order(store: Store) -> None:
    units = make_units(3, 3)
    results = [make_result(unit) for unit in units]
    store.begin(make_run(), units, resume=False)
    for result in random.Random(0).sample(results, len(results)):
        store.write(result)
    picks = [pick for each in results for pick in each.picks]
    assert plain(store.picks()) == plain(by_time(picks))
    detections = [detection for each in results for detection in each.detections]
    assert plain(store.detections()) == plain(by_onset(detections))
    assert list(store.statistics()) == [
        (each.key, day) for each in results for day in each.statistics
    ]


def test_a_unit_written_twice_is_there_once(store: Store) -> None:
    units = make_units(2, 2)
    store.begin(make_run(), units, resume=False)
    for unit in units:
        store.write(make_result(unit, count=7))
    before = contents(store)
    for unit in units:
        store.write(make_result(unit, count=7))
    assert contents(store) == before
    store.write(make_result(units[0], count=2))
    store.write(make_result(units[1], count=0, statistics=[]))
    assert [state.picks for state in store.states()] == [2, 0, 7, 7]
    assert len(list(store.picks())) == 16


def test_what_a_unit_was_made_of_is_kept_when_opened_again(url: str) -> None:
    units = make_units(2, 1)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0], files="0123abcd"))
    with open_store(url, create=False) as store:
        assert [state.files for state in store.states()] == ["0123abcd", ""]


def test_what_was_written_is_there_when_opened_again(url: str) -> None:
    units = make_units(2, 2)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0]))
        store.fail(units[1], "time-out", 3)
        before = contents(store)
    with open_store(url, create=False) as store:
        assert contents(store) == before


def test_resuming_adds_units_and_keeps_the_others(url: str) -> None:
    units = make_units(2, 2)
    with open_store(url) as store:
        store.begin(make_run(), units[:3], resume=False)
        store.write(make_result(units[0]))
        store.fail(units[1], "time-out", 3)
    with open_store(url) as store:
        later = make_run(created=datetime(2027, 1, 1, tzinfo=UTC))
        store.begin(later, units, resume=True)
        states = [state.state for state in store.states()]
        assert states == ["done", "failed", "planned", "planned"]
        assert store.runs() == [make_run()]
        for unit in units[1:]:
            store.write(make_result(unit))
        resumed = contents(store)
    assert {state for _, state, *_ in resumed["states"]} == {"done"}
    assert len(resumed["picks"]) == 20


def test_resuming_what_was_not_begun_begins_it(store: Store) -> None:
    store.begin(make_run(), make_units(1, 1), resume=True)
    assert len(store.states()) == 1


def test_a_run_that_is_there_must_be_resumed(url: str) -> None:
    for _ in range(2):
        with open_store(url) as store:
            if not store.runs():
                store.begin(make_run(), [], resume=False)
                continue
            with pytest.raises(ConfigurationError, match="run may already: give --resume"):
                store.begin(make_run(), [], resume=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {
                "config": {
                    "pipeline": {"stride": 1500, "thresholds": {"P": 0.1}},
                    "networks": ["UW"],
                }
            },
            "config.pipeline.stride was 3000, is 1500",
        ),
        ({"config": {"networks": ["UW"]}}, r"config.pipeline was \{.*\}, is absent"),
        (
            {"models": [{"name": "EQTransformer", "weights": "pnw", "sha256": "00" * 32}]},
            r'models\[0\].weights was "original", is "pnw"',
        ),
        ({"versions": {"ml_prediction": "0.2.0", "numpy": "1.26.4"}}, 'was "0.1.0", is "0.2.0"'),
        ({"root": "/elsewhere"}, 'archive was "/archive/SDS", is "/elsewhere"'),
        ({"config_hash": "fedcba987654"}, "config_hash was"),
    ],
    ids=["setting", "missing setting", "weights", "version", "archive", "hash"],
)
def test_resuming_with_something_else_names_it(
    store: Store, changes: dict[str, Any], named: str
) -> None:
    store.begin(make_run(), make_units(1, 1), resume=False)
    with pytest.raises(ConfigurationError, match=named):
        store.begin(make_run(**changes), make_units(5, 5), resume=True)
    assert len(store.states(run_id="may")) == 1


def test_two_runs_in_one_store_do_not_mix(url: str) -> None:
    units = make_units(2, 2)
    with open_store(url) as store:
        for run_id, count in (("a", 3), ("b", 4)):
            store.begin(make_run(run_id=run_id), units, resume=False)
            for unit in units:
                store.write(make_result(unit, run_id, count))
        assert len(list(store.picks())) == 16  # b's: it was begun last
    with open_store(url) as store:
        assert len(list(store.picks(run_id="a"))) == 12
        assert {pick.run_id for pick in store.picks(run_id="b")} == {"b"}
        assert len(list(store.statistics(run_id="b"))) == 8
        with pytest.raises(ConfigurationError, match="several runs: choose one with --run"):
            store.picks()
        with pytest.raises(ConfigurationError, match="no run c: choose from a, b"):
            store.states(run_id="c")


def test_a_store_without_runs_says_so(store: Store) -> None:
    assert store.runs() == []
    with pytest.raises(ConfigurationError, match="has no runs"):
        store.states()


def test_filters(store: Store) -> None:
    units = [
        UnitKey(n, s, DAY + timedelta(days=d)) for n in ("CC", "UW") for s in "AB" for d in (0, 1)
    ]
    store.begin(make_run(), units, resume=False)
    for unit in units:
        store.write(make_result(unit))
    everything = list(store.picks())
    assert len(everything) == 40
    start, end = everything[7].time, everything[29].time
    chosen = [p for p in everything if p.network == "CC" and start <= p.time < end]
    assert 0 < len(chosen) < len(everything) / 2
    assert plain(store.picks(networks=["CC"], start=start, end=end)) == plain(chosen)
    assert {(p.network, p.station) for p in store.picks(stations={"B"})} == {
        ("CC", "B"),
        ("UW", "B"),
    }
    assert list(store.picks(stations=[])) == []
    assert list(store.picks(networks=["XX"])) == []
    detected = list(store.detections(start=start, networks=("UW",)))
    assert plain(detected) == plain(
        d for d in store.detections() if d.network == "UW" and d.onset >= start
    )


def test_times_are_filtered_to_the_nanosecond(store: Store) -> None:
    (unit,) = make_units(1, 1)
    store.begin(make_run(), [unit], resume=False)
    result = make_result(unit)
    store.write(result)
    time = result.picks[2].time
    assert len(list(store.picks(start=time))) == 3
    assert len(list(store.picks(start=UTCDateTime(ns=time.ns + 1)))) == 2
    assert len(list(store.picks(end=time))) == 2
    assert len(list(store.picks(end=UTCDateTime(ns=time.ns + 1)))) == 3


def test_midnight_does_not_disturb_the_order(store: Store) -> None:
    """A pick whose peak is after midnight, and its time before, comes before the other's."""
    today, tomorrow = make_units(1, 2)
    midnight = UTCDateTime(tomorrow.day.isoformat())
    store.begin(make_run(), [today, tomorrow], resume=False)
    codes = {"network": "UW", "station": "S0", "run_id": "may"}
    late = make_pick(**codes, time=midnight + 0.05, peak_time=midnight - 0.01, id="late")
    early = make_pick(**codes, time=midnight - 0.05, peak_time=midnight, id="early")
    for unit, pick in ((today, late), (tomorrow, early)):
        store.write(UnitResult(unit, [pick], [], [], 1.0, 1))
    assert [pick.id for pick in store.picks()] == ["early", "late"]
    assert [pick.id for pick in store.picks(start=midnight)] == ["late"]
    assert [pick.id for pick in store.picks(end=midnight)] == ["early"]


S0 = make_result(UnitKey("UW", "S0", DAY))


@pytest.mark.parametrize(
    "changes",
    [
        {"picks": [make_pick(run_id="may")]},
        {"picks": [make_pick(run_id="b", network="UW", station="S0")]},
        {"picks": [make_pick(run_id="may", network="UW", station="S0")]},
        {"detections": [make_detection(run_id="may", network="UW", station="S0")]},
        {"statistics": make_result(UnitKey("UW", "S1", DAY)).statistics},
        {"statistics": [*S0.statistics, *S0.statistics]},
        {"picks": [*S0.picks, *S0.picks]},
        {"key": UnitKey("UW", "S1", DAY)},
    ],
    ids=["station", "run", "day", "detection", "statistics", "days twice", "twice", "unknown"],
)
def test_what_does_not_belong_to_a_unit_is_refused(store: Store, changes: dict[str, Any]) -> None:
    (unit,) = make_units(1, 1)
    store.begin(make_run(), [unit], resume=False)
    with pytest.raises(InternalError):
        store.write(dataclasses.replace(make_result(unit), **changes))
    assert contents(store)["picks"] == []
    assert store.states() == [UnitState(unit, "planned")]


def test_nothing_is_written_before_a_run_begins(store: Store) -> None:
    (unit,) = make_units(1, 1)
    with pytest.raises(InternalError, match="no run has begun"):
        store.write(make_result(unit))
    with pytest.raises(InternalError, match="no run has begun"):
        store.fail(unit, "time-out", 1)


def test_a_reader_sees_whole_units_only(url: str) -> None:
    """Of what is written while a reader is in the middle, it sees nothing or all."""
    units = make_units(3, 1)
    with open_store(url) as writer, open_store(url) as reader:
        writer.begin(make_run(), units, resume=False)
        writer.write(make_result(units[0], count=20))
        picks = reader.picks()
        seen = [next(picks)]
        writer.write(make_result(units[1], count=20))
        writer.write(make_result(units[0], count=20))
        seen += picks
        assert len(seen) in (20, 40)
        assert len({pick.id for pick in seen}) == len(seen)
        assert len(list(reader.picks())) == 40


def test_numpys_numbers_are_numbers(store: Store) -> None:
    (unit,) = make_units(1, 1)
    result = make_result(unit, count=1)
    pick = dataclasses.replace(
        result.picks[0],
        sigma=np.float32(0.5),  # type: ignore[arg-type]
        snr=np.float64("nan"),  # type: ignore[arg-type,unused-ignore]
        quality=np.int64(2),  # type: ignore[arg-type]
        fit_ok=np.bool_(False),  # type: ignore[arg-type]
    )
    store.begin(make_run(), [unit], resume=False)
    store.write(dataclasses.replace(result, picks=[pick]))
    (found,) = store.picks()
    assert (found.sigma, found.quality, found.fit_ok) == (0.5, 2, False)
    assert math.isnan(found.snr)


def test_opening_makes_folders_or_says_what_is_missing(url: str, tmp_path: Path) -> None:
    if url.startswith("postgresql"):
        pytest.skip("a server's database is made by createdb")
    deep = url.replace("picks1", "new/folder/picks")
    with pytest.raises(ConfigurationError, match=f"no store {tmp_path}/new/folder/picks"):
        open_store(deep, create=False)
    assert not (tmp_path / "new").exists()
    open_store(deep).close()
    open_store(deep, create=False).close()


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
CODES = st.text("ABZ019", max_size=5)
TIMES = st.integers(0, 86_399_999_999_999).map(
    lambda ns: UTCDateTime(ns=UTCDateTime(2017, 5, 1).ns + ns)
)
ANY_TIMES = st.integers(-(10**18), 4 * 10**18).map(lambda ns: UTCDateTime(ns=ns))
PLACE = {"network": st.just("UW"), "station": st.just("S0"), "location": CODES, "channel": CODES}
MADE = {
    "model": TEXTS,
    "weights": TEXTS,
    "config_hash": TEXTS,
    "run_id": st.just("may"),
    "weights_sha256": TEXTS,
    "versions": TEXTS,
}


@st.composite
def picks(draw: st.DrawFn) -> Pick:
    peak = draw(TIMES)
    physical, unit = draw(st.one_of(st.just((None, None)), st.tuples(NUMBERS, TEXTS.filter(bool))))
    values: dict[str, st.SearchStrategy[Any]] = PLACE | MADE
    return Pick(
        **{name: draw(strategy) for name, strategy in values.items()},
        phase=draw(st.sampled_from("PS")),
        time=UTCDateTime(ns=peak.ns + draw(st.integers(-(10**8), 10**8))),
        sigma=draw(NUMBERS),
        probability=draw(NUMBERS),
        scale=draw(NUMBERS),
        quality=draw(st.integers(0, 4)),
        onset=draw(ANY_TIMES),
        end=draw(ANY_TIMES),
        misfit=draw(NUMBERS),
        polarity=draw(st.sampled_from(("up", "down", "unknown"))),
        amplitude=draw(NUMBERS),
        snr=draw(NUMBERS),
        peak_time=peak,
        width=draw(NUMBERS),
        mu_error=draw(NUMBERS),
        fit_ok=draw(st.booleans()),
        coverage=draw(NUMBERS),
        members=tuple(draw(st.lists(TEXTS, max_size=3))),
        detection_id=draw(st.none() | TEXTS),
        id=draw(TEXTS),
        polarity_confidence=draw(NUMBERS),
        amplitude_physical=physical,
        amplitude_unit=unit,
    )


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    values: dict[str, st.SearchStrategy[Any]] = PLACE | MADE
    return Detection(
        **{name: draw(strategy) for name, strategy in values.items()},
        onset=draw(TIMES),
        end=draw(ANY_TIMES),
        probability=draw(NUMBERS),
        peak_time=draw(ANY_TIMES),
        pick_ids=tuple(draw(st.lists(TEXTS, max_size=3))),
        id=draw(TEXTS),
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(picks(), max_size=6, unique_by=lambda pick: pick.id),
    st.lists(detections(), max_size=3, unique_by=lambda detection: detection.id),
)
def test_every_field_comes_back_as_it_was(
    store: Store, written: list[Pick], detected: list[Detection]
) -> None:
    unit = UnitKey("UW", "S0", date(2017, 5, 1))
    store.begin(make_run(), [unit], resume=True)
    store.write(UnitResult(unit, written, detected, [], 1.0, 1))
    assert plain(store.picks()) == plain(by_time(written))
    assert plain(store.detections()) == plain(by_onset(detected))
