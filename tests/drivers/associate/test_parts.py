"""What goes into association: velocities, places of stations, one pick for each arrival, pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from factories import TIME, make_pick
from obspy import Inventory, UTCDateTime
from obspy.core.inventory import Network, Station
from obspy.geodetics import kilometers2degrees
from obspy.taup import TauPyModel
from synthetic_quakes import FIRST_ARRIVALS

from ml_prediction.core.results import Pick
from ml_prediction.drivers.associate.doubles import one_per_arrival
from ml_prediction.drivers.associate.octo import each_once, in_pieces
from ml_prediction.drivers.associate.pick_file import read_pick_file
from ml_prediction.drivers.associate.places import Code, Places
from ml_prediction.drivers.associate.velocity import spacing_km, velocity_model, write_table
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.events import Arrival, Event
from ml_prediction.sinks.tables import picks_csv


def test_iasp91_has_its_published_velocities() -> None:
    vp, vs = velocity_model("iasp91").at(np.asarray([0.0, 19.9, 20.0, 34.9, 35.0]))
    np.testing.assert_allclose(vp, [5.8, 5.8, 6.5, 6.5, 8.04])  # Kennett and Engdahl (1991)
    np.testing.assert_allclose(vs, [3.36, 3.36, 3.75, 3.75, 4.47])


def test_velocities_of_a_file_are_linear_between_rows_with_steps(tmp_path: Path) -> None:
    file = tmp_path / "model.csv"
    file.write_text("# Vp/Vs 2\nvs, depth, vp\n2,0,4\n3,10,6\n\n4,10,8\n")
    vp, vs = velocity_model(str(file)).at(np.asarray([-1.0, 0.0, 5.0, 9.999, 10.0, 50.0]))
    np.testing.assert_allclose(vp, [4, 4, 5, 5.9998, 8, 8])
    np.testing.assert_allclose(vs, vp / 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("depth,vp\n0,5\n", "no column vs"),
        ("", "no column depth, vp, vs"),
        ("depth,vp,vs\n", "no rows"),
        ("depth,vp,vs\n0,5,x\n", "row 2: depth, vp and vs must be numbers"),
        ("depth,vp,vs\n0,5\n", "row 2"),
        ("depth,vp,vs\n0,5,3\n2,3,3\n", "row 3: vp 3 and vs 3"),
        ("depth,vp,vs\n0,5000,3000\n", "row 2: vp 5000 and vs 3000"),
        ("depth,vp,vs\n0,inf,3\n", "row 2: vp inf"),
        ("depth,vp,vs\n5,5,3\n2,5,3\n", "row 3: depths must not decrease"),
        ("depth,vp,vs\n0,5,3\nnan,5,3\n", "row 3: depths must not decrease"),
        ("depth,vp,vs\n0,5,3\n0,6,3\n0,7,4\n", "row 4: a third row of depth 0"),
    ],
)
def test_a_damaged_velocity_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "model.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=words) as error:
        velocity_model(str(file))
    assert str(file) in str(error.value)


def test_travel_times_are_those_of_taup(tmp_path: Path) -> None:
    pytest.importorskip("pyocto", reason="PyOcto is not installed (extra associate)")
    pytest.importorskip("pyrocko", reason="pyrocko is not installed (extra associate)")
    width, depth = 300.0, 100.0
    path = tmp_path / "table"
    longest = write_table(velocity_model("iasp91"), width, depth, path)
    spacing = spacing_km(width, depth)
    nx, nz = round(width / spacing) + 1, round(depth / spacing) + 1
    times = np.fromfile(path, np.float64, offset=16).reshape(2, nx, nz)
    assert longest == times[1].max()
    taup = TauPyModel("iasp91")
    for distance_km, depth_km in [(5, 10), (40, 25), (100, 5), (120, 60), (290, 12)]:
        for number, phases in enumerate(FIRST_ARRIVALS.values()):
            degrees = kilometers2degrees(distance_km)
            first = min(a.time for a in taup.get_travel_times(depth_km, degrees, phases))
            found = times[number, round(distance_km / spacing), round(depth_km / spacing)]
            assert found == pytest.approx(first, rel=0.01, abs=0.05)  # the Earth is round


@pytest.mark.parametrize(("width", "depth"), [(50.0, 50.0), (400.0, 100.0), (1500.0, 700.0)])
def test_tables_stay_small(width: float, depth: float) -> None:
    spacing = spacing_km(width, depth)
    assert (width / spacing) * (depth / spacing) < 2_100_000


def test_a_moved_station_is_where_it_was_at_the_time() -> None:
    moved = [
        Station("A", 47.0, -122.0, 100.0, start_date=UTCDateTime(2000, 1, 1), end_date=None),
        Station("A", 46.0, -122.0, 0.0, start_date=UTCDateTime(1990, 1, 1)),
        Station("B", 45.0, -121.0, 0.0),
    ]
    moved[1].end_date = UTCDateTime(1999, 1, 1)
    places = Places(Inventory([Network("XX", moved)]), {Code("XX", "A"), Code("XX", "C")})
    for year, latitude in [(1980, 46.0), (1995, 46.0), (2010, 47.0)]:
        name = places.name_at(Code("XX", "A"), UTCDateTime(year, 6, 1))
        assert places.named()[name].latitude == latitude
    assert len(places.named()) == 2
    assert Code("XX", "B") not in places  # not wanted
    assert len(places.all()) == 2


def at_seconds(*seconds: float, **changes: object) -> list[Pick]:
    return [make_pick(time=TIME + each, **changes) for each in seconds]


def test_one_pick_is_left_of_each_arrival_the_surest() -> None:
    first, second, third, later = at_seconds(0.0, 0.4, 0.9, 1.3)
    second = dataclasses.replace(second, sigma=0.01, id="second")
    of_s = make_pick(time=TIME + 0.5, phase="S")
    elsewhere = make_pick(time=TIME + 0.6, station="OTHER")
    picks = [first, second, of_s, elsewhere, third, later]
    assert list(one_per_arrival(picks)) == [second, of_s, elsewhere, later]


def test_unknown_sigma_loses_and_probability_decides_between_equals() -> None:
    unknown = make_pick(sigma=float("nan"), probability=0.99, id="a")
    low, high = (make_pick(probability=p, id=i) for p, i in ((0.4, "b"), (0.6, "c")))
    assert list(one_per_arrival([unknown, low, high])) == [high]


def test_events_are_the_same_in_pieces_and_at_once() -> None:
    rng = np.random.default_rng(3)
    arrivals = [
        make_pick(
            station=f"S{n}", time=TIME + 31.0 * quake + float(rng.uniform(0, 20)), id=f"{quake}/{n}"
        )
        for quake in range(200)
        for n in range(10)
    ]
    picks = sorted(arrivals, key=lambda pick: pick.time)
    lengths: list[int] = []

    def whole(piece: Sequence[Pick]) -> list[Event]:
        """Earthquakes that have all ten picks, by the picks' names; the origin is 1 s off."""
        lengths.append(len(piece))
        groups: dict[str, list[Pick]] = {}
        for pick in piece:
            groups.setdefault(pick.id.split("/")[0], []).append(pick)
        return [
            Event(
                TIME + 31.0 * int(name) + float(rng.uniform(-1, 1)), 0, 0, 0,
                tuple(Arrival(pick, 0.0, 1.0, 0.0) for pick in group),
            )
            for name, group in groups.items()
            if len(group) == 10
        ]  # fmt: skip

    found = [event.id for event in in_pieces(picks, whole, 25.0, at_once=150)]
    assert len(lengths) > 10
    assert max(lengths) < 200
    assert found == [event.id for event in whole(picks)]
    assert len(found) == 200


def test_a_pick_of_two_events_stays_where_it_fits_better() -> None:
    own, shared, other = at_seconds(0.0, 10.0, 20.0)
    first = Event(TIME, 0, 0, 0, (Arrival(own, 1.0, 1, 0), Arrival(shared, -0.9, 1, 0)))
    second = Event(TIME + 9, 0, 0, 0, (Arrival(shared, 0.1, 1, 0), Arrival(other, 0.2, 1, 0)))
    third = Event(TIME + 9, 0, 0, 0, (Arrival(shared, 0.5, 1, 0),))
    found = each_once([first, second, third])
    assert [[a.pick for a in event.arrivals] for event in found] == [[own], [shared, other]]
    assert each_once([first]) == [first]


def test_pick_files_read_back(tmp_path: Path) -> None:
    picks = [
        make_pick(members=("A:b", "C:d"), detection_id="x", fit_ok=False),
        make_pick(phase="S", snr=float("nan"), members=()),
    ]
    (tmp_path / "picks.csv").write_bytes(picks_csv(picks[::-1]))
    found = read_pick_file(tmp_path)
    assert [repr(pick) for pick in found] == [repr(pick) for pick in picks]  # NaN is not equal


@pytest.mark.parametrize(
    ("text", "words"),
    [("network,station\nUW,GNW\n", "no column"), ("", "no column")],
    ids=["other", "empty"],
)
def test_other_files_are_no_pick_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "picks.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_pick_file(tmp_path)
    with pytest.raises(ConfigurationError, match="Can't read"):
        read_pick_file(tmp_path / "none.csv")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "picks.csv"
    file.write_text(picks_csv([make_pick()]).decode().replace("0.0321", "wide"))
    with pytest.raises(DataError, match=r"picks\.csv, line 2"):
        read_pick_file(file)
