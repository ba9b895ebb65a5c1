"""What a live run says of itself: in the status file, and to Prometheus."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import TIME, make_pick
from prometheus_client.parser import text_string_to_metric_families

from ml_prediction.core.packets import Packet
from ml_prediction.core.summary import Summary
from ml_prediction.drivers.live import account as module
from ml_prediction.drivers.live.account import Account
from ml_prediction.drivers.live.latency import Latencies
from ml_prediction.drivers.live.metrics import serve, write_status
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns


class Clock:
    """The host's clock and the monotonic one, set by hand."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.steady = 500.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def goes_on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


# -- latencies --------------------------------------------------------------------------------


def test_quantiles_of_nothing_are_nothing() -> None:
    assert Latencies().quantiles() == {}


def test_quantiles_are_those_of_the_newest() -> None:
    latencies = Latencies(kept=101)
    for value in (*[1000.0] * 50, *range(101)):
        latencies.add(float(value))
    assert latencies.quantiles() == {0.5: 50.0, 0.95: 95.0, 0.99: 99.0}
    assert latencies.count == 151


# -- the account ------------------------------------------------------------------------------


def packet(end_ns: int) -> Packet:
    return Packet(
        NSLC("UW", "GNW", "", "HHZ"), end_ns - 990_000_000, 100.0, np.zeros(100, np.int32)
    )


def busy_account(clock: Clock) -> tuple[Account, Summary, dict[tuple[str, str], int]]:
    """An account in which every number is another one."""
    account = Account()
    now_ns = round(clock.wall * NANOSECONDS)
    account.note_packets([packet(now_ns - n * 10**8) for n in range(1, 12)], now_ns)
    picks = [make_pick(phase="PS"[n % 2], time=TIME + n) for n in range(7)]
    account.note_picks(picks, to_ns(TIME) + 20 * NANOSECONDS, 0.125)
    account.dropped.update({"packets: future": 21, "messages: lapped": 22})
    account.detections = 23
    summary = Summary(packets=31, samples=32, windows=33)
    summary.skipped = Counter({"samples: late": 34, "windows: overload": 35, "samples: gap": 36})
    summary.notes = Counter({"slip": 37, "short gap": 38, "orientation assumed": 39})
    summary.examples = {"slip": "UW.GNW..HHZ"}
    newest = {
        ("UW", "GNW"): now_ns - 41 * NANOSECONDS,
        ("CC", "MBW"): now_ns - 42 * NANOSECONDS,
    }
    return account, summary, newest


MORE = {
    "windows_waiting": 51,
    "input_bytes": 52,
    "picks_unsent": 53,
    "errors": {"0": 54, "4": 55},
    "snapshot_bytes": 56,
    "snapshot_age_s": 57.5,
    "log_lines_lost": 58,
    "rings_missing": 1,
    "model": "EQTransformer:original",
    "pid": 4321,
}


def busy_status(clock: Clock) -> dict[str, Any]:
    account, summary, newest = busy_account(clock)
    account.status(summary, newest, {})
    clock.goes_on(10.0)
    summary.windows += 70
    return account.status(summary, newest, MORE)


def test_the_status_says_everything(clock: Clock) -> None:
    status = busy_status(clock)
    assert status["packets"] == 31
    assert status["samples"] == 32
    assert status["windows"] == 103
    assert status["windows_per_s"] == 7.0
    assert status["uptime_s"] == 10.0
    assert status["gaps"] == {"short gap": 38, "slip": 37}
    assert status["late_samples"] == 34
    assert status["dropped"] == {
        "messages: lapped": 22,
        "packets: future": 21,
        "samples: gap": 36,
        "samples: late": 34,
        "windows: overload": 35,
    }
    assert status["picks"] == {"P": 4, "S": 3}
    assert status["detections"] == 23
    assert status["latency_s"]["data"] == {"0.5": 0.6, "0.95": 1.05, "0.99": 1.09}
    assert status["latency_s"]["processing"] == {"0.5": 0.125, "0.95": 0.125, "0.99": 0.125}
    assert status["latency_s"]["pick"]["0.5"] == 17.0
    assert status["stations"] == 2
    assert status["station_age_s"] == {"UW.GNW": 51.0, "CC.MBW": 52.0}
    assert status["errors"] == {"0": 54, "4": 55}
    assert status["model"] == "EQTransformer:original"


def test_a_new_run_has_a_status_too(clock: Clock) -> None:
    status = Account().status(Summary(), {}, {})
    assert (status["packets"], status["windows_per_s"], status["uptime_s"]) == (0, 0.0, 0.0)
    assert status["latency_s"] == {"data": {}, "processing": {}, "pick": {}}
    json.dumps(status)


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    account, summary = Account(), Summary()
    rates = []
    for second in range(0, 300, 2):
        clock.goes_on(2.0)
        summary.windows += 20 if second < 150 else 2
        rates.append(account.status(summary, {}, {})["windows_per_s"])
    assert rates[70] == pytest.approx(10.0)
    assert rates[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_steps_does_not_change_rate_and_uptime(clock: Clock, step: float) -> None:
    account, summary = Account(), Summary()
    for _ in range(20):
        clock.goes_on(2.0)
        summary.windows += 20
        account.status(summary, {}, {})
    clock.wall += step
    clock.goes_on(2.0)
    summary.windows += 20
    status = account.status(summary, {}, {})
    assert status["windows_per_s"] == pytest.approx(10.0)
    assert status["uptime_s"] == pytest.approx(42.0)


def test_of_very_many_stations_those_that_are_silent_longest_are_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_STATIONS", 3)
    now_ns = round(clock.wall * NANOSECONDS)
    newest = {("UW", f"S{n}"): now_ns - n * NANOSECONDS for n in range(10)}
    status = Account().status(Summary(), newest, {})
    assert status["stations"] == 10
    assert status["station_age_s"] == {"UW.S7": 7.0, "UW.S8": 8.0, "UW.S9": 9.0}


# -- the file ---------------------------------------------------------------------------------


def test_a_status_is_a_json_file(tmp_path: Path, clock: Clock) -> None:
    status = busy_status(clock)
    path = tmp_path / "status.json"
    for _ in range(2):
        write_status(path, status)
        assert json.loads(path.read_text()) == status
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("where", ["open", "replace"])
def test_a_status_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "status.json"
    write_status(path, {"packets": 1})

    def full(part: Path, *args: Any, **options: Any) -> None:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT))  # as far as it came
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, where, full)
        with pytest.raises(OSError, match="No space"):
            write_status(path, {"packets": 2})
    assert json.loads(path.read_text()) == {"packets": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


# -- metrics ----------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def samples_at(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values under /metrics by name and labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def numbers_in(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], float]]:
    """All numbers of a status, with where they stand."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from numbers_in(each, *path, key)
    elif isinstance(value, int | float):
        yield path, float(value)


def test_every_number_of_the_status_is_a_metric(clock: Clock, port: int) -> None:
    status = busy_status(clock)
    end = serve(lambda: status, port, "127.0.0.1")
    try:
        found = samples_at(port)
    finally:
        end()
    for (first, *rest), value in numbers_in(status):
        if first in ("time", "pid"):  # when it was said, and by whom
            continue
        fitting = [v for (_, labels), v in found.items() if labels == tuple(rest) and v == value]
        assert fitting, f"{first} {rest}: {value}"
    names = {name for name, _ in found}
    assert all(name.startswith("ml_prediction_") for name in names)
    assert found["ml_prediction_windows_total", ()] == 103
    assert found["ml_prediction_dropped_total", ("windows: overload",)] == 35
    assert found["ml_prediction_latency_seconds", ("data", "0.95")] == 1.05
    assert found["ml_prediction_station_age_seconds", ("UW.GNW",)] == 51.0


def test_metrics_are_those_of_the_newest_status(port: int) -> None:
    latest: dict[str, Any] = {}
    end = serve(lambda: latest, port, "127.0.0.1")
    try:
        assert samples_at(port)["ml_prediction_packets_total", ()] == 0
        latest = {"packets": 5, "picks": {"P": 2}}
        found = samples_at(port)
    finally:
        end()
    assert found["ml_prediction_packets_total", ()] == 5
    assert found["ml_prediction_picks_total", ("P",)] == 2


def test_a_port_that_is_taken_is_a_configuration_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"MetricsPort {port}"):
            serve(dict, port, "127.0.0.1")


def test_the_port_is_free_again_afterwards(port: int) -> None:
    for _ in range(2):
        serve(dict, port, "127.0.0.1")()
