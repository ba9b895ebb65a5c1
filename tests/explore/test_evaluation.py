"""What is found, missed, false and not judged; and what the tables say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explore.tables import START, arrival, arrivals
from hypothesis import given
from hypothesis import strategies as st
from obspy import UTCDateTime, read_inventory

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import Arrivals
from ml_prediction.explore.bootstrap import Floats, Resampling
from ml_prediction.explore.coverage import owners
from ml_prediction.explore.evaluation import Evaluation, Scope, evaluate
from ml_prediction.explore.processed import Processed
from ml_prediction.explore.readers import read_arrivals
from ml_prediction.explore.report import write_report
from ml_prediction.util.times import NANOSECONDS, to_utc


def counts(evaluation: Evaluation, phase: str = "P") -> tuple[int, int, int]:
    row = evaluation.overall(phase)
    return int(row["found"]), int(row["missed"]), int(row["false"])


def test_a_pick_far_from_any_arrival_is_not_judged_and_one_near_is_false() -> None:
    picks = arrivals(arrival(10.1), arrival(14), arrival(40), arrival(10, "S"))
    found = evaluate(picks, arrivals(arrival(10)))
    assert counts(found) == (1, 0, 1)
    assert found.overall("S") == {}  # nobody picked S there: it is unknown, not absent
    assert found.not_judged["picks where the reference is not complete"] == 2
    assert "Precision holds only there" in " ".join(found.statement)
    assert found.overall("P")["median_s"] == pytest.approx(0.1)


def test_with_from_and_to_everything_else_is_false() -> None:
    picks = arrivals(arrival(10.1), arrival(14), arrival(40), arrival(10, "S"), arrival(70))
    scope = Scope(start=to_utc(START), end=to_utc(START + 60 * NANOSECONDS))
    found = evaluate(picks, arrivals(arrival(10), arrival(90)), scope=scope)
    assert counts(found) == (1, 0, 2)
    assert counts(found, "S") == (0, 0, 1)
    assert found.not_judged["reference: outside of the time picked"] == 1


def test_stations_that_were_not_picked_are_not_missed() -> None:
    reference = arrivals(arrival(10), arrival(11, station="MCW"), arrival(12, station="PAT2"))
    found = evaluate(arrivals(arrival(10)), reference)
    assert counts(found) == (1, 0, 0)
    assert found.not_judged["reference: station was not picked"] == 2
    known = Processed(
        frozenset({("UW", "HANS"), ("UW", "MCW")}), START, START + 60 * NANOSECONDS, "a summary"
    )
    assert counts(evaluate(arrivals(arrival(10)), reference, processed=known)) == (1, 1, 0)
    scope = Scope(stations=("PAT2", "UW.HANS"))
    assert counts(evaluate(arrivals(arrival(10)), reference, scope=scope)) == (1, 1, 0)


def test_both_instruments_of_a_site_may_have_the_arrival() -> None:
    picks = arrivals(arrival(10.05), arrival(10.1, channel="ENZ"), arrival(13, channel="ENZ"))
    reference = arrivals(arrival(10), arrival(20))
    found = evaluate(picks, reference)
    assert counts(found) == (1, 1, 1)
    assert found.not_judged["picks of an arrival that another instrument of the site has"] == 1
    each = evaluate(picks, reference, by="instrument")
    assert counts(each) == (2, 2, 1)
    by_code = each.statistics[each.statistics["kind"] == "instrument"].set_index("bin")
    assert by_code["recall"].to_dict() == {"EN": 0.5, "HH": 0.5}
    assert by_code["precision"].to_dict() == {"EN": 0.5, "HH": 1.0}


def test_a_second_pick_of_the_same_instrument_is_false() -> None:
    assert counts(evaluate(arrivals(arrival(9.9), arrival(10.2)), arrivals(arrival(10)))) == (
        *(1, 0),
        1,
    )


def test_an_arrival_given_for_two_channels_is_one() -> None:
    reference = arrivals(
        arrival(10.2, channel="ENZ", uncertainty_s=0.3), arrival(10, uncertainty_s=0.03)
    )
    found = evaluate(arrivals(arrival(10.1)), reference)
    assert counts(found) == (1, 0, 0)
    assert found.overall("P")["median_s"] == pytest.approx(0.1)
    assert found.not_judged["reference: the same arrival on another channel"] == 1


def test_labels_say_where_they_are_complete() -> None:
    span = {
        "network": "UW",
        "station": "HANS",
        "phase": "P",
        "start_ns": START,
        "end_ns": START + 30 * NANOSECONDS,
        "event": "e",
        "distance_km": 12.0,
        "magnitude": 1.0,
    }
    reference = arrivals(arrival(10, event="e"), spans=[span])
    found = evaluate(arrivals(arrival(10), arrival(25), arrival(11, "S")), reference)
    assert counts(found) == (1, 0, 1)
    assert found.overall("S") == {}
    false = found.outcomes[found.outcomes["kind"] == "false"]
    assert false[["event", "distance_km"]].to_numpy().tolist() == [["e", 12.0]]


def test_networks_count_only_where_both_sides_name_them() -> None:
    nameless = arrivals(arrival(10, network=""))
    assert counts(evaluate(arrivals(arrival(10)), nameless)) == (1, 0, 0)
    assert counts(evaluate(nameless, arrivals(arrival(10)))) == (1, 0, 0)
    with pytest.raises(DataError, match="Nothing to compare"):
        evaluate(arrivals(arrival(10)), arrivals(arrival(10, network="CN")))


def test_picks_without_sigma_or_probability_are_counted_where_others_have_them() -> None:
    full: dict[str, Any] = {"uncertainty_s": 0.1, "probability": 0.9}
    picks = arrivals(arrival(10, **full), arrival(30, uncertainty_s=0.1), arrival(50))
    reference = arrivals(arrival(10), arrival(30), arrival(50))
    found = evaluate(picks, reference)
    assert found.not_judged["sigma of picks that have none"] == 1
    assert found.not_judged["probability of picks that have none"] == 2
    assert evaluate(reference, picks).not_judged == {}


def test_sources_can_be_chosen() -> None:
    reference = arrivals(arrival(10, source="analyst"), arrival(15, source="theoretical"))
    found = evaluate(arrivals(arrival(10)), reference, scope=Scope(source="Analyst"))
    assert counts(found) == (1, 0, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": 0}, "--tolerance 0"),
        ({"tolerance": 1e300}, "at most 3600"),
        ({"seed": -1}, "--seed -1"),
        ({"replicates": 10**12}, "from 1 to 100000"),
        ({"by": "day"}, "--by day"),
        ({"replicates": 0}, "--replicates 0"),
        ({"scope": {"start": UTCDateTime(0)}}, "both --from and --to"),
        ({"scope": {"start": UTCDateTime(9), "end": UTCDateTime(8)}}, "later"),
        ({"scope": {"phases": ("P", "Lg")}}, "--phases P,Lg"),
        ({"scope": {"around_s": -1}}, "--around -1"),
        ({"scope": {"around_s": 1e10}}, "--around 1e[+]10.*--from and --to"),
        ({"scope": {"around_s": float("nan")}}, "--around nan"),
        (
            {"scope": {"start": UTCDateTime(1, 1, 1), "end": UTCDateTime(9999, 1, 1)}},
            "--from 0*1-01-01.* between 1700 and 2200",
        ),
        (
            {"scope": {"start": UTCDateTime(0), "end": UTCDateTime(9999, 1, 1)}},
            "--to 9999-01-01.* between 1700 and 2200",
        ),
        ({"scope": {"stations": ("UW.NONE",)}}, "UW.NONE"),
    ],
)
def test_wrong_use_is_told(options: dict[str, Any], words: str) -> None:
    def attempt(scope: Mapping[str, Any], **rest: Any) -> None:
        evaluate(arrivals(arrival(1)), arrivals(arrival(1)), scope=Scope(**scope), **rest)

    with pytest.raises(ConfigurationError, match=words):
        attempt(**{"scope": {}, **options})


def many(events: int = 40, seed: int = 1) -> Evaluation:
    """Events a minute apart, of which each pick is right or wrong by its probability."""
    generator = np.random.default_rng(seed)
    picks, reference = [], []
    for event in range(events):
        for station in ("HANS", "MCW", "PAT2"):
            time = 200.0 * event + 10
            width, p = generator.uniform(0.08, 0.2), generator.uniform(0.1, 1)
            name = {"station": station, "event": f"e{event:03d}"}
            reference.append(arrival(time, distance_km=10.0 * event, magnitude=2.0, **name))
            sigma = 0.5 * width
            more: dict[str, Any] = {
                "probability": p,
                "width_s": width,
                "quality": 1,
            }
            error = float(generator.normal(0, sigma)) if generator.uniform() < p else 4.0
            picks.append(arrival(time + error, station=station, uncertainty_s=sigma, **more))
    return evaluate(arrivals(*picks), arrivals(*reference))


def test_the_tables_add_up() -> None:
    found = many()
    table = found.statistics
    whole = found.overall("P")
    assert whole["arrivals"] == 120 == whole["found"] + whole["missed"]
    for kind in ("distance", "magnitude"):
        parts = table[(table["kind"] == kind)]
        for name in ("found", "missed", "false"):
            assert parts[name].sum() == whole[name]
    for name in ("recall", "precision", "f1", "median_s", "spread_s"):
        assert whole[f"{name}_low"] <= whole[name] <= whole[f"{name}_high"]
    assert (found.probability["right"].diff().dropna() > -0.35).all()
    assert found.probability["picks"].sum() == whole["found"] + whole["false"]
    everything = found.sigma[found.sigma["bin"] == "all"].iloc[0]
    assert everything["within_1_sigma"] == pytest.approx(0.683, abs=0.12)
    assert found.sigma[found.sigma["bin"] != "all"]["found"].sum() == everything["found"]


def test_a_higher_threshold_never_finds_more() -> None:
    table = many().sweep
    for one, two in pairwise(table.to_dict("records")):
        assert one["threshold"] < two["threshold"]
        assert one["found"] >= two["found"]
        assert one["found"] + one["missed"] == two["found"] + two["missed"]


def test_intervals_are_the_same_again_and_absent_where_there_is_too_little() -> None:
    pd.testing.assert_frame_equal(many().statistics, many().statistics)
    row = evaluate(arrivals(arrival(10)), arrivals(arrival(10))).overall("P")
    assert row["recall"] == 1
    assert np.isnan(row["recall_low"])


def test_how_many_samples_the_intervals_are_from_is_said_truly() -> None:
    def said(replicates: int) -> str:
        reference = arrivals(*(arrival(200.0 * n, event=f"e{n}") for n in range(6)))
        return evaluate(reference, reference, replicates=replicates).statement[-1]

    assert "1000 bootstrap samples of 6 events (of median and spread from 200 of" in said(1000)
    assert "from 150 bootstrap samples of 6 events." in said(150)
    resampling, units = Resampling(6, 1000, 0), np.arange(6)
    drawn: list[float] = []

    def last(values: Floats) -> float:
        drawn.append(float(values[-1]))
        return drawn[-1]

    resampling.of_samples(np.arange(6.0), units, last)
    assert len(drawn) == 201  # and of what was found itself


def test_a_share_that_all_events_agree_on_has_an_interval_all_the_same() -> None:
    resampling = Resampling(20, 100, 0)
    found = resampling.share(1.0, np.ones(100), 20)
    assert 0.8 < found.low < 0.9
    assert found.high == 1.0


def test_intervals_hold_what_they_promise() -> None:
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        right = generator.uniform(size=40) < 0.7
        units = np.arange(40)
        resampling = Resampling(40, 300, int(generator.integers(1 << 30)))
        drawn = resampling.totals(units[right]) / 40
        low, high = resampling.share(float(right.mean()), drawn, 40)[1:]
        inside += low <= 0.7 <= high
    assert 0.88 < inside / 200 < 0.99


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 20)), max_size=8),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 80)), max_size=8),
)
def test_a_time_is_covered_if_some_span_of_its_key_has_it(
    spans: list[tuple[int, int, int]], points: list[tuple[int, int]]
) -> None:
    keys = np.array([k for k, _ in points], dtype=np.int64)
    times = np.array([t for _, t in points], dtype=np.int64)
    span_keys = np.array([k for k, _, _ in spans], dtype=np.int64)
    starts = np.array([s for _, s, _ in spans], dtype=np.int64)
    ends = starts + np.array([length for _, _, length in spans], dtype=np.int64)
    for key, time, owner in zip(
        keys, times, owners(keys, times, span_keys, starts, ends), strict=True
    ):
        covering = np.flatnonzero((span_keys == key) & (starts <= time) & (time <= ends))
        assert (owner in covering) if len(covering) else owner == -1


def test_distances_come_from_coordinates_where_the_reference_has_none(shared: Path) -> None:
    folder = shared / "data" / "Full_Array"
    reference = read_arrivals(folder / "uw61965081_Origin_Quake.xml")
    bare = replace(reference, table=reference.table.assign(distance_km=np.nan))
    inventory = read_inventory(folder / "uw61965081_Example_Stations.xml")
    picks = Arrivals(Path("p"), "CSV", reference.table[reference.table["station"] == "HANS"])
    one = evaluate(picks, bare, inventory=inventory)
    two = evaluate(picks, reference)
    np.testing.assert_allclose(
        one.outcomes["distance_km"], two.outcomes["distance_km"], rtol=0.02, atol=0.5
    )


def test_the_report_has_every_table_and_no_half_files(tmp_path: Path) -> None:
    found = many()
    names = write_report(found, tmp_path / "out", ["csv", "json", "html", "png"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["statistics"][0]["found"] == found.overall("P")["found"]
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "data:image/png;base64," in page
    assert "src='http" not in page
    with pytest.raises(ConfigurationError, match="--overwrite"):
        write_report(found, tmp_path / "out", ["json"])
    write_report(found, tmp_path / "out", ["json"], overwrite=True)
    with pytest.raises(ConfigurationError, match="known are csv"):
        write_report(found, tmp_path / "out", ["pdf"])
