from __future__ import annotations

import copy
from pathlib import Path

import pytest
from fdsn_servers import Center
from hypothesis import given
from hypothesis import strategies as st
from obspy import UTCDateTime
from synthetic_center import STATIONS

from ml_prediction.data.fdsn import Server
from ml_prediction.data.plan import (
    DAY_NS,
    PIECE_BYTES,
    PIECE_LINES,
    Channel,
    Unit,
    find_channels,
    pieces,
    units_of,
)
from ml_prediction.data.scenario import Part, read
from ml_prediction.util.codes import NSLC

CODE = NSLC("XX", "AAA", "", "HHZ")


def part(scenario_file: str, **changes: object) -> Part:
    return read(Path(scenario_file)).parts[0].model_copy(update=changes)


@given(
    st.lists(
        st.builds(
            lambda station, channel, day, rate: Unit(
                NSLC("XX", station, "", channel), day * DAY_NS, (day + 1) * DAY_NS, rate
            ),
            st.sampled_from(["AAA", "BBB", "CCC"]),
            st.sampled_from(["HHZ", "HHN", "ENE"]),
            st.integers(0, 5),
            st.sampled_from([0.1, 20.0, 100.0, 500.0]),
        ),
        unique=True,
    )
)
def test_pieces_are_bounded_and_have_every_unit_once(units: list[Unit]) -> None:
    made = pieces(units)
    assert sorted(unit for piece in made for unit in piece) == sorted(units)
    for piece in made:
        assert len(piece) <= PIECE_LINES
        assert len(piece) == 1 or sum(unit.estimate for unit in piece) <= PIECE_BYTES
        assert len({unit.start_ns for unit in piece}) == 1
    assert made == pieces(reversed(units))


def test_units_cover_the_time_day_by_day(scenario_file: str) -> None:
    night = part(scenario_file)
    first, second = units_of(night, [Channel(CODE, 20.0, 0.0)])
    assert first.start_ns == UTCDateTime("2024-05-01T23:51:00.25").ns
    assert first.end_ns == second.start_ns == UTCDateTime("2024-05-02").ns
    assert second.end_ns == UTCDateTime("2024-05-02T00:09:00").ns
    assert first.path == "2024/XX/AAA/HHZ.D/XX.AAA..HHZ.D.2024.122"
    assert second.path.endswith("2024.123")
    assert first.halves()[0].end_ns == first.halves()[1].start_ns


@pytest.mark.parametrize(
    ("changes", "stations"),
    [
        ({}, ["GAPS", "ONE", "SIX"]),
        ({"networks": ("YY",)}, ["ONE"]),
        ({"channels": ("EN?",)}, ["SIX"]),
        ({"six_component": True}, ["SIX"]),
        ({"nearest": 2}, ["GAPS", "SIX"]),
        ({"stations": ("NONE",)}, []),
    ],
    ids=str,
)
def test_channels_are_those_of_the_scenario(
    center: Center, scenario_file: str, changes: dict[str, object], stations: list[str]
) -> None:
    found = find_channels(part(scenario_file, **changes), Server(center.url))
    assert sorted({channel.code.station for channel in found}) == stations
    assert [channel.code for channel in found] == sorted(channel.code for channel in found)
    if not changes:
        assert len(found) == sum(len(row[2]) for row in STATIONS.values())
        assert 100 < max(channel.distance_km for channel in found) < 110


def test_a_region_is_a_circle(center: Center, scenario_file: str) -> None:
    night = part(scenario_file)
    assert night.region is not None
    small = night.region.model_copy(update={"radius_km": 50.0})
    found = find_channels(night.model_copy(update={"region": small}), Server(center.url))
    assert {channel.code.station for channel in found} == {"SIX", "GAPS"}
    ring = night.region.model_copy(update={"min_radius_km": 50.0})
    found = find_channels(night.model_copy(update={"region": ring}), Server(center.url))
    assert {channel.code.station for channel in found} == {"ONE"}


def test_restricted_channels_are_left_alone(center: Center, scenario_file: str) -> None:
    center.inventory = copy.deepcopy(center.inventory)
    for channel in center.inventory.select(station="GAPS")[0][0]:
        channel.restricted_status = "closed"
    found = find_channels(part(scenario_file), Server(center.url))
    assert {channel.code.station for channel in found} == {"SIX", "ONE"}
