from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_center import QUAKE, Archive, quakeml
from fdsn_servers import Center, Fault, Quake
from obspy import UTCDateTime

from ml_prediction import BundleCatalog
from ml_prediction.data import comcat
from ml_prediction.data.faults import TransientError, UnreachableError
from ml_prediction.data.fdsn import Server
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.bundle_recipe import Recipe
from ml_prediction.explore.catalog import INDEX, Outcome

DAY = ("2024-05-01T00:00:00", "2024-05-03T00:00:00")
HERE = (47.6, -122.5, 100.0)


def renamed(name: str) -> bytes:
    return quakeml().replace(b"eventid=xx1", f"eventid={name}".encode())


OTHERS = [
    Quake("xx2", "2024-05-02T00:00:30", 47.7, -122.4, 10.0, 2.0, renamed("xx2")),
    Quake("xx3", "2024-05-02T10:00:00", 47.7, -122.4, 10.0, 1.0),  # long after the waveforms
    Quake("far", "2024-05-02T00:00:00", 10.0, 10.0, 10.0, 6.0),
]


@pytest.fixture
def center(quake_archive: Archive) -> Iterator[Center]:
    with quake_archive.center() as center:
        center.quakes |= {quake.id: quake for quake in OTHERS}
        yield center


@pytest.fixture
def server(center: Center) -> Server:
    return _server(center)


def _server(center: Center) -> Server:
    from ml_prediction.data.retry import Patience

    return Server(center.url, timeout=2.0, patience=Patience(attempts=2, first_wait=0.01))


def recipe(server: Server) -> Recipe:
    return Recipe(events=server, data=server, radius_km=150.0)


def test_a_search_finds_what_is_inside_its_limits(tmp_path: Path, server: Server) -> None:
    found = BundleCatalog.search(
        tmp_path / "a", *DAY, region=HERE, min_magnitude=1.5, client=server
    )
    assert [event.event_id for event in found.events] == ["xx1", "xx2"]  # in order of time
    assert len(found) == 2
    assert len(BundleCatalog.search(tmp_path / "b", *DAY, client=server)) == 4
    none = BundleCatalog.search(tmp_path / "c", "1999-01-01", "1999-01-02", client=server)
    assert list(none) == []
    assert none.table().empty


def test_each_event_becomes_a_bundle_and_is_not_made_again(
    tmp_path: Path, center: Center, server: Server
) -> None:
    found = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server)
    heard: list[int] = []
    made = list(found.build(recipe(server), done=heard.append))
    assert [(bundle.event_id, len(bundle.miniseed)) for bundle in made] == [
        ("xx1", 11),
        ("xx2", 11),
        ("xx3", 0),
    ]
    assert heard == [1, 2, 3]
    asked = len(center.log)
    assert list(found.build(recipe(server))) == made
    assert len(center.log) == asked
    again = BundleCatalog.load(tmp_path)
    assert again.events == found.events
    assert list(again) == made
    assert again["xx2"] == made[1]
    table = again.table()
    assert table["state"].tolist() == ["there"] * 3
    assert table["channels"].tolist() == [11, 11, 0]
    assert table["catalogue_picks"].tolist() == [5, 5, 0]
    with pytest.raises(KeyError):
        _ = again["xx9"]


def test_the_same_search_is_not_asked_again_another_needs_another_folder(
    tmp_path: Path, center: Center, server: Server
) -> None:
    first = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server)
    asked = len(center.log)
    assert BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server) == first
    assert len(center.log) == asked
    with pytest.raises(ConfigurationError, match="another search"):
        BundleCatalog.search(tmp_path, *DAY, client=server)
    center.quakes["new"] = replace(QUAKE, id="new", time="2024-05-01T05:00:00")
    more = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server, again=True)
    assert [event.event_id for event in more.events] == ["new", "xx1", "xx2", "xx3"]


def test_an_event_that_fails_costs_itself_and_a_second_run_completes(
    tmp_path: Path, center: Center, server: Server
) -> None:
    found = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server)
    center.faults = [
        Fault("event", "status", 500, times=9, containing="eventid=xx1"),
        Fault("dataselect", "drop", times=99, containing="LONE"),
    ]
    outcome = Outcome()
    first = list(found.build(recipe(server), outcome))
    assert [bundle.event_id for bundle in first] == ["xx2", "xx3"]
    assert set(outcome.failed) == {"xx1", "xx2"}
    assert "500" in outcome.failed["xx1"]
    assert "YY.LONE..EHZ" in outcome.failed["xx2"]
    assert found.table()["state"].tolist() == ["none", "failed", "there"]
    center.faults, outcome = [], Outcome()
    assert [len(bundle.miniseed) for bundle in found.build(recipe(server), outcome)] == [11, 11, 0]
    assert outcome.failed == {}
    assert outcome.empty == ["xx3"]


def test_without_a_server_a_run_ends_soon(tmp_path: Path, center: Center, server: Server) -> None:
    found = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server)
    center.faults = [Fault("event", "reset", times=999)]
    heard: list[int] = []
    with pytest.raises(UnreachableError):
        list(found.build(recipe(server), done=heard.append))
    assert heard == [1, 2]


def test_a_damaged_bundle_is_told(tmp_path: Path, server: Server) -> None:
    found = BundleCatalog.search(tmp_path, *DAY, region=HERE, client=server)
    list(found.build(recipe(server)))
    (tmp_path / "xx1" / "event.xml").write_text("", encoding="utf-8")
    assert found.table()["state"].tolist() == ["damaged", "there", "there"]
    outcome = Outcome()
    assert len(list(found.build(recipe(server), outcome))) == 2
    assert "event.xml" in outcome.failed["xx1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("yesterday", DAY[1]), "not a time"),
        ((DAY[1], DAY[0]), "not later"),
    ],
)
def test_wrong_times_are_named(tmp_path: Path, arguments: tuple[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        BundleCatalog.search(tmp_path, *arguments)


def test_a_wrong_region_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="radius"):
        BundleCatalog.search(tmp_path, *DAY, region=(122.0, 47.0, 10.0))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"region": (47.0, -122.0, math.inf)}, "radius"),
        ({"region": (math.nan, -122.0, 10.0)}, "Region"),
        ({"min_magnitude": math.nan}, "--min-magnitude"),
        ({"max_depth_km": math.inf}, "--max-depth"),
        ({"min_magnitude": 5.0, "max_magnitude": 3.0}, "--min-magnitude.* 5 is more than .* 3"),
        ({"min_depth_km": 100.0, "max_depth_km": 1.0}, "--min-depth.* 100 is more than .* 1"),
    ],
    ids=str,
)
def test_limits_that_nothing_can_meet_are_named_and_nobody_is_asked(
    tmp_path: Path, center: Center, server: Server, limits: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        BundleCatalog.search(tmp_path / "k", *DAY, client=server, **limits)
    assert not center.log
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "edit", [{"event_id": None}, {"event_id": ""}, {"time_ns": "x"}, {"depth_km": "deep"}], ids=str
)
def test_an_edited_list_is_damaged(tmp_path: Path, server: Server, edit: dict[str, object]) -> None:
    BundleCatalog.search(tmp_path, *DAY, client=server)
    table = json.loads((tmp_path / INDEX).read_text("utf-8"))
    table["events"][0] |= edit
    (tmp_path / INDEX).write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(DataError, match=r"catalog\.json: damaged .*search again"):
        BundleCatalog.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"format": "x"}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="no catalogue"):
        BundleCatalog.load(tmp_path)
    (tmp_path / INDEX).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=INDEX):
        BundleCatalog.load(tmp_path)


def test_a_search_that_finds_too_much_is_made_in_parts(center: Center, server: Server) -> None:
    start, end = (UTCDateTime(time) for time in DAY)
    whole = comcat.search(server, start, end)
    center.faults = [Fault("event", "status", 413, times=3)]
    assert comcat.search(server, start, end) == whole
    assert len(center.requests("event")) == 8  # whole, 2 x 3 halves and quarters, and the first


@pytest.mark.parametrize("kind", ["truncate", "drop", "html"])
def test_a_damaged_list_of_events_is_asked_for_again(
    center: Center, server: Server, kind: str
) -> None:
    start, end = (UTCDateTime(time) for time in DAY)
    center.faults = [Fault("event", kind)]
    assert len(comcat.search(server, start, end)) == 4
    center.faults = [Fault("event", kind, times=9)]
    with pytest.raises(TransientError):
        comcat.search(server, start, end)
