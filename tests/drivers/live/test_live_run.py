"""The whole live run in this process, with an engine that stalls or fails when it is told to."""

from __future__ import annotations

import errno
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from core.packetise import fake_model, three_components
from live_system import (
    ERROR,
    HEARTBEAT,
    MODULE,
    PICK_SCNL,
    TRACEBUF2,
    LiveSystem,
    live_system,
    packetise,
)

from ml_prediction.drivers.live import heart, setup
from ml_prediction.drivers.live.alarms import Alarm
from ml_prediction.drivers.live.ew_log import EarthwormLog
from ml_prediction.drivers.live.inlet import Delivery
from ml_prediction.drivers.live.late_archive import LateArchive
from ml_prediction.drivers.live.live_run import LiveRun
from ml_prediction.drivers.live.setup import Surroundings, run_live
from ml_prediction.drivers.live.snapshots import SnapshotFile
from ml_prediction.earthworm.config import read_config
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    Heartbeat,
    StatusError,
    decode_error,
    encode_heartbeat,
)
from ml_prediction.earthworm.reader import messages_now
from ml_prediction.earthworm.tables import read_tables
from ml_prediction.errors import ConfigurationError, InternalError
from ml_prediction.models import Model, combine
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
    monkeypatch.setattr(setup, "load_models", lambda *a, **k: [model])
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
        except (InternalError, ConfigurationError) as error:
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


def feed(system: LiveSystem, seconds: int = 300, begin: int = 0, components: str = "ZNE") -> None:
    rng = np.random.default_rng(1)
    for letter in components:
        samples = rng.integers(-500, 500, seconds * 100).astype(np.int32)
        nslc = NSLC("UW", "GNW", "", f"HH{letter}")
        system.put(payload for _, payload in packetise(nslc, 1.6e9 + begin, 100.0, samples, 10.0))


def short(station: str, start: float) -> list[bytes]:
    nslc = NSLC("UW", station, "", "HHZ")
    return [b for _, b in packetise(nslc, start, 100.0, np.arange(500, dtype=np.int32))]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_station_whose_clock_was_ahead_before_any_other_was_heard_is_used_once_it_is_mended(
    system: LiveSystem, engine: Moody, restarted: bool
) -> None:
    system.configure("SnapshotInt 1")
    running = Running(system)
    system.put(short("GNW", time.time() + 3e7))
    wait_for(lambda: running.around.latest.get("packets") == 5, "packets")
    if restarted:
        running.end()
        running = Running(system)
    for station in ("LCCR", "RER", "STAR", "GNW"):
        system.put(short(station, time.time() - 10))
    wait_for(lambda: running.around.latest.get("stations") == 4, "stations")
    running.end()
    assert running.around.latest["late_samples"] == 0
    assert running.around.latest["errors"]["6"] == 1


def test_a_stalled_engine_stops_the_heartbeats_and_does_not_keep_the_process(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(heart.Pulse.tick, "__defaults__", (0.5,))
    monkeypatch.setattr(heart, "HEEDING_SECONDS", 0.3)
    given_up = threading.Event()
    monkeypatch.setattr(heart, "end_process", lambda status: given_up.set())
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


def test_an_ensemble_picks_live_and_goes_on_after_a_restart(
    system: LiveSystem, engine: Moody, eqt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Model(replace(eqt.spec, name="Other", in_samples=3000, stride=1500), engine)
    together = combine([Model(eqt.spec, engine), other], "semblance")
    monkeypatch.setattr(setup, "load_models", lambda *a, **k: [together])
    system.configure("SnapshotInt 1")
    running = Running(system)
    feed(system, 120)
    # Windows of 60 s start every 30 s, those of 30 s every 15 s.
    status_of(running, lambda s: s["windows"] == 4 + 7, "windows of both")
    running.end()
    assert running.around.latest["model"] == together.spec.id
    running = Running(system)
    feed(system, 180)
    status_of(running, lambda s: s["windows"] == 2 + 4, "windows of what is new")
    running.end()
    assert running.around.latest["errors"][str(int(Alarm.STATE))] == 0


def test_a_site_goes_on_without_an_instrument_that_never_comes(
    system: LiveSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "load_models", lambda *a, **k: [fake_model()])
    names = [f"GNW {prefix}{c} UW --\n" for prefix in ("HH", "EN") for c in "ZNE"]
    (system.params / "stations").write_text("".join(names))
    system.configure("StationFile stations\nSite max\nSilenceTimeout 2\nAllowedLateness 0")
    running = Running(system)
    packets = three_components(np.random.default_rng(1), 30.0)
    for begin in (0, 20):
        for packet in packets:
            samples = packet.samples[100 * begin : 100 * (begin + 20)].astype(np.int32)
            nslc = packet.nslc._replace(network="UW", station="GNW")
            system.put(p for _, p in packetise(nslc, 1.6e9 + begin, 100.0, samples, 10.0))
        time.sleep(1.2)
    status_of(running, lambda s: sum(s["picks"].values()) > 8, "picks")
    running.end()
    assert running.around.latest["late_samples"] == 0


@pytest.mark.parametrize("keyword", ["Archive", "LateArchive"])
@pytest.mark.parametrize("fault", ["file", "rights"])
def test_a_folder_that_cannot_be_written_to_is_named_with_its_keyword(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch, keyword: str, fault: str
) -> None:
    path = system.params / "there"
    if fault == "file":
        path.write_text("a file")
    else:
        monkeypatch.setattr(os, "access", lambda *a: False)  # tests may run as root
    system.configure(f"{keyword} there")
    running = Running(system)
    wait_for(lambda: running.over, "end")
    assert isinstance(running.error, ConfigurationError)
    assert f"{keyword} {path} can't be used" in str(running.error)
    (told,) = [decode_error(m.payload) for m in system.messages() if m.logo.type == ERROR]
    assert told.number == Alarm.STATE


def errors_of(system: LiveSystem) -> list[StatusError]:
    return [decode_error(m.payload) for m in system.messages() if m.logo.type == ERROR]


def test_a_list_of_other_stations_is_told(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.drivers.live.selection_watch.PATIENCE", 0.5)
    (system.params / "stations").write_text("GNW EHZ UW --\n")
    running = Running(system)
    feed(system, 10)
    status = status_of(running, lambda s: s["errors"]["8"], "error")
    running.end()
    assert status["dropped"]["packets: not selected"] == 3
    (error,) = errors_of(system)
    assert error.number == Alarm.STATE
    assert (
        f"as GNW HHE UW --, is selected by StationFile {system.params / 'stations'}" in error.text
    )


def test_another_process_with_our_logo_is_told(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.drivers.live.twins.ENDING_SECONDS", 0.0)
    beat = encode_heartbeat(Heartbeat(int(time.time()), os.getppid()))
    system.pick.put(Logo(HEARTBEAT, MODULE, 255), beat)
    running = Running(system)
    status_of(running, lambda s: s["errors"]["9"], "error")
    running.end()
    (error,) = errors_of(system)
    assert error.number == Alarm.TWIN
    assert f"process {os.getppid()} sends as MOD_MLPICK in ring PICK_RING, too" in error.text


def test_probabilities_that_come_back_are_not_picked(system: LiveSystem, engine: Moody) -> None:
    system.configure("ProbabilityRing WAVE_RING")
    ours = Logo(TRACEBUF2.type, MODULE, 255)
    for sequence in (5, 0):  # numbers begin anew when we do, which is no gap
        system.wave._sequences[ours] = sequence
        system.wave.put(ours, short("OLD", 1.6e9)[0])
    running = Running(system)
    feed(system, 120)
    status_of(running, lambda s: s["dropped"].get("packets: our own", 0) > 2, "traces")
    running.end()
    status = running.around.latest
    assert (status["packets"], status["stations"], status["errors"]["1"]) == (36, 1, 0)


def test_one_ring_may_be_for_what_comes_and_what_goes(
    system: LiveSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "load_models", lambda *a, **k: [fake_model()])
    path = system.configure("AllowedLateness 0")
    path.write_text(path.read_text().replace("PICK_RING", "WAVE_RING"))
    running = Running(system)
    for packet in three_components(np.random.default_rng(1), 30.0):
        samples = packet.samples.astype(np.int32)
        system.put(p for _, p in packetise(packet.nslc, 1.6e9, 100.0, samples, 10.0))
    status = status_of(running, lambda s: sum(s["picks"].values()) > 4, "picks")
    running.end()
    assert not any(status["errors"].values())
    sent = Counter(message.logo.type for message in messages_now(system.wave))
    assert sent[PICK_SCNL] == sum(running.around.latest["picks"].values())
    assert sent[HEARTBEAT]
    assert sent[TRACEBUF2.type] == status["packets"]


def test_a_log_that_cannot_be_written_is_told(system: LiveSystem, engine: Moody) -> None:
    running = Running(system)
    running.around.log.lost = 3
    wait_for(lambda: running.around.latest, "status")
    running.end()
    assert running.around.latest["errors"]["4"] == 3


# -- everything that gets lost is counted and told --------------------------------------------


def status_of(running: Running, true: Callable[[dict[str, Any]], object], what: str) -> Any:
    """The first status of which something is true."""
    wait_for(lambda: running.around.latest and true(running.around.latest), what)
    return running.around.latest


def test_packets_from_the_future_are_counted_and_told(system: LiveSystem, engine: Moody) -> None:
    system.configure("SnapshotInt 1")
    samples = np.zeros(500, np.int32)
    for station, start in (("GNW", time.time() - 10), ("LCCR", time.time() + 3e7)):
        nslc = NSLC("UW", station, "", "HHZ")
        system.put(payload for _, payload in packetise(nslc, start, 100.0, samples))
    running = Running(system)
    status = status_of(running, lambda s: s["errors"]["6"], "error")
    running.end()
    assert status["dropped"]["packets: future"] == status["errors"]["6"] == 5
    assert status["packets"] == 5


@pytest.mark.parametrize("full", [False, True])
def test_what_comes_late_or_from_the_future_is_kept_in_the_late_archive(
    system: LiveSystem,
    engine: Moody,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    full: bool,
) -> None:
    folder = tmp_path / "late"
    system.configure(f"SnapshotInt 1\nLateArchive {folder}\nAllowedLateness 5")
    if full:

        def fails(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(LateArchive, "add", fails)
    now = math.floor(time.time())
    running = Running(system)
    system.put(short("GNW", now - 30))
    wait_for(lambda: running.around.latest.get("packets") == 5, "packets")
    system.put(short("GNW", now - 60))
    system.put(short("LCCR", now + 3e7))
    status = status_of(
        running, lambda s: s["late_samples"] and s["dropped"].get("packets: future"), "late ones"
    )
    if full:
        status = status_of(running, lambda s: s["errors"][str(int(Alarm.DISK))], "error")
    running.end()
    assert (status["late_samples"], status["dropped"]["packets: future"]) == (500, 5)
    if not full:
        kept = obspy.Stream()
        for file in folder.iterdir():
            kept += obspy.read(str(file))
        kept.merge()
        found = {t.stats.station: (t.stats.starttime.timestamp, list(t.data)) for t in kept}
        samples = list(range(500))
        assert found == {"GNW": (now - 60, samples), "LCCR": (now + 3e7, samples)}


def test_numbers_that_are_left_out_are_counted_and_told(system: LiveSystem, engine: Moody) -> None:
    feed(system, 10)
    system.wave._sequences[TRACEBUF2] += 5
    feed(system, 20)
    running = Running(system)
    status = status_of(running, lambda s: s["errors"]["1"], "error")
    running.end()
    assert status["dropped"]["messages: gap"] == 5


def test_a_ring_that_was_overwritten_meanwhile_is_told(system: LiveSystem, engine: Moody) -> None:
    feed(system, 10)
    running = Running(system)
    status_of(running, lambda s: s["packets"], "packets")
    running.end()
    feed(system, 4000)
    running = Running(system)
    status = status_of(running, lambda s: s["packets"] > 100, "packets")
    running.end()
    assert status["errors"]["0"] == 1


def test_windows_that_the_engine_has_no_time_for_are_counted_and_told(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.drivers.live.live_run.RAW_BYTES", -1)
    system.configure("StationFile stations\nQueueWindows 1")
    feed(system, 3000)
    running = Running(system)
    status = status_of(running, lambda s: s["errors"]["2"], "error")
    running.end()
    assert status["dropped"]["windows: overload"] == status["errors"]["2"]


def test_messages_that_nobody_takes_are_counted_and_told(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.drivers.live.inlet.MOST_BYTES", 400_000)
    pushed = LiveRun._push

    def slow(run: LiveRun, delivery: Delivery) -> None:
        engine.open.wait(PATIENCE)
        pushed(run, delivery)

    monkeypatch.setattr(LiveRun, "_push", slow)
    running = Running(system)
    status_of(running, lambda s: True, "status")
    engine.open.clear()
    feed(system, 3000)
    wait_for(lambda: system.wave.keyin, "messages")
    time.sleep(0.5)
    engine.open.set()
    status = status_of(running, lambda s: s["errors"]["2"], "error")
    running.end()
    assert status["dropped"]["messages: overload"] == status["errors"]["2"] > 100


def test_a_pause_of_our_own_makes_nobody_silent(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that wait for us are not late: silence counts up to when we had taken in everything."""
    system.configure("StationFile stations\nSilenceTimeout 4\nAllowedLateness 0")
    pushed = LiveRun._push

    def slow(run: LiveRun, delivery: Delivery) -> None:
        time.sleep(0.7)
        pushed(run, delivery)

    monkeypatch.setattr(LiveRun, "_push", slow)
    running = Running(system)
    wait_for(lambda: running.around.latest, "main loop")
    for begin in range(0, 70, 7):
        feed(system, 7, begin, "Z")  # others may be another delivery, and late by that
        time.sleep(0.06)  # a delivery of its own
    status = status_of(running, lambda s: s["packets"] == 10, "packets")
    running.end()
    assert status["late_samples"] == 0


def test_what_was_silent_for_long_is_forgotten(
    system: LiveSystem, engine: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "_tail_seconds", lambda *a: 0.0)
    monkeypatch.setattr("ml_prediction.drivers.live.silence.FORGET_SECONDS", 1.0)
    monkeypatch.setattr("ml_prediction.drivers.live.clock_guard.FORGET_SECONDS", 3.0)
    system.configure("StationFile stations\nSilenceTimeout 1")
    feed(system, 10)
    running = Running(system)
    status_of(running, lambda s: s["stations"] == 1, "station")
    status_of(running, lambda s: s["stations"] == 0, "end of the station")
    running.end()
    state = SnapshotFile(system.data / "state").load()
    assert state["channels"] == state["silence"] == []


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


@pytest.mark.parametrize(
    "odd",
    [{"place": [1]}, {"place": "?"}, {"silence": [1]}, {"silence": [["UW"]]}, {"channels": [1]}],
    ids=str,
)
def test_a_state_that_only_looks_whole_is_told_and_not_used(
    system: LiveSystem, engine: Moody, odd: dict[str, Any]
) -> None:
    run = Running(system)
    wait_for(lambda: run.around.latest, "status")
    run.end()
    file = SnapshotFile(system.data / "state")
    file.save({**file.load(), **odd})
    system.messages()
    again = Running(system)
    wait_for(lambda: again.around.latest or again.over, "status")
    assert not again.over
    again.end()
    (told,) = [decode_error(m.payload) for m in system.messages() if m.logo.type == ERROR]
    assert told.number == Alarm.STATE
    assert str(file.path) in told.text
