"""The whole live run in this process, with an engine that stalls or fails when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from live_system import HEARTBEAT, LiveSystem, live_system, packetise

from ml_prediction.drivers.live import heart, setup
from ml_prediction.drivers.live.ew_log import EarthwormLog
from ml_prediction.drivers.live.setup import Surroundings, run_live
from ml_prediction.earthworm.config import read_config
from ml_prediction.earthworm.messages import decode_error
from ml_prediction.earthworm.tables import read_tables
from ml_prediction.errors import InternalError
from ml_prediction.models import Model
from ml_prediction.util.codes import NSLC

PATIENCE = 30.0
"""Seconds that a test waits for what must come; nothing is measured by them."""


@dataclass
class Moody:
    """An engine of noise that waits while it is closed, and fails while it is broken."""

    labels: int
    open: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    passes: int = 0

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.open.wait(PATIENCE)
        self.passes += 1
        if self.broken:
            raise RuntimeError("the engine has no mind for this")
        return np.zeros((len(batch), self.labels, batch.shape[2]), dtype=np.float32)


@pytest.fixture
def system(tmp_path: Path, ring_keys: Iterator[int]) -> Iterator[LiveSystem]:
    with live_system(tmp_path, [next(ring_keys) for _ in range(4)]) as found:
        (found.params / "stations").write_text("".join(f"GNW HH{c} UW --\n" for c in "ZNE"))
        found.configure("StationFile stations\nSnapshotInt 1")
        yield found


@pytest.fixture
def engine(eqt: Model, monkeypatch: pytest.MonkeyPatch) -> Moody:
    moody = Moody(len(eqt.spec.labels))
    moody.open.set()
    model = Model(eqt.spec, moody)
    monkeypatch.setattr(setup, "load_model", lambda *a, **k: model)
    return moody


class Running:
    """A live run in a thread of its own."""

    def __init__(self, system: LiveSystem) -> None:
        tables = read_tables(system.params, {})
        config = read_config(Path("mlpick.d"), system.params, tables, {})
        self.ending = threading.Event()
        self.error: BaseException | None = None
        self.around = Surroundings(
            config, tables, 255, system.data, EarthwormLog(None, "x"), self.ending.is_set
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            run_live(self.around)
        except InternalError as error:
            self.error = error

    def end(self) -> None:
        self.ending.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()


def wait_for(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.01)


def feed(system: LiveSystem, seconds: int = 300) -> None:
    rng = np.random.default_rng(1)
    for letter in "ZNE":
        samples = rng.integers(-500, 500, seconds * 100).astype(np.int32)
        nslc = NSLC("UW", "GNW", "", f"HH{letter}")
        system.put(payload for _, payload in packetise(nslc, 1.6e9, 100.0, samples, 10.0))


def test_a_stalled_engine_stops_the_heartbeats_and_does_not_keep_the_process(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(heart.Pulse.tick, "__defaults__", (0.5,))
    monkeypatch.setattr(heart, "HEEDING_SECONDS", 0.3)
    given_up = threading.Event()
    monkeypatch.setattr(heart, "end_process", given_up.set)
    running = Running(system)
    wait_for(lambda: running.around.latest, "main loop")
    engine.open.clear()
    feed(system)
    wait_for(lambda: stopped(system), "end of the heartbeats")
    running.ending.set()
    wait_for(given_up.is_set, "end of the process")
    engine.open.set()
    running.end()


def stopped(system: LiveSystem) -> bool:
    """Whether no heartbeat comes in more than a heartbeat's time."""
    system.messages()
    time.sleep(1.3)
    return not any(message.logo.type == HEARTBEAT for message in system.messages())


def test_an_engine_that_always_fails_is_told_and_ends_the_process(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.drivers.live.live_run.MOST_FAILURES", 3)
    running = Running(system)
    wait_for(lambda: running.around.latest, "main loop")
    engine.broken = True
    feed(system, 900)
    wait_for(lambda: running.over, "end")
    assert isinstance(running.error, InternalError)
    errors = [decode_error(m.payload) for m in system.messages() if m.logo.type == 2]
    assert 7 in {error.number for error in errors}


def test_an_engine_that_failed_once_goes_on(system: LiveSystem, engine: Moody) -> None:
    running = Running(system)
    wait_for(lambda: running.around.latest, "main loop")
    engine.broken = True
    feed(system, 100)
    before = engine.passes
    wait_for(lambda: engine.passes > before, "pass")
    engine.broken = False
    running.end()
    assert running.error is None
    assert running.around.latest["dropped"]["windows: engine failed"] > 0
