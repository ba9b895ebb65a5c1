"""The parent and a worker understand each other, and one that fails is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml_prediction.benchmark.contenders.base import Found, Job, Setup
from ml_prediction.benchmark.load import busy_seconds, others_cores
from ml_prediction.benchmark.memory import peak_mib, reset_peak
from ml_prediction.benchmark.messages import decode_job, decode_setup, encode_job, encode_setup
from ml_prediction.benchmark.processes import ContenderFailedError, Worker, environment

FACTORY = "benchmark.fake_contender:build"
SETUP = Setup("fake", "weights", "original", 6000, "max", (500, 500), 2)
JOB = Job(Path("some/STATION"), 3000, {"P": 0.25, "S": 0.5})


@pytest.fixture(autouse=True)
def _fake_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker(FACTORY, SETUP, Path("cache"), tmp_path / "log") as process:
        process.start()
        yield process


def test_rounds_come_back_with_picks_though_the_contender_prints(worker: Worker) -> None:
    for _ in range(2):
        figures, picks = worker.run(JOB, 30)
        assert picks == [Found("XX.STATION.", "P", 12_345_678_901_234_567, 0.5)]
        assert figures.seconds >= 0
        assert figures.peak_mib > 1
        assert figures.stages == {"reading": 0.25}
    assert "below Python" in worker.log.read_text()


def test_other_measurements_come_back(worker: Worker) -> None:
    assert worker.measure(1.5) == {"cache": 1.0, "seconds": 1.5}


def test_a_contender_that_fails_says_why_and_stays_failed(worker: Worker) -> None:
    with pytest.raises(ContenderFailedError, match="exit status 1: RuntimeError: the devil"):
        worker.run(replace(JOB, batch_size=666), 30)
    with pytest.raises(ContenderFailedError, match="failed before"):
        worker.run(JOB, 30)


def test_a_contender_that_hangs_is_ended(worker: Worker) -> None:
    with pytest.raises(ContenderFailedError, match="no answer within 0 s"):
        worker.run(replace(JOB, batch_size=999), 0.2)
    with pytest.raises(ContenderFailedError, match="failed before"):
        worker.run(JOB, 30)


def test_what_is_not_installed_is_no_failure(tmp_path: Path) -> None:
    setup = replace(SETUP, model="missing")
    with Worker(FACTORY, setup, Path("cache"), tmp_path / "log") as process:
        ready = process.start()
    assert ready.missing == "not installed: pip install it"


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    setup = replace(SETUP, model="broken")
    with (
        Worker(FACTORY, setup, Path("cache"), tmp_path / "log") as process,
        pytest.raises(ContenderFailedError, match="RuntimeError: no such thing"),
    ):
        process.start()


def test_messages_survive_the_way() -> None:
    assert decode_setup(encode_setup(FACTORY, SETUP)) == (FACTORY, SETUP)
    assert decode_job(encode_job(JOB)) == JOB
    job = replace(JOB, batch_size=64)
    assert decode_job(encode_job(job)) == job


def test_everyone_has_the_same_threads() -> None:
    found = environment(3, Path("/cache"))
    assert {found[name] for name in found if name.endswith("_NUM_THREADS")} == {"3"}
    assert found["SEISBENCH_CACHE_ROOT"] == "/cache"
    assert found["PATH"] == os.environ["PATH"]


def test_peak_memory_is_known_and_can_be_reset() -> None:
    reset_peak()
    before = peak_mib()
    block = bytearray(50 * 2**20)
    assert peak_mib() > before + 25
    assert len(block)


def test_other_processes_are_seen() -> None:
    assert others_cores(10.0, 14.0, 2.0, 2.0) == 1.0
    assert others_cores(10.0, 11.0, 2.0, 2.0) == 0.0
    assert others_cores(None, 11.0, 2.0, 2.0) is None
    busy = busy_seconds()
    assert busy is None or busy > 0
