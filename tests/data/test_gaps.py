from __future__ import annotations

from pathlib import Path

import pytest
from fdsn_servers import Center, Fault
from hypothesis import given
from hypothesis import strategies as st
from synthetic_center import GAPS, Archive

from ml_prediction.data.fdsn import Server
from ml_prediction.data.gaps import (
    ASKED,
    COUNTED,
    count_gaps,
    gappy_channels,
    parse_availability,
)
from ml_prediction.data.plan import find_channels, units_of
from ml_prediction.data.retry import Patience
from ml_prediction.data.scenario import Gappy, read
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS


@pytest.mark.parametrize("offered", [True, False, None], ids=["service", "none", "failing"])
def test_the_gappiest_are_found_by_either_way(
    center: Center, archive: Archive, scenario_file: str, offered: bool | None
) -> None:
    center.spans = archive.spans if offered else None
    if offered is None:
        center.spans = archive.spans
        center.faults = [Fault("availability", status=500, times=99)]
    part = read(Path(scenario_file)).parts[0]
    server = Server(center.url, patience=Patience(attempts=2, first_wait=0.01))
    channels = find_channels(part, server)
    told: list[str] = []
    found, how = gappy_channels(
        channels,
        units_of(part, channels),
        Gappy(min_gaps=GAPS, max_stations=5),
        server,
        told.append,
    )
    assert {channel.code.station for channel in found} == {"GAPS"}
    assert len(found) == 3
    assert how == (ASKED if offered else COUNTED)
    assert bool(told) is not bool(offered)
    assert bool(center.requests("dataselect")) is not bool(offered)
    none, _ = gappy_channels(
        channels,
        units_of(part, channels),
        Gappy(min_gaps=GAPS + 1, max_stations=5),
        server,
        told.append,
    )
    assert none == []


@given(
    lengths=st.lists(st.tuples(st.integers(1, 99), st.integers(2, 99)), min_size=1, max_size=20),
    doubled=st.sets(st.integers(0, 19)),
)
def test_gaps_between_spans_are_counted_whatever_overlaps(
    lengths: list[tuple[int, int]], doubled: set[int]
) -> None:
    spans: list[tuple[int, int, float]] = []
    at = 0
    for length, pause in lengths:
        spans.append((at, at + length * NANOSECONDS, 1.0))
        at += (length + pause) * NANOSECONDS
    twice = [spans[index] for index in doubled if index < len(spans)]
    assert count_gaps([*reversed(spans), *twice]) == len(lengths) - 1


def test_availability_is_read_in_all_its_forms() -> None:
    code = NSLC("UW", "AAA", "", "HHZ")
    blanks = "#Network Station Location Channel Quality SampleRate Earliest Latest\n"
    blanks += "UW AAA -- HHZ M 100.0 2023-01-01T00:00:00.000000Z 2023-01-01T00:01:00.000000Z\n"
    bars = "#Network|Station|Location|Channel|Earliest|Latest\n"
    bars += "UW|AAA||HHZ|2023-01-01T00:00:00Z|2023-01-01T00:01:00Z\n"
    nothing = blanks.replace(" -- ", " ")
    ends = {parse_availability(text)[code][0][1] for text in (blanks, bars, nothing)}
    assert len(ends) == 1


@pytest.mark.parametrize("text", ["<html>", "#Network Station\nUW AAA", "no columns\n"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="column"):
        parse_availability(text)
