"""The command line: what is parsed, what is refused, and with which exit status."""

from __future__ import annotations

import errno
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ml_prediction import cli
from ml_prediction.config_toml import read_toml, to_toml
from ml_prediction.drivers import driver_local
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.errors import DataError, InternalError


class FakeDriver:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.config = RunConfig()
        self.error: BaseException | None = None
        self.status = 0

    def run(self, inputs: Sequence[str], config: RunConfig, **consoles: Any) -> int:
        self.inputs, self.config = list(inputs), config
        if self.error is not None:
            raise self.error
        return self.status


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    monkeypatch.setattr(driver_local, "run", fake.run)
    return fake


def test_defaults(driver: FakeDriver) -> None:
    assert cli.run(["pick", "a.mseed", "folder"]) == 0
    assert driver.inputs == ["a.mseed", "folder"]
    assert driver.config == RunConfig()


def test_formats_are_written_once(driver: FakeDriver) -> None:
    assert cli.run(["pick", "x", "--formats", "csv,mseed,csv"]) == 0
    assert driver.config.formats == ("csv", "mseed")


def test_every_option(driver: FakeDriver, tmp_path: Path) -> None:
    inventory = tmp_path / "stations.xml"  # whether it is there is seen when it is read
    line = (
        "pick in --model PhaseNet --weights stead --out results --stride 100 --horizon 2 "
        "--threshold P=0.2,S=0.4 --channels HH?,BH? --starttime 2009-08-24 "
        f"--endtime 2009-08-25T01:02:03.5 --inventory {inventory} --response remove --1c clone "
        "--formats csv,parquet,quakeml,markers,mseed --plot --jobs 3 --overwrite "
        "--stacking mean --blinding 250,100 --calibration c.json"
    )
    assert cli.run(line.split()) == 0
    found = driver.config
    assert (found.model, found.weights, found.out) == ("PhaseNet", "stead", "results")
    assert (found.pipeline.stride, found.pipeline.horizon) == (100, 2.0)
    assert found.pipeline.thresholds == {"P": 0.2, "S": 0.4}
    assert found.channels == ("HH?", "BH?")
    assert found.starttime == "2009-08-24"
    assert found.end is not None
    assert found.end.microsecond == 500_000
    assert found.inventory == str(inventory)
    assert found.pipeline.response == "remove"
    assert found.pipeline.one_component == "clone"
    assert found.formats == ("csv", "parquet", "quakeml", "markers", "mseed")
    assert (found.plot, found.jobs, found.overwrite) == (True, 3, True)
    assert (found.pipeline.stacking, found.pipeline.blinding) == ("mean", (250, 100))
    assert found.calibration == "c.json"


def test_config_reads_back_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["config"]) == 0
    text = capsys.readouterr().out
    assert RunConfig.from_tables(tomllib.loads(text)) == RunConfig()
    for config in (RunConfig, type(RunConfig().pipeline)):
        for name, field in config.model_fields.items():
            assert name in text
            assert field.description
            assert field.description.split()[0] in text


def test_config_with_everything_set_reads_back(tmp_path: Path) -> None:
    before = RunConfig.from_tables(
        {
            "weights": 'odd "name"\\with\ttricks é',
            "starttime": "2020-01-01",
            "formats": ["mseed"],
            "pipeline": {
                "stride": 7,
                "blinding": [1, 2],
                "stacking": "mean",
                "thresholds": {"P": 0.25},
                "horizon": 2.5,
            },
        }
    )
    path = tmp_path / "c.toml"
    path.write_text(to_toml(before), encoding="utf-8")
    assert RunConfig.from_tables(read_toml(path)) == before


def test_commented_options_of_the_printed_config_are_valid(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.run(["config"])
    lines = capsys.readouterr().out.splitlines()
    uncommented = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in lines
    )
    found = RunConfig.from_tables(tomllib.loads(uncommented))
    assert found.pipeline.stride == 3000
    assert found.pipeline.stacking == "max"
    assert found.pipeline.blinding == (500, 500)
    assert found.pipeline.thresholds["P"] == 0.1


def test_command_line_wins_over_file(driver: FakeDriver, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        "model = 'PhaseNet'\nplot = true\nstarttime = 2020-01-01T00:00:00\n"
        "[pipeline]\nstride = 50\nthresholds = {P = 0.5, S = 0.5}\n"
    )
    assert cli.run(["pick", "x", "--config", str(path), "--threshold", "S=0.2", "--no-plot"]) == 0
    found = driver.config
    assert found.model == "PhaseNet"
    assert not found.plot
    assert found.starttime == "2020-01-01T00:00:00"
    assert found.pipeline.stride == 50
    assert found.pipeline.thresholds == {"P": 0.5, "S": 0.2}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pick x --stride 0", "stride"),
        ("pick x --threshold P", "label=value"),
        ("pick x --threshold P=2", "P"),
        ("pick x --threshold ,", "label=value"),
        ("pick x --threshold P=0.3,P=0.4", "P is given twice"),
        ("pick x --formats csv,xls", "formats"),
        ("pick x --formats ,", "formats"),
        ("pick x --starttime yesterday", "starttime"),
        ("pick x --starttime 2020-01-02 --endtime 2020-01-01", "later"),
        ("pick x --response remove", "--inventory"),
        ("pick x --response other", "response"),
        ("pick x --1c some", "one_component"),
        ("pick x --jobs 0", "jobs"),
        ("pick x --config nowhere.toml", "nowhere.toml"),
        ("pick x --nonsense", "nonsense"),
        ("pick", "INPUT"),
        ("nonsense", "nonsense"),
    ],
)
def test_wrong_use_is_status_2(
    line: str, words: str, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(line.split()) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert driver.inputs == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense = 1", "'nonsense'"),
        ("[pipeline]\nnonsense = 1", "'nonsense'"),
        ("pipeline = 1", "table"),
        ("model = ", "not TOML"),
        ("formats = 'csv'", """'formats' = 'csv': a list is wanted, like ["csv"]"""),
        ("stride = 100", "'stride' belongs into the table [pipeline]"),
        ("thresholds = {P = 0.3}\nhorizon = 5", "'thresholds' belongs into the table"),
        ("[pipeline]\nstride = 100\nplot = true", "'plot' does not belong into the table"),
    ],
)
def test_wrong_file_is_status_2(
    text: str, words: str, driver: FakeDriver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert cli.run(["pick", "x", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_status_of_the_driver_is_the_exit_status(driver: FakeDriver) -> None:
    driver.status = 1
    assert cli.run(["pick", "x"]) == 1


def test_nothing_usable_is_status_1(driver: FakeDriver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.error = DataError("x has nothing.")
    assert cli.run(["pick", "x"]) == 1
    assert capsys.readouterr().err == "ml-prediction: x has nothing.\n"


def test_interrupt_is_status_130(driver: FakeDriver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.error = KeyboardInterrupt()
    assert cli.run(["pick", "x"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_library_that_ends_the_program_is_a_failure(
    driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.error = SystemExit(0)
    assert cli.run(["pick", "x"]) == cli.FAILED
    assert "a library ended the program (0)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["config"]], ids=["help", "config"])
def test_nobody_needs_to_read_to_the_end(words: list[str]) -> None:
    command = [sys.executable, "-m", "ml_prediction", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


SIGNALLED = """
import signal, sys
from ml_prediction import cli
from ml_prediction.drivers import driver_local

number = getattr(signal, sys.argv[1])
signal.signal(number, signal.SIG_DFL)  # whatever has been inherited

def run(*args, **kwargs):
    signal.raise_signal(number)
    return 0

driver_local.run = run
status = cli.run(["pick", "x"])
assert signal.getsignal(number) is signal.SIG_DFL
sys.exit(status)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_termination_is_an_interrupt(name: str) -> None:
    # In a process of its own: a signal that went astray would end the one that runs the tests.
    command = [sys.executable, "-c", SIGNALLED, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr


def test_a_file_that_ends_too_early_is_no_interrupt(driver: FakeDriver) -> None:
    driver.error = EOFError("no data left in file")
    with pytest.raises(EOFError):  # main's hook tells it as a fault
        cli.run(["pick", "a.mseed"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (ChildProcessError("a process was killed"), "failed: a process was killed."),
        (InternalError("Window 5 is lost."), "Window 5 is lost. This is a fault of ours"),
        (MemoryError(), "out of memory"),
    ],
    ids=repr,
)
def test_failure_is_status_3(
    error: BaseException, words: str, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.error = error
    assert cli.run(["pick", "x"]) == 3
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_failure_that_nobody_expected_is_one_line_and_status_3() -> None:
    code = (
        "from ml_prediction import cli; from ml_prediction.drivers import driver_local; "
        "driver_local.run = lambda *_, **__: {}['two\\nlines']; cli.main(['pick', 'x'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 3
    assert len(found.stderr.splitlines()) == 1
    assert "KeyError: 'two\\nlines' (cli.py, line " in found.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["pick", ""], "input"),
        (["pick", "--out", "", "x"], "out"),
        (["demo", "--out", ""], "out"),
        (["pick", "nowhere.mseed", "--out", "OUT"], "nowhere.mseed"),
    ],
    ids=str,
)
def test_empty_and_missing_names_are_wrong_use(
    line: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(line) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert words in said.lower()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["--help", "pick --help", "--version", "models --help"])
def test_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(line.split()) == 0
    assert capsys.readouterr().out


def test_models_lists_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models"]) == 0
    listed = capsys.readouterr().out
    for words in ("EQTransformer  original", "MIT", "Mousavi", "sha256"):
        assert words in listed
    (phasenet,) = [line for line in listed.splitlines() if line.startswith("  PhaseNet: ")]
    assert "SeisBench's server" in phasenet
    assert "Beroza" in phasenet
    assert cli.run(["models", "--verify"]) == 0
    assert "ok" in capsys.readouterr().out


def in_a_process(line: str, **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ml_prediction.cli", *line.split()]
    return subprocess.Popen(command, **{"stderr": subprocess.PIPE, **streams})


@pytest.mark.parametrize("line", ["config", "models", "--help"])
def test_reader_that_goes_away_is_no_error(line: str) -> None:
    process = in_a_process(line, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=120)
    assert error == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("line", ["config", "models", "--version", "--help", "demo --out OUT"])
def test_full_disk_behind_stdout_is_status_3(line: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = in_a_process(line, stdout=full, cwd=tmp_path)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 3
    assert len(error.splitlines()) == 1
    assert b"No space left on device" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_nobody_needs_stderr() -> None:
    with Path("/dev/full").open("w") as full:
        assert in_a_process("config", stdout=full, stderr=full).wait(timeout=120) == 3
        assert in_a_process("pick", stderr=full).wait(timeout=120) == 2


def test_closed_stdout_is_no_error() -> None:
    command = f"exec {sys.executable} -m ml_prediction.cli config >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], timeout=120, check=False).returncode == 0
