"""driver_local: from files to an output folder, and what it says on the way."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from rich.console import Console

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.drivers import driver_local, picture, share
from ml_prediction.drivers.demo import FILE_NAME, run_demo
from ml_prediction.drivers.jobs import split
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Model
from ml_prediction.sinks.tables import CsvSink
from ml_prediction.util.codes import NSLC


class Runner:
    """Runs the driver, and keeps what it says."""

    def __init__(self) -> None:
        self.out, self.err = "", ""

    def __call__(self, inputs: list[Path], **options: Any) -> int:
        out, err = io.StringIO(), io.StringIO()
        try:
            return driver_local.run(
                [str(path) for path in inputs],
                RunConfig.from_tables(options),
                out=Console(file=out, width=200),
                err=Console(file=err, width=200),
            )
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()


@pytest.fixture
def run(eqt: Model, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(share, "load_models", lambda *args, **kwargs: [eqt])
    return Runner()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "example.mseed"
    path.parent.mkdir()
    obspy.read().write(str(path), format="MSEED")
    return path


def rows(folder: Path, name: str = "picks.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_picks_a_real_earthquake(run: Runner, example: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    formats = ["csv", "parquet", "quakeml", "markers", "mseed"]
    assert run([example], out=str(folder), plot=True, formats=formats) == 0
    p, s = rows(folder)
    reference = {"P": "2009-08-24T00:20:07.72", "S": "2009-08-24T00:20:08.70"}
    for row in (p, s):
        expected = obspy.UTCDateTime(reference[row["phase"]])
        assert abs(obspy.UTCDateTime(row["time"]) - expected) < 0.05
        assert float(row["probability"]) > 0.8
        assert row["detection_id"]
    picks = [pick for event in obspy.read_events(folder / "picks.xml") for pick in event.picks]
    assert [pick.phase_hint for pick in picks] == ["P", "S"]
    assert {tr.stats.channel for tr in obspy.read(folder / "predictions.mseed")} == {
        "EHP",
        "EHS",
        "EHD",
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == summary["outputs"]
    assert "BW.RJOB..EH.png" in summary["outputs"]
    assert summary["picks"] == {"P": 1, "S": 1}
    assert summary["counts"]["samples"] == 9000
    assert summary["run_id"] == p["run_id"]
    assert summary["config"]["pipeline"]["horizon"] == "inf"
    assert {"reading", "prediction", "writing", "plots"} <= set(summary["counts"]["seconds"])
    assert "P picks" in run.out
    assert run.err == ""


def test_several_models_pick_together_or_side_by_side(
    example: Path, shared: Path, tmp_path: Path
) -> None:
    run = Runner()
    phasenet = f"PhaseNet:{shared / 'models' / 'phasenet' / 'original'}"
    models = ["EQTransformer:original", phasenet]
    formats = ["csv", "mseed"]
    out = str(tmp_path / "together")
    options: dict[str, Any] = {"model": models, "combine": "semblance", "formats": formats}
    assert run([example], out=out, plot=True, **options) == 0
    (model,) = json.loads((tmp_path / "together" / "summary.json").read_text())["models"]
    assert model["name"] == "semblance(EQTransformer+PhaseNet)"
    assert [each["name"] for each in model["members"]] == ["EQTransformer", "PhaseNet"]
    together = rows(tmp_path / "together")
    assert [row["phase"] for row in together] == ["P", "S"]
    for row in together:
        assert row["model"] == model["name"]
        assert row["members"] == "EQTransformer:original;PhaseNet:original"
    for jobs in (1, 2):
        out = str(tmp_path / f"beside{jobs}")
        assert run([example], out=out, model=models, jobs=jobs) == 0
    beside = rows(tmp_path / "beside1")
    assert {row["model"] for row in beside} == {"EQTransformer", "PhaseNet"}
    assert [row["id"] for row in rows(tmp_path / "beside2")] == [row["id"] for row in beside]
    listed = json.loads((tmp_path / "beside1" / "summary.json").read_text())["models"]
    assert [each["sha256"] for each in listed] == [each["sha256"] for each in model["members"]]


@pytest.mark.parametrize("wanted", [{"plot": True}, {"formats": ["csv", "mseed"]}], ids=str)
def test_traces_of_models_side_by_side_are_not_mixed(
    run: Runner, example: Path, tmp_path: Path, wanted: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="can show one model, not A, B side by side"):
        run([example], out=str(tmp_path / "out"), model=["A", "B"], **wanted)
    assert not (tmp_path / "out").exists()


def test_second_run_needs_overwrite(run: Runner, example: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert run([example], out=str(folder), plot=True) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigurationError, match="--overwrite"):
        run([example], out=str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "mine.png").touch()
    assert run([example], out=str(folder), overwrite=True, formats=["markers"]) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"mine.png", "picks.markers", "summary.json"}


def test_failed_overwrite_keeps_the_old(run: Runner, example: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert run([example], out=str(folder)) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    text = tmp_path / "text.mseed"
    text.write_text("no waveforms")
    with pytest.raises(DataError):
        run([text], out=str(folder), overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_bad_files_cost_only_themselves(run: Runner, example: Path, tmp_path: Path) -> None:
    text, empty = tmp_path / "text.mseed", tmp_path / "empty.mseed"
    text.write_text("no waveforms")
    empty.touch()
    assert run([text, empty, example], out=str(tmp_path / "out")) == 0
    assert [row["phase"] for row in rows(tmp_path / "out")] == ["P", "S"]
    assert "text.mseed" in run.err
    assert "empty.mseed" in run.err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["skipped_inputs"] == sorted([str(text), str(empty)])


def test_nothing_usable_writes_nothing(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "slow.mseed"
    header = {"station": "ABC", "channel": "LHZ", "sampling_rate": 1.0}
    trace = obspy.Trace(np.arange(300, dtype=np.int32), header)
    trace.write(str(path), format="MSEED")
    with pytest.raises(DataError, match="unsupported rate"):
        run([path], out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_input_leaves_no_folder(run: Runner, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        run([tmp_path / "nowhere"], out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_bad_inventory_is_wrong_use(run: Runner, example: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no station metadata"):
        run([example], out=str(tmp_path / "out"), inventory=str(example))
    with pytest.raises(ConfigurationError, match=r"'inventory' = 'nowhere.xml': no such file"):
        run([example], out=str(tmp_path / "out"), inventory="nowhere.xml")
    assert not (tmp_path / "out").exists()


def test_full_disk_leaves_nothing(
    run: Runner, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CsvSink, "write", write)
    with pytest.raises(OSError, match="No space"):
        run([example], out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_results_are_complete_when_the_table_can_not_be_printed(
    run: Runner, example: Path, tmp_path: Path
) -> None:
    err = io.StringIO()
    config = RunConfig(out=str(tmp_path / "out"))
    out = Console(file=BrokenStream())
    assert driver_local.run([str(example)], config, out=out, err=Console(file=err, width=300)) == 0
    assert "are complete, but stdout can't be written (No space left" in err.getvalue()
    assert len(rows(tmp_path / "out")) == 2


def test_a_file_name_that_is_no_text_costs_only_its_file(
    run: Runner, example: Path, tmp_path: Path
) -> None:
    folder = example.parent
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/Messger\xe4t.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    assert run([folder], out=str(tmp_path / "out")) == 0
    text = (tmp_path / "out" / "summary.json").read_bytes().decode("utf-8")
    (problem,) = json.loads(text)["problems"]
    assert problem["reason"] == "not waveform data"
    assert problem["path"].endswith("t.txt")


def test_only_instruments_with_results_are_drawn(
    run: Runner, example: Path, tmp_path: Path
) -> None:
    slow = obspy.read()[:1]
    slow[0].stats.channel, slow[0].stats.sampling_rate = "LHZ", 1.0
    slow.write(str(tmp_path / "slow.mseed"), format="MSEED")
    assert run([example, tmp_path / "slow.mseed"], out=str(tmp_path / "out"), plot=True) == 0
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["BW.RJOB..EH.png"]


def test_picture_that_fails_costs_no_pick(
    run: Runner, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(path: Path, *args: Any) -> None:
        path.write_bytes(b"half a picture")
        raise ValueError("Image size of 1x1000000 pixels is too large")

    monkeypatch.setattr(picture, "plot_instrument", draw)
    assert run([example], out=str(tmp_path / "out"), plot=True) == 0
    assert len(rows(tmp_path / "out")) == 2
    assert not list(tmp_path.glob("out/*.png"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (problem,) = summary["problems"]
    assert (problem["path"], problem["reason"]) == ("BW.RJOB..EH.png", "not drawn")
    assert summary["skipped_inputs"] == []
    assert "picture BW.RJOB..EH.png can't be drawn (Image size" in run.err


def test_no_picks_is_a_result_too(run: Runner, example: Path, tmp_path: Path) -> None:
    options = {"thresholds": {"P": 1.0, "S": 1.0, "Detection": 1.0}}
    assert run([example], out=str(tmp_path / "out"), pipeline=options) == 0
    lines = [line.split() for line in run.out.splitlines()]
    assert ["P", "picks", "0"] in lines
    assert ["S", "picks", "0"] in lines
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["picks"] == {"P": 0, "S": 0}


def test_data_are_what_is_covered_not_first_to_last(
    run: Runner, example: Path, tmp_path: Path
) -> None:
    later = tmp_path / "in" / "later.mseed"
    stream = obspy.read()
    for trace in stream:
        trace.stats.starttime += 86400
    stream.write(str(later), format="MSEED")
    assert run([example, later], out=str(tmp_path / "out")) == 0
    assert "data 60 s" in " ".join(run.out.split())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["covered_seconds"] == pytest.approx(60, abs=0.1)


def disagreeing(folder: Path) -> list[Path]:
    """Three channels twice, with different samples in the last seconds."""
    paths = []
    for number in range(2):
        stream = obspy.read()
        for trace in stream:
            trace.stats.station = "TWICE"
            if number:
                trace.trim(trace.stats.endtime - 8)
                trace.data = trace.data + 100.0
        paths.append(folder / f"source{number}.mseed")
        stream.write(str(paths[-1]), format="MSEED")
    return paths


def test_warnings_of_the_core_are_shown_and_kept(
    run: Runner, example: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run([example, *disagreeing(tmp_path)], out=str(tmp_path / "out"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["warnings"]) == 3
    assert summary["warnings"] == sorted(summary["warnings"])
    for sentence in summary["warnings"]:
        assert "two sources give different samples" in sentence
        assert run.err.count(f"warning: {sentence}") == 1


def test_interrupt_leaves_nothing_half_written(
    run: Runner, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([example], out=str(tmp_path / "out"), plot=True, formats=["csv", "mseed"])
    assert not (tmp_path / "out").exists()


def test_channels_and_times(run: Runner, example: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"channels": ["EHZ"], "endtime": "2009-08-24T00:20:20"}
    assert run([example], out=str(tmp_path / "out"), **options) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["channels"] == ["BW.RJOB..EHZ"]
    assert summary["counts"]["samples"] == 1701


def test_demo_prints_picks_and_where_they_are(run: Runner, tmp_path: Path) -> None:
    out = io.StringIO()
    folder = tmp_path / "demo-output"
    for _ in range(2):  # again and again
        console = Console(file=out, width=200)
        assert run_demo(str(folder), stdout=console, stderr=Console(file=io.StringIO())) == 0
    for words in (
        "2009-08-24T00:20:07.",
        "2009-08-24T00:20:08.",
        str(folder / "picks.csv"),
        ".png",
    ):
        assert words in out.getvalue()


def test_demo_leaves_other_results_alone(run: Runner, example: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    mine = tmp_path / FILE_NAME  # named like the demonstration's, but not its own
    example.rename(mine)
    quiet = {"stdout": Console(file=io.StringIO()), "stderr": Console(file=io.StringIO())}
    assert run([mine], out=str(folder), plot=True) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigurationError, match="results of another run: choose another"):
        run_demo(str(folder), **quiet)
    (folder / "summary.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="results of another run: choose another"):
        run_demo(str(folder), **quiet)
    (folder / "summary.json").write_bytes(before["summary.json"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_demo_names_only_its_own_pictures(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "holiday.png").touch()
    out = io.StringIO()
    consoles = {"stdout": Console(file=out, width=200), "stderr": Console(file=io.StringIO())}
    assert run_demo(str(folder), **consoles) == 0
    assert "BW.RJOB..EH.png" in out.getvalue()
    assert "holiday" not in out.getvalue()
    assert (folder / "holiday.png").exists()


def test_split_keeps_instruments_whole() -> None:
    channels = [
        NSLC("UW", f"S{i}", "", f"{band}{c}")
        for i in range(3)
        for band in ("HH", "EN")
        for c in "ZNE"
    ]
    parts = split(channels, 4)
    assert sorted(c for part in parts for c in part) == sorted(channels)
    owners: dict[object, set[int]] = {}
    for i, part in enumerate(parts):
        for channel in part:
            owners.setdefault(channel.instrument, set()).add(i)
    assert all(len(owner) == 1 for owner in owners.values())
    assert len(split(channels[:3], 4)) == 1


def network(folder: Path, stations: int, repeats: int, letter: str = "S") -> list[Path]:
    """The example earthquake at several stations, several times."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    paths = []
    for number in range(stations):
        stream = obspy.Stream()
        for repeat in range(repeats):
            for trace in obspy.read():
                trace.stats.station = f"{letter}{number}"
                trace.stats.starttime += 30.0 * repeat + 1.37 * number
                trace.data = trace.data + rng.normal(0, 5, trace.stats.npts)
                stream.append(trace)
        paths.append(folder / f"S{number}.mseed")
        stream.merge(1).write(str(paths[-1]), format="MSEED")
    return paths


@pytest.mark.slow
def test_jobs_give_the_same(run: Runner, tmp_path: Path) -> None:
    paths = network(tmp_path / "in", 3, 4)
    text = tmp_path / "text.mseed"
    text.write_text("no waveforms")
    both = tmp_path / "both.mseed"  # instruments of both processes in one damaged file
    raw = b"".join(path.read_bytes() for path in network(tmp_path / "more", 2, 1, "M"))
    both.write_bytes(raw[:4096] + b"?" * 512 + raw[4608:])
    found, summaries, probabilities = [], [], []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        formats = ["csv", "quakeml", "mseed"]
        options = {"out": str(folder), "jobs": jobs, "formats": formats, "plot": True}
        inputs = [*paths, text, both, *disagreeing(tmp_path)]
        assert run(inputs, device="cpu", **options) == 0
        found.append([(r["id"], r["time"][:22], r["detection_id"]) for r in rows(folder)])
        summaries.append(json.loads((folder / "summary.json").read_text()))
        stream = obspy.read(folder / "predictions.mseed").merge(1)
        probabilities.append({trace.id: trace for trace in stream})
    assert found[0] == found[1]
    assert len(found[0]) >= 12
    assert [r[1] for r in found[0]] == sorted(r[1] for r in found[0])
    assert len(summaries[0]["problems"]) == 2
    assert len(summaries[0]["warnings"]) == 3
    names = ("picks", "detections", "channels", "problems", "warnings", "outputs", "span")
    for name in names:
        assert summaries[0][name] == summaries[1][name], name
    for name in ("samples", "windows", "skipped"):
        assert summaries[0]["counts"][name] == summaries[1]["counts"][name], name
    assert probabilities[0].keys() == probabilities[1].keys()
    for code, trace in probabilities[0].items():
        other = probabilities[1][code]
        assert trace.stats.starttime == other.stats.starttime
        np.testing.assert_allclose(trace.data, other.data, atol=1e-5)


def long_run(folder: Path, jobs: int) -> subprocess.Popen[str]:
    """A run that takes minutes, once it has begun to pick."""
    network(folder / "in", 2, 100)
    command = [
        *(sys.executable, "-m", "ml_prediction.cli", "pick", str(folder / "in")),
        *("--out", str(folder / "out"), "--jobs", str(jobs), "--stride", "50"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(folder.glob("out/.scratch-*/**/picks"))) < jobs and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    return process


def workers(parent: int) -> list[int]:
    """Spawned processes of a parent; its resource tracker is none."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]  # -ww: pytest sets COLUMNS
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split(maxsplit=2) for line in lines]
    return [int(pid) for pid, ppid, args in found if int(ppid) == parent and "spawn_main" in args]


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "name"), [(1, "SIGHUP"), (2, "SIGINT")])
def test_interrupt_of_every_process(jobs: int, name: str, tmp_path: Path) -> None:
    process = long_run(tmp_path, jobs)
    os.killpg(process.pid, getattr(signal, name))  # as a terminal does: to every process
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "interrupted" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_worker_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    process = long_run(tmp_path, 2)
    victim, _ = workers(process.pid)
    os.kill(victim, signal.SIGKILL)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 3, error
    assert "a process was killed, probably for lack of memory: use fewer --jobs" in error
    assert len([line for line in error.splitlines() if not line.startswith("picking: ")]) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    process = long_run(tmp_path, 2)
    left = workers(process.pid)
    assert len(left) == 2
    process.kill()
    process.communicate(timeout=120)  # returns when nobody holds the pipes any more
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in left) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)


def test_a_run_on_what_came_too_late_live_says_so_on_every_pick(
    run: Runner, example: Path, tmp_path: Path
) -> None:
    late = example.with_name("BW.RJOB..EHZ.2009-08-24.late.mseed")
    example.rename(late)
    for number, given in enumerate((late, late.parent)):
        folder = tmp_path / str(number)
        assert run([given], out=str(folder)) == 0
        assert all(row["run_id"].endswith("-late") for row in rows(folder))
    obspy.read().write(str(example), format="MSEED")
    assert run([late.parent], out=str(tmp_path / "both")) == 0
    assert not any(row["run_id"].endswith("-late") for row in rows(tmp_path / "both"))
