"""Whole archive runs, into each kind of store: killed, resumed, with rubbish among the files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from forbidden import Forbid
from postgres_server import PASSWORD, PostgresServer
from small_archive import MIDNIGHT, station, write_sds
from store_results import make_result, make_run, make_units

from ml_prediction import cli
from ml_prediction.config import PipelineConfig
from ml_prediction.core.results import Pick
from ml_prediction.drivers.archive.run import record_of
from ml_prediction.drivers.archive.status import in_part, lines_of, rate_of
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import load_configured
from ml_prediction.errors import MLPredictionError
from ml_prediction.models import Model
from ml_prediction.sinks.store import UnitKey, UnitState, open_store

DAYS = ["--from", "2017-05-01", "--to", "2017-05-03"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four stations around a midnight."""
    root = tmp_path_factory.mktemp("sds")
    for number, code in enumerate(("AAA", "BBB", "CCC", "DDD")):
        quakes = [MIDNIGHT - 300 + 7 * number, MIDNIGHT - 5.0]
        write_sds(root, station(code, MIDNIGHT - 400, 800, quakes))
    return root


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def has_begun(url: str) -> bool:
    try:
        return bool(states_in(url))
    except MLPredictionError:  # no store, or no run in it, or it is being made
        return False


def picks_in(url: str) -> list[Pick]:
    with open_store(url, create=False) as store:
        return list(store.picks())


def states_in(url: str) -> dict[str, UnitState]:
    with open_store(url, create=False) as store:
        return {str(state.key): state for state in store.states()}


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def expected(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Pick]:
    """What an undisturbed run finds, into Parquet."""
    url = f"parquet:///{tmp_path_factory.mktemp('undisturbed') / 'parquet'}"
    assert cli.run(["archive", str(root), *DAYS, "--store", url, "--jobs", "2"]) == 0
    assert {str(key) for key in states_in(url)} == {
        f"XX.{code} 2017-05-0{day}" for code in ("AAA", "BBB", "CCC", "DDD") for day in (1, 2)
    }
    found = picks_in(url)
    assert len(found) >= 14
    return found


def resuming(root: Path, url: str, jobs: int) -> list[str]:
    """The command that begins a run, or goes on with it."""
    command = [sys.executable, "-m", "ml_prediction", "archive", str(root), *DAYS, "--resume"]
    return [*command, "--store", url, "--jobs", str(jobs)]


def assert_same(found: list[Pick], expected: list[Pick]) -> None:
    assert [pick.id for pick in found] == [pick.id for pick in expected]
    for pick, reference in zip(found, expected, strict=True):
        assert abs(pick.time - reference.time) < 1e-3
        assert pick.detection_id == reference.detection_id
        assert pick.run_id == reference.run_id


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_picks_of_an_undisturbed_one(
    root: Path, expected: list[Pick], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    rng = np.random.default_rng(4)
    for _ in range(3):
        process = subprocess.Popen(resuming(root, url, jobs=2))
        time.sleep(rng.uniform(4, 8))
        process.kill()
        process.wait()
    assert subprocess.run(resuming(root, url, jobs=1), check=False).returncode == 0
    assert_same(picks_in(url), expected)
    assert cli.run(["archive", "status", "--store", url]) == 0
    assert "8 station-days: 8 done, 0 failed, 0 to do" in capsys.readouterr().out


@pytest.mark.slow
def test_a_database_that_is_killed_and_comes_back_costs_nothing(
    root: Path, expected: list[Pick], postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    command = resuming(root, url, jobs=1)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: has_begun(url), "run")
        wait_until(lambda: any(s.state == "done" for s in states_in(url).values()), "unit")
        postgres.kill()
        assert process.stderr is not None
        for line in process.stderr:
            if "waiting for the store" in line:
                break
        postgres.start()
        said = "".join(process.communicate())
        assert process.returncode == 0
        assert "8 units" in said
        assert PASSWORD.replace("@", "%40").replace("/", "%2F") not in said
    finally:
        process.kill()
        process.communicate()
    assert_same(picks_in(url), expected)


def test_a_run_is_not_begun_twice_and_another_has_a_place_of_its_own(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", f"sqlite:///{tmp_path / 'p.db'}", "--jobs", "1"]
    one = ["archive", str(root), "--from", "2017-05-02", "--to", "2017-05-03", *store]
    one += ["--channels", "XX.AAA..HH?"]
    assert cli.run(one) == 0
    assert cli.run(one) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.run([*one, "--resume"]) == 0
    assert "1 of 1 units are done already" in capsys.readouterr().err


@pytest.mark.slow
def test_a_day_that_cannot_be_read_fails_alone_and_is_done_once_it_is_mended(
    root: Path, expected: list[Pick], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next day goes without its context; --redo-partial gives it that."""
    damaged = tmp_path / "sds"
    for code in ("AAA", "BBB"):
        shutil.copytree(root / "2017" / "XX" / code, damaged / "2017" / "XX" / code)
    files = sorted((damaged / "2017" / "XX" / "AAA").rglob("*.121"))
    whole = {path: path.read_bytes() for path in files}
    rubbish = np.random.default_rng(1).bytes(5000)
    for path in files:
        path.write_bytes(rubbish)
    store = f"sqlite:///{tmp_path / 'p.db'}"
    line = ["archive", str(damaged), *DAYS, "--store", store, "--jobs", "1"]
    assert cli.run(line) == 4
    said = capsys.readouterr()
    assert "failed: XX.AAA 2017-05-01" in said.err
    assert "1 units failed" in said.out
    states = states_in(store)
    assert states["XX.AAA 2017-05-01"].state == "failed"
    assert states["XX.AAA 2017-05-01"].attempts == 3
    assert sum(state.state == "done" for state in states.values()) == 3
    assert cli.run(["archive", "status", "--store", store]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "No file of the day can be used" in told
    assert "1 of the done ones without a part of their files" in told
    assert "--resume --redo-partial" in told
    for path, body in whole.items():
        path.write_bytes(body)
    assert cli.run([*line, "--resume"]) == 0
    states = states_in(store)
    assert {state.state for state in states.values()} == {"done"}
    assert [key for key, state in states.items() if state.reason] == ["XX.AAA 2017-05-02"]
    for path in files:
        path.with_name(path.name.replace(".121", ".122")).write_bytes(rubbish)
    assert cli.run([*line, "--resume", "--redo-partial"]) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert "failed: XX.AAA 2017-05-02: No file of the day" in told
    assert "1 keep what they had, --redo-partial tries these again" in told
    assert states_in(store)["XX.AAA 2017-05-02"] == states["XX.AAA 2017-05-02"]
    for path in files:
        next_day = path.name.replace(".121", ".122")
        shutil.copy(next(root.rglob(next_day)), path.with_name(next_day))
    assert cli.run([*line, "--resume", "--redo-partial"]) == 0
    assert "3 of 4 units are done already" in capsys.readouterr().err
    assert not any(state.reason for state in states_in(store).values())
    assert_same(picks_in(store), [pick for pick in expected if pick.station in ("AAA", "BBB")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("archive ROOT --from May --to 2017-05-03", "--from May"),
        ("archive ROOT --from 2017-05-03 --to 2017-05-03", "must be later"),
        ("archive none --from 2017-05-01 --to 2017-05-03", "none is no folder"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --store ftp://x/y", "ftp://"),
        ("archive status --store sqlite:///none.db", "none.db"),
        ("archive ROOT --from 0001-01-01 --to 2017-05-03", "--from 0001-01-01"),
        ("archive ROOT --from 2017-05-01 --to 9999-12-31", "--to 9999-12-31"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --networks ,", "--networks ','"),
        ("archive '' --from 2017-05-01 --to 2017-05-03", "SDS_ROOT is empty text"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --redo-partial", "give --resume, too"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --run-id a/b --model none", "--run-id"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --store x://y --model none", "x://"),
        ("archive ROOT --from 2017-05-01 --to 2017-05-03 --store /dev/null/x", "/dev/null"),
        ("archive status --store /etc/passwd", "/etc/passwd is no folder"),
        ("archive report --store none.db --out new/run.html", "none.db"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    line: str,
    words: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(shlex.split(line.replace("ROOT", str(root), 1))) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_ends_the_workers_and_leaves_what_is_done(root: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'p.db'}"
    line = [sys.executable, "-m", "ml_prediction", "archive", str(root), *DAYS, "--store", store]
    process = subprocess.Popen([*line, "--jobs", "2"], start_new_session=True)
    deadline = time.monotonic() + 60
    while not has_begun(store):
        assert time.monotonic() < deadline, "it does not begin"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) in (0, 130)
    deadline = time.monotonic() + 20
    while is_there(process.pid):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)
    assert {state.state for state in states_in(store).values()} <= {"done", "planned"}


def test_a_run_is_the_same_only_with_the_same_settings_models_and_calibration(
    eqt: Model, tmp_path: Path
) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text("{}")
    other.write_text("{ }")
    configs = [
        RunConfig(),
        RunConfig(channels=("HH?",)),
        RunConfig(pipeline=PipelineConfig(stride=1500)),
        RunConfig(calibration=str(one)),
        RunConfig(calibration=str(other)),
    ]
    records = [record_of(tmp_path, config, [eqt]) for config in configs]
    assert len({record.run_id for record in records}) == len(configs)
    again = record_of(tmp_path, RunConfig(jobs=3, out="elsewhere"), [eqt])
    assert again.run_id == records[0].run_id


def test_rate_and_time_left_are_those_of_the_newest_hour() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = [begin + timedelta(minutes=minute) for minute in (0, 100, 110, 120)]
    assert rate_of(times) == pytest.approx(6.0)
    assert rate_of(times[:1]) is rate_of([]) is rate_of([begin, begin]) is None
    key = UnitKey("XX", "AAA", date(2017, 5, 1))
    states = [UnitState(key, "done", finished=each, picks=2) for each in times]
    states += [UnitState(key, "planned")] * 12
    assert lines_of(states) == [
        "  16 station-days: 4 done, 0 failed, 12 to do",
        "  8 picks, 0 detections",
        "  6 station-days an hour; 2.0 h left",
    ]


def test_a_run_has_a_name_of_its_own_and_goes_on_with_the_same_settings_only(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    sds = tmp_path / "sds"
    shutil.copytree(root / "2017" / "XX" / "AAA", sds / "2017" / "XX" / "AAA")
    days = ["--from", "2017-05-01", "--to", "2017-05-02"]
    one = ["archive", str(sds), *days, "--store", url, "--jobs", "1"]
    assert cli.run([*one, "--run-id", "may", "--resume"]) == 0  # nothing is there yet
    assert "has no run to resume: may begins" in capsys.readouterr().err
    assert {pick.run_id for pick in picks_in(url)} == {"may"}
    assert cli.run([*one, "--run-id", "may"]) == 2
    assert "has run may already: give --resume" in capsys.readouterr().err
    other = ["--channels", "HH?"]
    assert cli.run([*one, *other, "--run-id", "may", "--resume"]) == 2
    assert 'config.channels[0] was "*", is "HH?"' in capsys.readouterr().err
    assert cli.run([*one, *other, "--resume"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "to resume. Of its 1 the nearest is may (config.channels[0]" in said
    assert cli.run([*one, "--resume"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "to resume. may has these settings: give --run-id may, or begin another" in said
    assert cli.run([*one, "--run-id", "../may"]) == 2
    assert "letters, digits" in capsys.readouterr().err
    with open_store(url, create=False) as store:
        assert [run.run_id for run in store.runs()] == ["may"]


def test_reasons_with_brackets_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, reason = f"sqlite:///{tmp_path / 'p.db'}", "RuntimeError: bad [/data/x] [type=int] x"
    (unit,) = make_units(1, 1)
    with open_store(url) as store:
        assert cli.run(["archive", "status", "--store", url]) == 0
        assert "has no runs" in capsys.readouterr().out
        run = make_run()
        store.begin(replace(run, models=[{"name": "N", "weights": "W"}]), [unit], resume=False)
        store.fail(unit, reason, 3)
    assert cli.run(["archive", "status", "--store", url]) == 0
    assert reason in capsys.readouterr().out


def test_units_that_are_done_in_part_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    whole, partly = make_units(2, 1)
    with open_store(url) as store:
        store.begin(make_run(), [whole, partly], resume=False)
        store.write(make_result(whole))
        store.write(make_result(partly, left_out="HHZ has [512] bytes of rubbish."))
        states = store.states()
    assert in_part(states) == [states[1]]
    assert cli.run(["archive", "status", "--store", url]) == 0
    said = capsys.readouterr().out
    assert "1 of the done ones without a part of their files" in said
    assert f"{partly}" in said
    assert "HHZ has [512] bytes of rubbish." in said
    page = tmp_path / "run.html"
    assert cli.run(["archive", "report", "--store", url, "--out", str(page)]) == 0
    assert "HHZ has [512] bytes of rubbish." in page.read_text()


@pytest.mark.slow
def test_a_folder_that_can_not_be_listed_is_told_and_its_days_are_done_once_it_can(
    root: Path,
    tmp_path: Path,
    forbid: Forbid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sds = tmp_path / "sds"
    for code in ("AAA", "BBB"):
        shutil.copytree(root / "2017" / "XX" / code, sds / "2017" / "XX" / code)
    secret = sds / "2017" / "XX" / "AAA" / "HHZ.D"
    forbid(secret)
    store = f"sqlite:///{tmp_path / 'p.db'}"
    line = ["archive", str(sds), "--from", "2017-05-01", "--to", "2017-05-02", "--store", store]
    assert cli.run([*line, "--jobs", "1"]) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert f"skipped: Folder {secret} can't be listed" in said
    assert "failed: XX.AAA 2017-05-01: Folder" in said
    assert "Folders and files that could not be looked at: 1." in said
    assert {state.state for state in states_in(store).values()} == {"done", "failed"}
    monkeypatch.undo()
    assert cli.run([*line, "--jobs", "1", "--resume"]) == 0
    assert {state.state for state in states_in(store).values()} == {"done"}


@pytest.mark.slow
def test_files_of_any_name_that_can_not_be_used_are_told_and_done_again_once_they_are_mended(
    root: Path, expected: list[Pick], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose days they are, nobody can know before."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted((root / "2017" / "XX" / "AAA").rglob("XX.*"))):
        shutil.copy(file, flat / f"file{number}.mseed")
    missing, empty = flat / "file1.mseed", flat / "file4.mseed"  # HHE of day 122, HHZ of 121
    whole = {path: path.read_bytes() for path in (missing, empty)}
    missing.unlink()
    missing.symlink_to(tmp_path / "nowhere")
    empty.write_bytes(b"")
    store = f"parquet:///{tmp_path / 'p'}"
    line = ["archive", str(flat), *DAYS, "--store", store, "--jobs", "1"]
    assert cli.run(line) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert f"skipped: {missing} can't be read" in said
    assert f"skipped: {empty} is empty" in said
    assert "could not be looked at: 1. Days that may be in them" in said
    assert "--resume --redo-partial does them" in said
    assert {state.state for state in states_in(store).values()} == {"done"}
    missing.unlink()
    for path, content in whole.items():
        path.write_bytes(content)
    assert cli.run([*line, "--resume"]) == 0
    assert "have now: 2 units; --redo-partial" in " ".join(capsys.readouterr().err.split())
    assert cli.run([*line, "--resume", "--redo-partial"]) == 0
    assert_same(picks_in(store), [pick for pick in expected if pick.station == "AAA"])
    assert cli.run([*line, "--resume", "--redo-partial"]) == 0
    assert "2 of 2 units are done already" in capsys.readouterr().err


def test_units_without_files_any_more_are_told(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sds = tmp_path / "sds"
    for code in ("AAA", "BBB"):
        shutil.copytree(root / "2017" / "XX" / code, sds / "2017" / "XX" / code)
    store = str(tmp_path / "p.db")
    config = RunConfig()
    record = record_of(sds, config, load_configured(config, 1), "may")
    with open_store(store) as opened:
        keys = [UnitKey("XX", code, date(2017, 5, 1)) for code in ("AAA", "BBB")]
        opened.begin(record, keys, resume=False)
        opened.write(make_result(keys[0], count=0))
    shutil.rmtree(sds / "2017" / "XX" / "BBB")
    line = ["archive", str(sds), "--from", "2017-05-01", "--to", "2017-05-02", "--store", store]
    assert cli.run([*line, "--run-id", "may", "--resume", "--jobs", "1"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "not done and have no files now: 1, e.g. XX.BBB 2017-05-01. They stay" in said
