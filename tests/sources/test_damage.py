"""Damage is told of wherever wanted samples may have been in it, and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from obspy import Trace, UTCDateTime

from ml_prediction.sources.files import open_files

START = UTCDateTime(2020, 1, 1)


def hour(channel: str, start: float, seconds: float = 3600.0) -> bytes:
    """Records of 100 Hz, from so many seconds after START on."""
    samples = np.random.default_rng(0).integers(-1000, 1000, round(100 * seconds))
    stats = {"station": "GNW", "channel": channel, "sampling_rate": 100.0}
    buffer = io.BytesIO()
    trace = Trace(samples.astype(np.int32), header=stats | {"starttime": START + start})
    trace.write(buffer, format="MSEED", reclen=512)
    return buffer.getvalue()


def damaged(parts: list[bytes], first: float, last: float) -> bytes:
    """Parts one after another, without the bytes between two places (in parts of the whole)."""
    whole = b"".join(parts)
    begin, end = (round(len(whole) * place / 512) * 512 for place in (first, last))
    return whole[:begin] + bytes(end - begin) + whole[end:]


WANTED = (300.0, 600.0)
"""Seconds after START that are wanted."""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: damaged([hour("HHZ", 0)], 0.5, 0.6), False),
        (lambda: damaged([hour("HHZ", 0)], 0.1, 0.12), True),
        (lambda: damaged([hour("HHZ", 0)], 0.02, 0.6), True),
        (lambda: hour("HHZ", 0)[:-100], False),
        (lambda: hour("HHZ", -3600, 4000)[:-100], True),
        (lambda: damaged([hour("HHE", 0), hour("HHN", 0), hour("HHZ", 0)], 0.2, 0.7), True),
        (lambda: damaged([hour("HHE", 0), hour("HHN", 0), hour("HHZ", 0)], 0.2, 1.0), True),
        (lambda: damaged([hour("HHE", 0), hour("HHN", 0), hour("HHZ", 0)], 0.2, 0.25), False),
        (lambda: damaged([hour("HHZ", 3600), hour("HHZ", 0), hour("HHZ", 7200)], 0.2, 0.8), True),
        (lambda: bytes(512) + hour("HHZ", 900), True),
        (lambda: bytes(512) + hour("HHZ", -900), False),
    ],
    ids=[
        "elsewhere",
        "inside",
        "across",
        "cut short later",
        "cut short inside",
        "over a channel",
        "over two to the end",
        "within one channel",
        "out of order",
        "before the first",
        "before, but later",
    ],
)
def test_damage_is_told_where_wanted_samples_may_have_been(
    tmp_path: Path, content: Callable[[], bytes], told: bool
) -> None:
    (tmp_path / "a").write_bytes(content())
    (tmp_path / "b").write_bytes(hour("HHZ", 0))
    start, end = (START + seconds for seconds in WANTED)
    source = open_files(tmp_path, starttime=start, endtime=end)
    list(source.batches())
    assert [problem.reason for problem in source.problems] == (["corrupt"] if told else [])


def test_records_without_samples_are_told_of_the_wanted_times_only(tmp_path: Path) -> None:
    hollow = bytearray(hour("HHE", 0, 1))
    hollow[30:32] = bytes(2)  # number of samples
    (tmp_path / "a").write_bytes(hour("HHZ", 0) + bytes(hollow))
    for seconds, reasons in ((0, ["zero-length record"]), (100, [])):
        source = open_files(tmp_path, starttime=START + seconds)
        list(source.batches())
        assert [problem.reason for problem in source.problems] == reasons
