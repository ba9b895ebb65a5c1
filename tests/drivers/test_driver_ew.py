"""driver_ew as a process between real rings: picks, faults, and how it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from live_system import ERROR, HEARTBEAT, MODULE, LiveSystem, live_system, packetise, picks_in
from ring_keeper import set_flag

from ml_prediction import Pipeline
from ml_prediction.core.packets import Packet
from ml_prediction.core.results import Pick
from ml_prediction.drivers import driver_ew
from ml_prediction.drivers.live.alarms import Alarm
from ml_prediction.earthworm.config import KEYWORDS, LiveConfig, read_config
from ml_prediction.earthworm.layout import TERMINATE
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    PickScnl,
    decode_error,
    decode_heartbeat,
    decode_tracebuf2,
)
from ml_prediction.earthworm.reader import Message, RingReader
from ml_prediction.earthworm.tables import read_tables
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_ns

START = 1_250_000_000.0
RATE = 100.0
STATIONS = ("RJOB", "RTBE")
STATION_FILE = "".join(f"{s} EH{c} BW --\n" for s in STATIONS for c in "ZNE")
SETTINGS = "StationFile stations\nSnapshotInt 1\nPhaseToken 1"
PATIENCE = 60.0
"""Seconds that a test waits for what must come; nothing is measured by them."""


@pytest.fixture(scope="module")
def channels() -> dict[NSLC, npt.NDArray[np.int32]]:
    """Two stations with ObsPy's earthquake twice, in 400 s of its noise."""
    rng = np.random.default_rng(3)
    found = {}
    for trace in obspy.read():
        event = np.round(trace.data * 10).astype(np.int32)
        for number, station in enumerate(STATIONS):
            size = float(np.std(event[:400]))
            samples = np.round(rng.normal(scale=size, size=40_000)).astype(np.int32)
            for second in (90 + 7 * number, 240 + 7 * number):
                samples[second * 100 : second * 100 + len(event)] = event
            found[NSLC("BW", station, "", trace.stats.channel)] = samples
    return found


@pytest.fixture(scope="module")
def messages_of(channels: dict[NSLC, npt.NDArray[np.int32]]) -> list[tuple[float, bytes]]:
    """As one-second messages, in order of their ends, which differ from channel to channel."""
    packets: list[tuple[float, bytes]] = []
    for number, (nslc, samples) in enumerate(channels.items()):
        packets += packetise(nslc, START, RATE, samples, first=20 + 13 * number)
    return sorted(packets, key=lambda item: item[0])


@pytest.fixture(scope="module")
def expected(eqt: Model, channels: dict[NSLC, npt.NDArray[np.int32]]) -> list[Pick]:
    """The picks of the same data at once."""
    pipeline = Pipeline(eqt, expected=list(channels))
    result = pipeline.push([Packet(n, round(START * 1e9), RATE, s) for n, s in channels.items()])
    assert len(result.picks) >= 8
    return result.picks


@pytest.fixture
def system(tmp_path: Path, ring_keys: Iterator[int]) -> Iterator[LiveSystem]:
    with live_system(tmp_path, [next(ring_keys) for _ in range(4)]) as found:
        (found.params / "stations").write_text(STATION_FILE)
        yield found


def wait_for(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.02)


class Collector:
    """Everything that has come out of a system's PICK_RING."""

    def __init__(self, system: LiveSystem) -> None:
        self._system = system
        self.messages: list[Message] = []

    def look(self) -> list[PickScnl]:
        self.messages += self._system.messages()
        return picks_in(self.messages)

    def of(self, kind: int) -> list[Message]:
        self.look()
        return [message for message in self.messages if message.logo.type == kind]


def keys(picks: list[PickScnl]) -> list[tuple[str, str | None, int]]:
    return sorted((str(p.nslc), p.phase, p.time_ns // 1_000_000) for p in picks)


def same(found: list[PickScnl], expected: list[Pick]) -> bool:
    """Whether these are the same picks, to the millisecond that the messages carry."""
    wanted = sorted(
        (
            str(NSLC(p.network, p.station, p.location, p.channel)),
            p.phase,
            (to_ns(p.time) + 500_000) // 1_000_000,
        )
        for p in expected
    )
    have = keys(found)
    return len(have) == len(wanted) and all(
        a[:2] == b[:2] and abs(a[2] - b[2]) <= 1 for a, b in zip(have, wanted, strict=True)
    )


def status(system: LiveSystem) -> dict[str, object]:
    return dict(json.loads((system.params / "status.json").read_text()))


def test_a_ring_gives_the_picks_of_the_files_with_heartbeats_a_log_and_a_clean_end(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(f"{SETTINGS}\nDebug 1")
    collector = Collector(system)
    system.put(payload for _, payload in messages_of)
    process = system.start()
    wait_for(lambda: len(collector.look()) == len(expected), "picks")
    assert same(collector.look(), expected)
    assert sorted(p.sequence for p in collector.look()) == list(range(len(expected)))
    wait_for(lambda: len(collector.of(HEARTBEAT)) >= 2, "heartbeats")
    assert decode_heartbeat(collector.of(HEARTBEAT)[0].payload).pid == process.pid
    assert not collector.of(ERROR)
    assert system.stop() < 10.0  # far less where nothing else runs
    assert process.returncode == 0
    (log,) = system.log.glob("mlpick_*.log")
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{8}_UTC_\d\d:\d\d:\d\d ", line) for line in lines)
    assert lines[-1].endswith("ended as it was told to")
    assert sum(" pick " in line for line in lines) == len(expected)
    told = status(system)
    assert told["packets"] == len(messages_of)
    assert told["picks"] == Counter(pick.phase for pick in expected)
    assert told["late_samples"] == 0


@pytest.mark.slow
def test_a_killed_module_goes_on_and_sends_each_pick_once(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    state = system.data / "mlpick.state" / "state"
    third = len(messages_of) // 3
    for number in range(3):
        part = messages_of[number * third :] if number == 2 else messages_of[:third]
        part = messages_of[third : 2 * third] if number == 1 else part
        system.put(payload for _, payload in part)
        system.start()
        if number == 0:  # after a snapshot with data, with picks to come
            wait_for(state.exists, "snapshot")
        elif number == 1:  # after some picks, whether or not they are in a snapshot
            wait_for(lambda: len(collector.look()) >= 2, "picks")
        else:
            wait_for(lambda: len(collector.look()) >= len(expected), "picks")
            time.sleep(0.3)  # a pick sent twice would come now
        system.stop(signal.SIGKILL)
    assert same(collector.look(), expected)
    assert sorted(p.sequence for p in collector.look()) == list(range(len(expected)))


@pytest.mark.slow
def test_the_kill_flags_of_earthworm_end_it(system: LiveSystem) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    for flag in (TERMINATE, None):
        process = system.start()
        seen = len(collector.of(HEARTBEAT))
        wait_for(lambda seen=seen: len(collector.of(HEARTBEAT)) > seen, "heartbeat")  # type: ignore[misc]
        wait_for((system.params / "status.json").exists, "status")
        set_flag(system.kept[0], flag or process.pid)
        started = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - started < 10.0  # far less where nothing else runs
        assert process.returncode == 0
        set_flag(system.kept[0], 0)
        (system.params / "status.json").unlink()


def test_rings_that_are_destroyed_and_made_again_are_found_again(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    half = len(messages_of) // 2
    process = system.start()
    wait_for(lambda: collector.of(HEARTBEAT), "heartbeat")
    system.put(payload for _, payload in messages_of[:half])
    wait_for(lambda: collector.look(), "picks")
    system.destroy_rings()
    system.make_rings()
    system.put(payload for _, payload in messages_of[half:])
    wait_for(lambda: len(collector.look()) == len(expected), "picks after the rings are back")
    assert same(collector.look(), expected)
    assert process.poll() is None


def test_garbage_between_good_messages_costs_itself_only(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    rng = np.random.default_rng(11)
    system.start()
    wait_for(lambda: collector.of(HEARTBEAT), "heartbeat")
    for number, (_, payload) in enumerate(messages_of):
        damaged = bytearray(payload[: int(rng.integers(0, len(payload)))])
        for place in rng.integers(0, 64, size=4):
            if place < len(damaged):
                damaged[place] = int(rng.integers(0, 256))
        damaged[32:38] = b"\xff\x00\x01 #\n"[: max(0, min(6, len(damaged) - 32))]
        system.put([bytes(damaged), payload] if number % 2 else [payload, bytes(damaged)])
        if number % 100 == 0:
            time.sleep(0.01)
    wait_for(lambda: len(collector.look()) == len(expected), "picks")
    assert same(collector.look(), expected)
    numbers = {decode_error(message.payload).number for message in collector.of(ERROR)}
    assert numbers == {5}
    wait_for(lambda: status(system)["packets"] == len(messages_of), "status")
    dropped = status(system)["dropped"]
    assert isinstance(dropped, dict)
    assert dropped["packets: malformed"] == len(messages_of)


def test_a_full_disk_stops_nothing(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(f"{SETTINGS}\nDebug 1\nArchive archive")
    (system.log / f"mlpick_{time.strftime('%Y%m%d', time.gmtime())}.log").write_text("x\n" * 1500)
    collector = Collector(system)
    system.put(payload for _, payload in messages_of)
    limit = 2500  # bytes of any file: state, journal and log soon have as many
    process = system.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    wait_for(lambda: len(collector.look()) == len(expected), "picks")
    assert same(collector.look(), expected)
    wait_for(lambda: collector.of(ERROR), "error message")
    assert {decode_error(message.payload).number for message in collector.of(ERROR)} == {4}
    assert process.poll() is None
    system.stop()
    assert process.returncode == 0


@pytest.mark.slow
def test_a_dead_writers_lock_delays_picks_and_loses_none(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    system.start()
    wait_for((system.params / "status.json").exists, "status")
    system.kept[1].set_lock_value(0)  # as a C module leaves it that is killed inside a put
    system.put(payload for _, payload in messages_of)
    wait_for(lambda: status(system)["picks_unsent"] == len(expected), "picks")
    assert not collector.look()
    system.kept[1].set_lock_value(1)
    wait_for(lambda: len(collector.look()) == len(expected), "picks")
    assert same(collector.look(), expected)


@pytest.mark.slow
def test_a_second_one_with_the_same_file_is_refused(system: LiveSystem) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    first = system.start()
    wait_for(lambda: collector.of(HEARTBEAT), "heartbeat")
    second = system.start()
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "mlpick.state" in said
    assert first.poll() is None
    first.kill()
    first.communicate()


@pytest.mark.slow
def test_probabilities_go_into_a_ring_of_their_own(
    system: LiveSystem, messages_of: list[tuple[float, bytes]], expected: list[Pick]
) -> None:
    system.configure(f"{SETTINGS}\nProbabilityRing PROB_RING\nPickFormat PICK_SCNL PICK2K")
    collector = Collector(system)
    reader = RingReader(system.probability)
    system.put(payload for _, payload in messages_of)
    system.start()
    wait_for(lambda: len(collector.look()) == len(expected), "picks")
    assert len(collector.of(10)) == len(expected)
    assert all(len(message.payload) == 72 for message in collector.of(10))
    system.stop()
    traces = [decode_tracebuf2(message.payload) for message in reader.read().messages]
    assert {trace.nslc.channel for trace in traces} == {"EHP", "EHS", "EHD"}
    assert {trace.nslc.location for trace in traces} == {"EO"}
    highest = max(int(trace.samples.max()) for trace in traces if trace.nslc.channel == "EHP")
    best = max(pick.probability for pick in expected if pick.phase == "P")
    assert highest == pytest.approx(best * 1e6, abs=2)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml_prediction.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_missing_ring_is_named_with_its_key(system: LiveSystem) -> None:
    system.configure(SETTINGS)
    key = system.names[1].key
    system.destroy_rings()
    done = run("earthworm", "mlpick.d", **system.environment)
    assert done.returncode == 3
    assert f"PICK_RING (key {key})" in done.stderr


def test_an_unknown_keyword_is_named_with_file_and_line(system: LiveSystem) -> None:
    path = system.configure("Sride 100")
    done = run("earthworm", "mlpick.d", **system.environment)
    assert done.returncode == 2
    assert f"{path}, line 7" in done.stderr
    assert "Sride" in done.stderr


def logged(system: LiveSystem) -> list[str]:
    return [
        line for path in system.log.glob("mlpick_*.log") for line in path.read_text().splitlines()
    ]


@pytest.mark.parametrize(
    ("text", "installation", "said"),
    [
        ("Sride 100", "INST_UNKNOWN", "line 7: the keyword 'Sride' is unknown"),
        ("StateDir stations", "INST_UNKNOWN", "StateDir .*stations can't be used"),
        ("", "INST_WILDCARD", "EW_INSTALLATION = INST_WILDCARD stands for any installation"),
    ],
)
def test_what_is_wrong_at_the_start_is_in_the_log(
    system: LiveSystem, text: str, installation: str, said: str
) -> None:
    system.configure(text)
    with pytest.raises(ConfigurationError, match=said):
        driver_ew.run("mlpick.d", {**system.environment, "EW_INSTALLATION": installation})
    (line,) = [line for line in logged(system) if re.search(said, line)]
    assert "critical: ends: ConfigurationError" in line


def test_a_log_that_is_nowhere_changes_no_error(system: LiveSystem) -> None:
    system.configure("Sride 100")
    with pytest.raises(ConfigurationError, match="'Sride' is unknown"):
        driver_ew.run("mlpick.d", {**system.environment, "EW_LOG": "/nowhere"})


def test_the_samples_are_installed_once(tmp_path: Path) -> None:
    assert {path.name for path in driver_ew.install(str(tmp_path))} == set(driver_ew.SAMPLES)
    (tmp_path / "ml_prediction.d").write_text("mine")
    assert driver_ew.install(str(tmp_path)) == []
    assert (tmp_path / "ml_prediction.d").read_text() == "mine"


def test_a_sample_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))  # as a full disk: a part fits
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            driver_ew.install(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.filename == str(tmp_path / "ml_prediction.d")
    assert not list(tmp_path.iterdir())


def test_samples_are_not_installed_nowhere_or_where_no_file_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="EW_PARAMS is not set"):
        driver_ew.install("")
    (tmp_path / "ml_prediction.desc").mkdir()
    with pytest.raises(ConfigurationError, match=r"ml_prediction\.desc is there and is no file"):
        driver_ew.install(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["ml_prediction.desc"]


def test_the_sample_file_says_the_defaults_and_has_every_keyword(system: LiveSystem) -> None:
    driver_ew.install(str(system.params))
    text = (system.params / "ml_prediction.d").read_text()
    tables = read_tables(system.params, {})
    sample = read_config(Path("ml_prediction.d"), system.params, tables, {})
    assert replace(sample, path=Path("x.d")) == LiveConfig(
        path=Path("x.d"),
        my_module_id=MODULE,
        my_module_name="MOD_MLPICK",
        in_ring=system.names[0],
        out_ring=system.names[1],
        get_logo=(Logo(19, 0, 0),),
    )
    for keyword in KEYWORDS:
        assert re.search(rf"^(# )?{keyword} ", text, re.MULTILINE), keyword
    examples = re.sub(r"^# (?=[A-Z][A-Za-z]+ {2,})", "", text, flags=re.MULTILINE)
    (system.params / "examples.d").write_text(examples)
    shown = read_config(Path("examples.d"), system.params, tables, {})
    assert shown.probability_ring is not None
    assert shown.threshold == {"P": 0.1, "S": 0.1, "Detection": 0.3}
    assert shown.blinding == (500, 500)


def test_the_descriptor_has_every_error(system: LiveSystem) -> None:
    driver_ew.install(str(system.params))
    text = (system.params / "ml_prediction.desc").read_text()
    assert [int(n) for n in re.findall(r"^err: (\d+)", text, re.MULTILINE)] == list(Alarm)


def test_a_packet_of_another_type_is_nobodys_business(system: LiveSystem) -> None:
    system.configure(SETTINGS)
    collector = Collector(system)
    system.start()
    wait_for(lambda: collector.of(HEARTBEAT), "heartbeat")
    for kind in (1, 3, 8, 255):
        system.wave.put(Logo(kind, 5, 255), b"whatever\n")
    system.stop()
    assert not collector.of(ERROR)
