"""Picks to events through PyOcto: which are found, of what, and how they are written."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import obspy
import pytest
from obspy import Inventory, UTCDateTime
from obspy.core.event import Catalog, Event
from obspy.geodetics import gps2dist_azimuth
from synthetic_quakes import QUAKES, false_picks, fill, network, true_picks

from ml_prediction import cli, load_model, pick
from ml_prediction.core.results import Pick
from ml_prediction.drivers.associate import run, velocity
from ml_prediction.drivers.associate.octo import Area, Settings
from ml_prediction.sinks.quakeml import resource_id
from ml_prediction.sinks.store import open_store
from ml_prediction.sinks.tables import picks_csv

EVENTS = "events.xml"


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return network()


@pytest.fixture(scope="module")
def of_quakes(inventory: Inventory) -> list[list[Pick]]:
    return true_picks(inventory)


@pytest.fixture(scope="module")
def all_picks(inventory: Inventory, of_quakes: list[list[Pick]]) -> list[Pick]:
    true = [pick for picks in of_quakes for pick in picks]
    return [*true, *false_picks(inventory, true)]


@pytest.fixture(autouse=True)
def coarse_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Travel times to some 0.1 s, quickly; those of the table itself are tested elsewhere."""
    monkeypatch.setattr(velocity, "MOST_NODES", 100_000)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inventory: Inventory) -> Path:
    """The folder that we are in, with stations.xml."""
    monkeypatch.chdir(tmp_path)
    inventory.write("stations.xml", format="STATIONXML")
    return tmp_path


@pytest.fixture
def pyocto() -> Any:
    return pytest.importorskip("pyocto", reason="PyOcto is not installed (extra associate)")


def store_of(picks: Sequence[Pick], url: str = "picks.db") -> None:
    with open_store(url) as store:
        fill(store, picks)


def associate(*options: str, store: str = "picks.db", inventory: str = "stations.xml") -> int:
    where = ["--store", store, "--inventory", inventory, "--out", EVENTS, "--threads", "1"]
    return cli.run(["associate", *where, *options])


def read(path: str | Path = EVENTS) -> Catalog:
    return obspy.read_events(str(path), format="QUAKEML")


def pick_ids(event: Event) -> set[str]:
    return {str(pick.resource_id) for pick in event.picks}


def ids(picks: Sequence[Pick]) -> set[str]:
    return {resource_id("pick", pick.id) for pick in picks}


@pytest.mark.usefixtures("pyocto", "place")
def test_every_earthquake_is_found_with_its_picks_and_no_false_one(
    of_quakes: list[list[Pick]], all_picks: list[Pick], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(all_picks)
    assert associate() == 0
    catalogue = read()
    assert [pick_ids(event) for event in catalogue] == [ids(picks) for picks in of_quakes]
    for event, quake in zip(catalogue, QUAKES, strict=True):
        origin = event.preferred_origin()
        metres, _, _ = gps2dist_azimuth(
            origin.latitude, origin.longitude, quake.latitude, quake.longitude
        )
        assert metres < 5_000
        assert abs(origin.time - quake.time) < 1
        assert abs(origin.depth / 1000 - quake.depth_km) < 8
    assert "4 events with 96 of 156 picks" in capsys.readouterr().out


@pytest.mark.usefixtures("pyocto", "place")
def test_quakeml_is_valid_and_says_what_is_known(all_picks: list[Pick]) -> None:
    from obspy.io.quakeml.core import _validate

    store_of(all_picks)
    assert associate("--csv", "events.csv") == 0
    assert _validate(io.BytesIO(Path(EVENTS).read_bytes()))
    by_id = {resource_id("pick", pick.id): pick for pick in all_picks}
    with Path("events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    catalogue = read()
    assert len(rows) == len(catalogue)
    for event, row in zip(catalogue, rows, strict=True):
        assert str(event.resource_id).endswith(row["event_id"])
        origin = event.preferred_origin()
        assert origin.time == UTCDateTime(row["time"])
        assert origin.depth / 1000 == pytest.approx(float(row["depth_km"]), abs=0.001)
        assert origin.evaluation_mode == "automatic"
        assert "iasp91" in str(origin.earth_model_id)
        assert "PyOcto/0.2" in str(origin.method_id)
        assert len(origin.arrivals) == len(event.picks) == int(row["picks"])
        for found in event.picks:
            ours = by_id[str(found.resource_id)]
            assert found.time_errors.uncertainty == ours.sigma
            assert found.evaluation_mode == "automatic"
            assert found.waveform_id.id == f"XX.{ours.station}..HHZ"


@pytest.mark.usefixtures("pyocto", "place")
def test_residuals_are_observed_minus_predicted_and_distances_are_epicentral(
    inventory: Inventory, of_quakes: list[list[Pick]]
) -> None:
    late = of_quakes[0][4]
    moved = dataclasses.replace(late, time=late.time + 0.8, peak_time=late.peak_time + 0.8)
    store_of([moved if pick is late else pick for pick in of_quakes[0]])
    assert associate() == 0
    (event,) = read()
    origin = event.preferred_origin()
    places = {station.code: station for station in inventory[0]}
    picks = {str(pick.resource_id): pick for pick in event.picks}
    for arrival in origin.arrivals:
        pick = picks[str(arrival.pick_id)]
        station = places[pick.waveform_id.station_code]
        metres, azimuth, _ = gps2dist_azimuth(
            origin.latitude, origin.longitude, station.latitude, station.longitude
        )
        assert arrival.distance * 111.195 == pytest.approx(metres / 1000, abs=0.01)
        assert arrival.azimuth == pytest.approx(azimuth, abs=0.2)  # the origin is rounded
        expected = 0.8 if arrival.pick_id.id == resource_id("pick", late.id) else 0.0
        assert arrival.time_residual == pytest.approx(expected, abs=0.45)


@pytest.mark.usefixtures("pyocto", "place")
def test_the_same_picks_give_the_same_file(all_picks: list[Pick]) -> None:
    store_of(all_picks)
    store_of(list(reversed(all_picks)), "picks")  # Parquet
    texts = []
    for store, threads in (("picks.db", "1"), ("picks.db", "2"), ("picks", "2")):
        assert associate("--overwrite", "--threads", threads, store=store) == 0
        texts.append(Path(EVENTS).read_text())
    assert len(set(texts)) == 1


@pytest.mark.usefixtures("pyocto", "place")
def test_a_second_instrument_adds_no_pick_and_the_surer_one_is_taken(
    of_quakes: list[list[Pick]], capsys: pytest.CaptureFixture[str]
) -> None:
    strong = [
        dataclasses.replace(
            pick,
            channel="ENZ",
            time=pick.time + 0.3,
            sigma=0.01 if pick.phase == "P" else 0.2,
            id=pick.id.replace(".HH/", ".EN/"),
        )
        for pick in of_quakes[0]
    ]
    store_of([*of_quakes[0], *strong])
    assert associate() == 0
    (event,) = read()
    best = [p for p in strong if p.phase == "P"] + [p for p in of_quakes[0] if p.phase == "S"]
    assert pick_ids(event) == ids(best)
    assert "24 of an arrival that another instrument" in capsys.readouterr().err


@pytest.mark.usefixtures("pyocto", "place")
def test_uncertain_picks_are_left_out(of_quakes: list[list[Pick]]) -> None:
    unsure = [dataclasses.replace(pick, sigma=0.5) for pick in of_quakes[0][:2]]
    store_of([*unsure, *of_quakes[0][2:]])
    assert associate("--max-sigma", "0.2") == 0
    assert pick_ids(read()[0]) == ids(of_quakes[0][2:])


@pytest.mark.usefixtures("pyocto", "place")
def test_a_span_of_time_is_chosen(
    of_quakes: list[list[Pick]], all_picks: list[Pick], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(all_picks)
    assert associate("--from", "2017-05-02T00:30:00", "--to", "2017-05-03") == 0
    assert [pick_ids(event) for event in read()] == [ids(of_quakes[3])]
    assert associate("--overwrite", "--from", "2017-05-02T20:00:00") == 1
    assert "No picks in picks.db from 2017-05-02T20" in capsys.readouterr().err
    assert len(read()) == 1  # the earlier file is still there


@pytest.mark.usefixtures("pyocto", "place")
def test_networks_are_patterns_as_for_archive(
    of_quakes: list[list[Pick]], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(of_quakes[0])
    assert associate("--networks", "UW,X?") == 0
    assert [pick_ids(event) for event in read()] == [ids(of_quakes[0])]
    assert associate("--overwrite", "--networks", "U?") == 1
    assert "check --from, --to and --networks" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("pyocto", "place")
def test_an_area_without_the_earthquake_has_none(
    of_quakes: list[list[Pick]], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(of_quakes[0])
    assert associate("--area", "47.4,47.8,-122.6,-122.0") == 0
    assert len(read()) == 1
    assert associate("--overwrite", "--area", "46.0,46.4,-122.6,-122.0") == 0
    assert len(read()) == 0
    assert "No event" in capsys.readouterr().err


@pytest.mark.usefixtures("pyocto", "place")
def test_stations_that_the_inventory_lacks_are_named_and_their_picks_counted(
    inventory: Inventory, of_quakes: list[list[Pick]], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(of_quakes[0])
    without = inventory.select(station="S0[1-9]").__add__(inventory.select(station="S10"))
    without.write("fewer.xml", format="STATIONXML")
    assert associate(inventory="fewer.xml") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "lacks 2 of the stations with picks: XX.S00, XX.S11" in said
    assert "4 of stations that the inventory lacks" in said
    assert len(read()[0].picks) == 20


@pytest.mark.usefixtures("pyocto", "place")
def test_an_inventory_of_elsewhere_is_an_error(
    of_quakes: list[list[Pick]], capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(of_quakes[0])
    other = network()
    other[0].code = "YY"
    other.write("other.xml", format="STATIONXML")
    assert associate(inventory="other.xml") == 1
    assert "none of the 12 stations" in capsys.readouterr().err
    assert not Path(EVENTS).exists()


@pytest.mark.usefixtures("pyocto", "place")
@pytest.mark.parametrize("given", ["6.2,3.6", "layers.csv"])
def test_velocities_can_be_given(of_quakes: list[list[Pick]], given: str) -> None:
    Path("layers.csv").write_text("depth,vp,vs\n0,5.8,3.36\n20,5.8,3.36\n20,6.5,3.75\n")
    store_of(of_quakes[0])
    assert associate("--velocity", given) == 0
    (event,) = read()
    assert len(event.picks) > 20
    assert resource_id("velocity", given) == str(event.preferred_origin().earth_model_id)


@pytest.mark.usefixtures("pyocto", "place")
def test_a_pick_file_gives_the_same_events(all_picks: list[Pick]) -> None:
    store_of(all_picks)
    assert associate() == 0
    Path("picks.csv").write_bytes(picks_csv(all_picks))
    from_file = ["--picks", "picks.csv", "--inventory", "stations.xml", "--out", "other.xml"]
    assert cli.run(["associate", *from_file, "--threads", "1"]) == 0
    assert [pick_ids(event) for event in read("other.xml")] == [pick_ids(e) for e in read()]


@pytest.mark.usefixtures("pyocto", "place")
def test_a_pick_file_without_picks_of_that_time_is_an_error(
    all_picks: list[Pick], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("picks.csv").write_bytes(picks_csv(all_picks))
    line = ["--picks", "picks.csv", "--inventory", "stations.xml", "--out", EVENTS]
    assert cli.run(["associate", *line, "--to", "2016-01-01"]) == 1
    assert "No picks in picks.csv to 2016-01-01" in capsys.readouterr().err
    assert not Path(EVENTS).exists()


@pytest.mark.usefixtures("pyocto", "place")
def test_a_store_without_runs_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    open_store("picks.db").close()
    assert associate() == 1
    assert "picks.db has no run" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_without_pyocto_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyocto", None)
    assert associate() == 2
    assert "pip install 'ml-prediction[associate]'" in capsys.readouterr().err


@pytest.mark.usefixtures("pyocto", "place")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--store", "none.db"], "none.db"),
        (["--inventory", "none.xml"], "none.xml"),
        (["--picks", "picks.csv"], "one of them"),
        (["--from", "2017-05-02", "--to", "2017-05-01"], "later than --from"),
        (["--from", "yesterday"], "--from yesterday: no time"),
        (["--area", "1,2,3"], "four numbers"),
        (["--area", "48,47,-123,-122"], "south must lie below north"),
        (["--velocity", "none.csv"], "depth,vp,vs"),
        (["--out", "stations.xml"], "--overwrite"),
        (["--out", "stations.xml", "--overwrite"], "would be written into stations.xml"),
        (["--csv", "picks.db", "--overwrite"], "would be written into picks.db"),
        (["--csv", "link.db", "--overwrite"], "would be written into picks.db"),
        (["--csv", "v.csv", "--velocity", "v.csv", "--overwrite"], "would be written into v.csv"),
        (["--out", "."], "is a folder"),
        (["--out", "/dev/null/x/events.xml"], "can't be made"),
        (["--csv", EVENTS], "two names"),
        (["--run-id", "june"], "june"),
        (["--networks", ""], "--networks '' names none"),
        (["--margin", "inf"], "--margin"),
        (["--velocity-tolerance", "inf"], "--velocity-tolerance"),
        (["--to", "9999-12-31T23:00:00"], "--to 9999-12-31T23:00:00"),
        (["--threads", "100000"], "--threads"),
        (["--min-picks", "999999999999"], "--min-picks"),
        (["--velocity", "1e-300,1e-301"], "from 0.05 to 20 km/s"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_use_is_refused(
    of_quakes: list[list[Pick]],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    store_of(of_quakes[0])
    Path("link.db").symlink_to("picks.db")
    Path("v.csv").write_text("depth,vp,vs\n0,6,3.4\n")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert associate(*options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    assert not Path(EVENTS).exists()


def test_options_not_given_are_the_settings_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def remember(options: Any, settings: Any, **consoles: Any) -> int:
        asked.extend((options, settings))
        return 0

    monkeypatch.setattr(run, "run_associate", remember)
    line = "associate --store a.db --inventory b.xml --out c.xml"
    assert cli.run(line.split()) == 0
    assert asked == [run.AssociateOptions("a.db", None, "b.xml", Path("c.xml")), Settings()]
    asked.clear()
    assert cli.run([*line.split(), "--area", "45,49,179,-178.5", "--from", "2017-05-01"]) == 0
    assert asked[0].start == UTCDateTime(2017, 5, 1)
    assert asked[1].area == Area(45, 49, 179, -178.5)


@pytest.mark.usefixtures("pyocto", "place")
@pytest.mark.parametrize("area", [[], ["--area", "46.9,48.1,179.5,-179.5"]], ids=["all", "area"])
def test_the_date_line_is_no_border(
    inventory: Inventory, of_quakes: list[list[Pick]], area: list[str]
) -> None:
    store_of(of_quakes[0])
    moved = inventory.copy()
    for station in moved[0]:
        east = station.longitude + 302.5  # from around -122.5 to around 180
        station.longitude = east - 360 if east > 180 else east
    moved.write("moved.xml", format="STATIONXML")
    assert associate(*area, inventory="moved.xml") == 0
    (event,) = read()
    assert pick_ids(event) == ids(of_quakes[0])
    expected = QUAKES[0].longitude + 302.5
    assert event.preferred_origin().longitude == pytest.approx(expected - 360, abs=0.1)


def of_record(shared: Path, record: str) -> list[Pick]:
    """Picks of a real earthquake by the bundled weights; channels at 1 Hz are left out."""
    stream = obspy.read(str(shared / "data" / "Full_Array" / record))
    for trace in stream:
        trace.stats.location = trace.stats.location.replace("--", "")
    stream.traces = [trace for trace in stream if trace.stats.sampling_rate >= 20]
    model = load_model("EQTransformer", weights="original")
    return [dataclasses.replace(found, run_id="may") for found in pick(stream, model).picks]


@pytest.mark.slow
@pytest.mark.usefixtures("pyocto", "place")
@pytest.mark.parametrize(
    ("event_id", "record", "stations", "least"),
    [
        ("uw61965081", "PortTownsend_M4.3", "Example_Stations.xml", 6),
        ("uw61956601", "Seattle_M2.1", "Stations.txt", 50),
    ],
    ids=["M4.3, six stations", "M2.1, 109 stations"],
)
def test_real_earthquakes_come_out_near_their_catalogue_origins(
    shared: Path, event_id: str, record: str, stations: str, least: int
) -> None:
    folder = shared / "data" / "Full_Array"
    store_of(of_record(shared, f"{event_id}_{record}.mseed"))
    inventory = str(folder / f"{event_id}_{stations}")
    assert associate("--min-picks", str(least), inventory=inventory) == 0
    (event,) = read()
    (truth,) = read(folder / f"{event_id}_Origin_Quake.xml")
    found, origin = event.preferred_origin(), truth.preferred_origin() or truth.origins[0]
    metres, _, _ = gps2dist_azimuth(
        found.latitude, found.longitude, origin.latitude, origin.longitude
    )
    assert metres < 10_000
    assert abs(found.time - origin.time) < 1.5
    assert abs(found.depth - origin.depth) < 10_000
