from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from bundle_center import QUAKE, bundle_archive, quakeml
from fdsn_servers import Center, Fault
from kill_and_resume import environment
from obspy import read_events

from ml_prediction import EventBundle
from ml_prediction.cli import run


@pytest.fixture(scope="module")
def port_and_stations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    pytest.importorskip(
        "portable_fdsnws_dataselect", reason="portable-fdsnws-dataselect is not installed"
    )
    with bundle_archive(tmp_path_factory.mktemp("quake")) as archive:
        yield archive


@pytest.fixture
def center(port_and_stations: object) -> Iterator[Center]:
    with port_and_stations.center() as center:  # type: ignore[attr-defined]
        yield center


def servers(center: Center) -> list[str]:
    return ["--events", center.url, "--client", center.url, "--timeout", "2", "--attempts", "1"]


def test_a_bundle_with_everything(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyrocko", reason="pyrocko is not installed")
    command = ["bundle", "xx1", "--out", str(tmp_path), *servers(center)]
    command += ["--pick", "EQTransformer", "--probabilities", "--plot", "--markers"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "xx1: M3.1, 2024-05-01T23:59:00" in said
    assert "waveforms: 10 channels of 3 stations" in said
    assert "EQTransformer:original: " in said
    found = EventBundle.load(tmp_path / "xx1")
    assert found.picks
    assert found.probabilities
    assert (tmp_path / "xx1" / "section.png").is_file()
    asked = len(center.log)
    assert run(command) == 0
    assert len(center.log) == asked  # all is there
    assert EventBundle.load(tmp_path / "xx1") == found
    assert {
        path.name for path in (tmp_path / "xx1").iterdir() if path.name.startswith(".")
    } == set()


def test_what_fails_is_completed_by_the_same_command(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bundle", "xx1", "--out", str(tmp_path), *servers(center)]
    center.faults = [Fault("dataselect", "status", 500, times=99, containing="FAR")]
    assert run(command) == 3
    said = capsys.readouterr()
    assert "failed: YY.FAR..EHZ" in said.err
    assert "the same command tries the rest again" in said.err
    assert len(EventBundle.load(tmp_path / "xx1").miniseed) == 9
    center.faults = [Fault("station", "status", 503, times=99)]
    assert run(command) == 3
    assert "503" in capsys.readouterr().err
    center.faults = []
    assert run(command) == 0
    assert len(EventBundle.load(tmp_path / "xx1").miniseed) == 10


def test_another_command_tells_of_earlier_failures_and_leaves_them_to_the_earlier(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bundle", "xx1", "--out", str(tmp_path), *servers(center)]
    center.faults = [Fault("dataselect", "status", 500, times=99, containing="MIDD")]
    assert run(command) == 3
    center.faults = []
    assert run([*command, "--stations", "YY.LONE"]) == 0
    said = capsys.readouterr()
    assert "6 requests of an earlier command failed, first XX.MIDD..HHE" in said.err
    assert "failed: 6 requests" in said.out
    assert run(command) == 0
    assert EventBundle.load(tmp_path / "xx1").failed == ()


@pytest.mark.slow
def test_a_killed_run_keeps_what_came_and_continues(tmp_path: Path, center: Center) -> None:
    command = ["bundle", "xx1", "--out", str(tmp_path), *servers(center), "--parallel", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ml_prediction.cli", *command],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    center.delay = 0.5
    while process.poll() is None and len(center.requests("dataselect")) < 2:
        time.sleep(0.005)
    process.kill()  # the first day is there, the second is being sent
    process.wait()
    center.delay = 0.0
    assert EventBundle.load(tmp_path / "xx1").miniseed == {}
    whole = EventBundle.from_comcat("xx1", center.url).fetch_waveforms(center.url)
    before = len(center.requests("dataselect"))
    assert run(command) == 0
    (asked,) = center.requests("dataselect")[before:]
    assert "2024-05-02" in asked.splitlines()[-1].split()[4]
    assert EventBundle.load(tmp_path / "xx1").miniseed == whole.miniseed
    assert not list((tmp_path / "xx1").glob(".*"))


def test_an_event_that_nobody_knows(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bundle", "nonsense", "--out", str(tmp_path), *servers(center)]) == 3
    assert "404" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_event_of_a_file_needs_no_comcat(tmp_path: Path, center: Center) -> None:
    (tmp_path / "mine.xml").write_bytes(quakeml())
    command = ["bundle", "mine", "--quakeml", str(tmp_path / "mine.xml"), "--out", str(tmp_path)]
    assert run([*command, "--no-waveforms"]) == 0
    assert run([*command, *servers(center)]) == 0
    assert not center.requests("event")
    assert len(EventBundle.load(tmp_path / "mine").miniseed) == 10


def test_another_document_than_the_bundles_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "mine.xml", tmp_path / "other.xml"
    catalogue = read_events(BytesIO(quakeml()))
    second = read_events(BytesIO(quakeml().replace(b"eventid=xx1", b"eventid=xx2")))[0]
    second.origins[0].depth = 5000.0
    catalogue.append(second)
    catalogue.write(str(path), format="QUAKEML")
    other.write_bytes(quakeml().replace(b"impulsive", b"emergent"))
    command = ["bundle", "xx2", "--out", str(tmp_path), "--no-waveforms"]
    assert run([*command, "--quakeml", str(path)]) == 0
    assert run([*command, "--quakeml", str(path)]) == 0
    before = EventBundle.load(tmp_path / "xx2")
    capsys.readouterr()
    assert run([*command, "--quakeml", str(other)]) == 2
    assert "leave out --quakeml" in capsys.readouterr().err
    assert run([*command, "--quakeml", str(tmp_path / "none.xml")]) == 2
    assert "none.xml" in capsys.readouterr().err
    assert run(command) == 0
    assert EventBundle.load(tmp_path / "xx2") == before


def test_edits_of_a_marker_file_go_into_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = pytest.importorskip("pyrocko.gui.snuffler.marker", reason="pyrocko is not installed")
    folder, path = tmp_path / "xx1", tmp_path / "edited.markers"
    bundle = EventBundle.from_quakeml(quakeml(), "xx1")
    bundle.save(folder)
    bundle.save_markers(path)
    assert run(["edit", str(folder), str(path)]) == 0
    assert "nothing to change" in capsys.readouterr().out
    marker.save_markers(bundle.to_markers()[:-1], str(path))
    assert run(["edit", str(folder), str(path)]) == 0
    assert "1 removed" in capsys.readouterr().out
    assert len(EventBundle.load(folder).arrivals) == 4


def test_a_marker_file_of_other_picks_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = pytest.importorskip("pyrocko.gui.snuffler.marker", reason="pyrocko is not installed")
    folder, path = tmp_path / "xx1", tmp_path / "other.markers"
    bundle = EventBundle.from_quakeml(quakeml(), "xx1")
    bundle.save(folder)
    marker.save_markers([], str(path))
    assert run(["edit", str(folder), str(path)]) == 1
    assert "no phase markers: all 5 picks would be removed" in capsys.readouterr().err
    assert EventBundle.load(folder) == bundle
    assert run(["edit", str(folder), str(path), "--remove-all"]) == 0
    assert "5 removed" in capsys.readouterr().out
    assert not len(EventBundle.load(folder).arrivals)


def test_a_catalogue_is_listed_made_and_continued(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["catalog", "--from", "2024-05-01", "--to", "2024-05-03", "--out", str(tmp_path)]
    command += ["--region", "47.6,-122.5,100", "--min-magnitude", "2", *servers(center)]
    assert run([*command, "--list"]) == 0
    assert f"xx1: M{QUAKE.magnitude}" in capsys.readouterr().out
    center.faults = [Fault("product", "status", 500, times=1)]
    assert run(command) == 3
    assert "failed: xx1" in capsys.readouterr().err
    assert run(command) == 0
    assert "1 of 1 bundles complete" in capsys.readouterr().out


def test_a_catalogue_without_events_or_waveforms_is_not_complete(
    tmp_path: Path, center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["catalog", "--from", "2024-05-01", "--to", "2024-05-03", *servers(center)]
    assert run([*command, "--out", str(tmp_path / "a"), "--channels", "LH?"]) == 4
    said = capsys.readouterr().out
    assert "0 of 1 bundles complete" in said
    assert "without waveforms: xx1" in said
    assert run([*command, "--out", str(tmp_path / "a"), "--no-waveforms"]) == 0
    none = [*command, "--out", str(tmp_path / "b"), "--min-magnitude", "8"]
    assert run([*none, "--list"]) == 0
    assert run(none) == 4
    assert "found no earthquakes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(["bundle", "xx1", "--pad", "many"], "--pad", id="pad"),
        *(
            pytest.param(["bundle", "xx1", f"--pad={pad}"], "--pad", id=f"pad {pad}")
            for pad in ("nan", "inf", "1e12", "-1e5", "1,nan")
        ),
        pytest.param(["bundle", "xx1", "--channels", ""], "--channels", id="channels"),
        pytest.param(["bundle", "xx1", "--radius", "nan"], "--radius", id="radius"),
        pytest.param(
            ["bundle", "xx1", "--radius", "10", "--stations", "YY.FAR"],
            "exclude each other",
            id="radius and stations",
        ),
        pytest.param(
            ["catalog", "--from", "2020", "--to", "2021", "--pad", "nan"], "--pad", id="catalog pad"
        ),
        pytest.param(["bundle", "xx1", "--weights", "x"], "--weights", id="weights"),
        pytest.param(
            ["bundle", "xx1", "--pick", "EQTransformer", "--combine", "mean"],
            "two models",
            id="combine",
        ),
        pytest.param(["bundle", "xx1", "--client", "NOWHERE"], "NOWHERE", id="client"),
        pytest.param(["catalog"], "--from", id="times"),
        pytest.param(
            ["catalog", "--from", "2020", "--to", "2021", "--region", "1,2"],
            "--region",
            id="region",
        ),
        pytest.param(["edit", "nothing", "nothing.markers"], "no such folder", id="edit"),
    ],
)
def test_wrong_use_is_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert word in capsys.readouterr().err
