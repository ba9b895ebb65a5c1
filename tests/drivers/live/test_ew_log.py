"""Log files as Earthworm's, and a log that can't be written stops nobody."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ml_prediction.drivers.live.ew_log import RETRY_SECONDS, EarthwormLog, standard_error

MIDNIGHT = datetime(2024, 2, 29, tzinfo=UTC).timestamp()


class Clock:
    """Monotonic seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def record(text: str, created: float, level: int = logging.INFO, *values: Any) -> logging.LogRecord:
    made = logging.LogRecord("ml_prediction.x", level, "x.py", 1, text, values, None)
    made.created = created
    return made


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_line_has_the_time_as_earthworm_writes_it(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    log.handle(record("attached to %s", MIDNIGHT + 3661.9, logging.INFO, "WAVE_RING"))
    log.handle(record("odd", MIDNIGHT + 3662, logging.WARNING))
    log.handle(record("bad", MIDNIGHT + 3663, logging.ERROR))
    log.close()
    path = tmp_path / "mlpick_20240229.log"
    assert lines(path) == [
        "20240229_UTC_01:01:01 attached to WAVE_RING",
        "20240229_UTC_01:01:02 warning: odd",
        "20240229_UTC_01:01:03 error: bad",
    ]
    assert all(re.match(r"\d{8}_UTC_\d\d:\d\d:\d\d ", line) for line in lines(path))
    assert log.lost == 0


def test_at_midnight_utc_a_new_file_begins(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    for text, after in (("a", -0.001), ("b", 0.0), ("c", 86_399.9), ("d", 86_400)):
        log.handle(record(text, MIDNIGHT + after))
    log.close()
    found = {path.name: [line[-1] for line in lines(path)] for path in tmp_path.iterdir()}
    assert found == {
        "mlpick_20240228.log": ["a"],
        "mlpick_20240229.log": ["b", "c"],
        "mlpick_20240301.log": ["d"],
    }


def test_a_clock_that_steps_back_over_midnight_appends_to_the_older_file(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    for text, after in (("a", -1.0), ("b", 1.0), ("c", -0.5), ("d", 2.0)):
        log.handle(record(text, MIDNIGHT + after))
    log.close()
    assert [line[-1] for line in lines(tmp_path / "mlpick_20240228.log")] == ["a", "c"]
    assert [line[-1] for line in lines(tmp_path / "mlpick_20240229.log")] == ["b", "d"]


def test_the_file_of_an_earlier_process_is_gone_on_with(tmp_path: Path) -> None:
    for text in ("a", "b"):
        log = EarthwormLog(tmp_path, "mlpick")
        log.handle(record(text, MIDNIGHT))
        log.close()
    assert [line[-1] for line in lines(tmp_path / "mlpick_20240229.log")] == ["a", "b"]


def test_each_line_can_be_read_at_once(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    log.handle(record("a", MIDNIGHT))
    assert len(lines(tmp_path / "mlpick_20240229.log")) == 1
    log.close()


def test_a_record_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    log.handle(record("a\nb \N{SNOWMAN} \ud800", MIDNIGHT))
    log.close()
    (line,) = lines(tmp_path / "mlpick_20240229.log")
    assert line.startswith("20240229_UTC_00:00:00 a b ")


def test_the_console_has_the_same_lines(tmp_path: Path) -> None:
    console = io.StringIO()
    log = EarthwormLog(tmp_path, "mlpick", console)
    log.handle(record("a", MIDNIGHT))
    log.close()
    assert console.getvalue() == (tmp_path / "mlpick_20240229.log").read_text()
    only = io.StringIO()
    log = EarthwormLog(None, "mlpick", only)
    log.handle(record("b", MIDNIGHT))
    assert only.getvalue() == "20240229_UTC_00:00:00 b\n"
    log.close()


def test_a_console_that_was_closed_stops_nobody(tmp_path: Path) -> None:
    console = io.StringIO()
    log = EarthwormLog(tmp_path, "mlpick", console)
    console.close()
    for _ in range(2):
        log.handle(record("a", MIDNIGHT))
    log.close()
    assert len(lines(tmp_path / "mlpick_20240229.log")) == 2
    assert standard_error() is sys.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_loses_lines_and_counts_each_once(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "mlpick_20240229.log"
    path.symlink_to("/dev/full")
    log = EarthwormLog(tmp_path, "mlpick")
    log.handle(record("a", MIDNIGHT))
    assert log.lost == 1
    log.handle(record("b", MIDNIGHT))
    assert log.lost == 2
    path.unlink()
    clock.now += RETRY_SECONDS
    log.handle(record("c", MIDNIGHT))
    log.close()
    assert [line[-1] for line in lines(path)] == ["c"]
    assert log.lost == 2


def test_a_full_disk_is_not_tried_at_every_line(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Path] = []

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        attempts.append(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = EarthwormLog(tmp_path, "mlpick")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for second in range(100):
            clock.now = 1000.0 + second
            log.handle(record("a", MIDNIGHT))
    assert log.lost == 100
    assert len(attempts) == 10
    clock.now += RETRY_SECONDS
    log.handle(record("b", MIDNIGHT))
    assert len(lines(tmp_path / "mlpick_20240229.log")) == 1
    log.close()


def test_a_folder_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path / "gone", "mlpick")
    log.handle(record("a", MIDNIGHT))
    assert log.lost == 1
    log.close()


def test_a_record_that_does_not_fit_its_values_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as handlers say it by themselves
    log = EarthwormLog(tmp_path, "mlpick")
    log.handle(record("%d things", MIDNIGHT, logging.INFO, "no number"))
    log.handle(record("b", MIDNIGHT))
    log.close()
    assert lines(tmp_path / "mlpick_20240229.log")[-1].endswith(" b")


def test_an_error_is_told_with_its_traceback_in_one_line(tmp_path: Path) -> None:
    log = EarthwormLog(tmp_path, "mlpick")
    made = record("it ended", MIDNIGHT, logging.CRITICAL)
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("odd\nnumber") from error
    except ValueError:
        made.exc_info = sys.exc_info()
    log.handle(made)
    empty = record("no error", MIDNIGHT)
    empty.exc_info = (None, None, None)
    log.handle(empty)
    log.close()
    line, last = lines(tmp_path / "mlpick_20240229.log")
    first, *parts = line.split(" | ")
    assert first == "20240229_UTC_00:00:00 critical: it ended"
    assert parts[0] == "Traceback (most recent call last):"
    assert "KeyError: 'inner'" in parts
    assert parts[-2:] == ["ValueError: odd", "number"]
    assert any("test_ew_log.py" in part for part in parts)
    assert all(parts)
    assert last == "20240229_UTC_00:00:00 no error"
