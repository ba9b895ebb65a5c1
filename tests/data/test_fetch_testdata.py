"""`ml-prediction fetch` against a data centre on loopback, with a synthetic scenario."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from fdsn_servers import Center, Fault, free_port
from kill_and_resume import checksums, environment, fetch_and_end
from obspy.clients.filesystem.sds import Client
from rich.console import Console
from synthetic_center import GAPS, Archive

from ml_prediction.cli import run
from ml_prediction.data import fetch_testdata, transfer
from ml_prediction.data.fetch_testdata import FetchOptions, fetch_scenarios
from ml_prediction.data.retry import Patience
from ml_prediction.data.scenario import read
from ml_prediction.data.store import alone

FILES = 2 * 10 + 2  # ten channels on two days, StationXML, QuakeML


@pytest.fixture
def arguments(center: Center, scenario_file: str, tmp_path: Path) -> list[str]:
    """Of a usual run, in which every fault is quickly over."""
    out = str(tmp_path / "out")
    return ["fetch", scenario_file, "--out", out, "--client", center.url, "--attempts", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run writes to."""
    return tmp_path / "out" / "Synthetic"


@pytest.fixture
def reference(center: Center, arguments: list[str], folder: Path, tmp_path: Path) -> dict[str, str]:
    """Checksums of an undisturbed run, of which nothing is left."""
    assert run(arguments) == 0
    found = checksums(folder)
    shutil.rmtree(tmp_path / "out")
    with center.lock:
        center.log.clear()
    return found


def manifest_of(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return table


def test_what_is_written_is_an_sds_archive_with_metadata(
    arguments: list[str], folder: Path, archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    part = read(arguments[1]).parts[0]
    start, end = obspy.UTCDateTime(part.start), obspy.UTCDateTime(part.end)
    archived = Client(str(folder / "night" / "sds"))
    for trace in archive.stream.slice(start, end, nearest_sample=False):
        span = trace.stats.starttime, trace.stats.endtime
        got = archived.get_waveforms(*trace.id.split("."), *span)
        (joined,) = got.merge(method=-1).slice(*span)
        np.testing.assert_array_equal(joined.data, trace.data)
    for file in (folder / "night" / "sds").rglob("*.D.*"):
        if file.is_file():
            for trace in obspy.read(str(file), format="MSEED"):
                assert start <= trace.stats.starttime
                assert trace.stats.endtime < end
                assert trace.stats.starttime.julday == trace.stats.endtime.julday
    inventory = obspy.read_inventory(str(folder / "night" / "stations.xml"))
    assert len(inventory.get_contents()["channels"]) == 10
    assert len(obspy.read_events(str(folder / "night" / "events" / "xx1.xml"))) == 1
    said = capsys.readouterr().out
    assert f"3 stations, 10 of 10 channels, 1 events, {3 * GAPS} gaps" in said


def test_the_manifest_has_every_file_with_its_checksum_and_request(
    arguments: list[str], folder: Path, center: Center
) -> None:
    assert run(arguments) == 0
    table = manifest_of(folder)
    assert table["complete"] is True
    assert table["licence"] == "Made by the test."
    (part,) = table["parts"]
    assert len(part["files"]) == FILES
    for file in part["files"]:
        body = (folder / file["path"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
        assert len(body) == file["bytes"]
        assert file["request"].startswith(center.url)
    assert set(checksums(folder)) == {"manifest.json", *(f["path"] for f in part["files"])}
    samples = sum(file.get("samples", 0) for file in part["files"])
    assert samples == part["counts"]["samples"] > 180_000


def test_a_second_run_asks_for_nothing_and_changes_nothing(
    arguments: list[str], folder: Path, center: Center
) -> None:
    assert run(arguments) == 0
    before, asked = checksums(folder), len(center.log)
    assert run(arguments) == 0
    assert checksums(folder) == before
    assert len(center.log) == asked


def test_parallel_or_not_gives_the_same(
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ml_prediction.data.plan.PIECE_LINES", 1)
    assert run([*arguments, "--parallel", "8"]) == 0
    assert checksums(folder) == reference


@pytest.mark.parametrize("requests", [1, 2, 3, 4, 5, 6])
def test_a_run_that_is_killed_continues_with_the_same_result(
    center: Center,
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    requests: int,
) -> None:
    center.delay = 0.05
    status, _ = fetch_and_end(center, requests, *arguments[1:])
    assert status == -signal.SIGKILL or requests > 4  # near its end, it may be over before
    assert run(arguments) == 0
    assert checksums(folder) == reference
    assert not list(folder.rglob("scratch"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_at_once_keeps_what_was_got_and_says_so(
    center: Center,
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    number: signal.Signals,
) -> None:
    center.faults = [Fault("dataselect", "stall", times=9, seconds=60)]
    status, said = fetch_and_end(center, 2, *arguments[1:], number=number)
    assert status == 130
    assert "What was got is kept; the same command continues." in said
    center.faults = []
    assert run(arguments) == 0
    assert checksums(folder) == reference


def test_a_failed_run_says_what_failed_and_the_next_one_gets_it(
    center: Center,
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    center.faults = [
        Fault("dataselect", status=500, times=99, containing="SIX -- ENZ"),
        Fault("event", status=503, times=2),
    ]
    assert run(arguments) == 3
    said = capsys.readouterr().out
    assert "failed: night: XX.SIX..ENZ 2024-05-01" in said
    assert "event" in said
    assert "expected but missing" not in said
    assert manifest_of(folder)["complete"] is False
    assert len(checksums(folder)) == FILES - 3 + 1
    center.faults = []
    with center.lock:
        center.log.clear()
    assert run(arguments) == 0
    assert checksums(folder) == reference
    assert all("ENZ" in text for text in center.requests("dataselect"))


def test_what_is_absent_is_remembered_until_asked_again(
    center: Center,
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    center.faults = [Fault("dataselect", status=204, times=1, containing="SIX -- HHZ")]
    assert run(arguments) == 4  # a whole request of one day came to nothing
    said = capsys.readouterr().out
    assert "10 channel-days without data" in said
    assert "expected but missing: night: 10 of at least 20 channel-days" in said
    (part,) = manifest_of(folder)["parts"]
    assert set(part["without_data"].values()) == {"no data"}
    asked = len(center.requests("dataselect"))
    assert run(arguments) == 4
    assert len(center.requests("dataselect")) == asked
    assert run([*arguments, "--again"]) == 0
    assert checksums(folder) == reference


def test_stations_that_were_not_known_are_asked_for_again(
    center: Center, arguments: list[str], folder: Path, reference: dict[str, str]
) -> None:
    center.faults = [Fault("station", status=204)]
    assert run(arguments) == 1
    assert run(arguments) == 1
    assert run([*arguments, "--again"]) == 0
    assert checksums(folder) == reference


def test_what_is_expected_but_missing_is_named(
    center: Center, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    center.faults = [Fault("dataselect", status=204, times=99)]
    assert run(arguments) == 1
    said = capsys.readouterr().out
    assert "expected but missing: night: 0 of at least 3 stations" in said
    assert "expected but missing: night: no waveforms of XX.SIX" in said
    assert manifest_of(folder)["complete"] is False


def test_a_dry_run_writes_nothing_and_estimates(
    center: Center, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "3 stations, 10 channels, 20 channel-days, about " in said
    assert "estimates" in said
    assert not folder.exists()
    assert not center.requests("dataselect")
    assert run(arguments) == 0
    part = manifest_of(folder)["parts"][0]
    bytes_got = sum(f["bytes"] for f in part["files"] if "samples" in f)
    estimate = float(said.split("about ")[1].split(" kB")[0]) * 1000
    assert 0.5 < bytes_got / estimate < 2


def test_a_disk_that_is_too_small_is_found_before(
    center: Center,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 2000))
    assert run(arguments) == 2
    assert "2.0 kB free: make room" in capsys.readouterr().err
    assert not center.requests("dataselect")


def test_a_file_that_has_changed_is_fetched_again(
    arguments: list[str], folder: Path, reference: dict[str, str]
) -> None:
    assert run(arguments) == 0
    files = [folder / name for name in reference if name != "manifest.json"]
    for file in files[:2]:
        file.write_bytes(file.read_bytes()[:-100])
    files[5].unlink()
    assert run(arguments) == 0
    assert checksums(folder) == reference


def test_two_definitions_are_not_mixed(
    arguments: list[str], scenario_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    path = Path(scenario_file)
    path.write_text(path.read_text("utf-8").replace("00:09:00", "00:08:00"), encoding="utf-8")
    assert run(arguments) == 2
    assert "another definition" in capsys.readouterr().err


def test_two_runs_are_not_mixed(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone(folder):
        assert run(arguments) == 2
    assert "Another run is writing" in capsys.readouterr().err


def test_a_server_that_is_not_there_costs_its_parts_only(
    center: Center,
    scenario_file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path(scenario_file)
    night = path.read_text("utf-8")[path.read_text("utf-8").index("[[parts]]") :]
    gone = night.replace('"night"', '"gone"') + f'server = "http://127.0.0.1:{free_port()}"\n'
    here = night + f'server = "{center.url}"\nevent_server = "{center.url}"\n'
    gone += f'event_server = "{center.url}"\n'
    head = path.read_text("utf-8")[: path.read_text("utf-8").index("[[parts]]")]
    path.write_text(head + gone + here, encoding="utf-8")
    assert run(["fetch", scenario_file, "--out", str(tmp_path / "out"), "--attempts", "1"]) == 3
    said = capsys.readouterr().out
    assert "failed: gone: http://127.0.0.1" in said
    assert "no answer" in said
    assert "Synthetic/night: 3 stations, 10 of 10 channels, 1 events" in said


def test_a_server_that_goes_away_is_a_failure_and_what_was_got_is_kept(
    center: Center,
    arguments: list[str],
    folder: Path,
    reference: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ml_prediction.data.plan.PIECE_LINES", 1)
    center.faults = [Fault("dataselect", "reset", times=999, skip=5)]
    assert run([*arguments, "--parallel", "1", "--attempts", "1"]) == 3
    assert "failed: night: http://127.0.0.1" in capsys.readouterr().out
    assert len(list(folder.rglob("*.2024.12?"))) == 5
    tried = len(center.requests("dataselect")) - 5
    assert transfer.HOPELESS <= tried <= transfer.HOPELESS + 1  # one may have begun before the end
    center.faults = []
    assert run(arguments) == 0
    assert checksums(folder) == reference


def test_fetch_needs_no_torch() -> None:
    code = "import sys, ml_prediction.data.fetch_testdata as f; "
    code += "sys.exit(bool({'torch', 'seisbench', 'openvino'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert done.returncode == 0


def test_many_channels_of_metadata_come_in_several_requests(
    center: Center, arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.data.metadata.LINES", 3)
    center.faults = [Fault("station", status=413, skip=1)]
    assert run(arguments) == 0
    inventory = obspy.read_inventory(str(folder / "night" / "stations.xml"))
    assert [network.code for network in inventory] == ["XX", "YY"]
    assert len(inventory.get_contents()["channels"]) == 10
    first = checksums(folder)
    (folder / "night" / "stations.xml").unlink()
    assert run(arguments) == 0
    assert checksums(folder) == first


def test_progress_is_told(center: Center, scenario_file: str, tmp_path: Path) -> None:
    err = Console(file=io.StringIO(), force_terminal=True, width=120)
    options = FetchOptions(out=tmp_path / "out", client=center.url)
    out = Console(file=io.StringIO())
    assert fetch_scenarios([read(scenario_file)], options, out=out, err=err) == 0
    assert isinstance(err.file, io.StringIO)
    assert "fetching" in err.file.getvalue()
    assert "MB/s" in err.file.getvalue()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "GOODBYE_S", 0.5)
    monkeypatch.setattr(fetch_testdata, "Patience", partial(Patience, first_wait=0.01))
