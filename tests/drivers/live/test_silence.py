"""The time of instruments that send nothing goes on by itself, by the monotonic clock alone."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.silence import Silence
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS

START = 1_700_000_000
GNW = Instrument("UW", "GNW", "", "HH")
MBW = Instrument("CC", "MBW", "01", "EH")


def packet(instrument: Instrument, end: float, letter: str = "Z") -> Packet:
    nslc = NSLC(*instrument[:3], instrument.prefix + letter)
    start_ns = (START - 1) * NANOSECONDS + round((end + 0.01) * NANOSECONDS)
    return Packet(nslc, start_ns, 100.0, np.zeros(100, np.int32))


def seconds(found: list[tuple[Instrument, int]]) -> dict[Instrument, float]:
    return {each: (time_ns - START * NANOSECONDS) / NANOSECONDS for each, time_ns in found}


def test_nobody_is_silent_before_the_timeout_is_over() -> None:
    silence = Silence(120.0)
    assert list(silence.over(10.0**9)) == []
    silence.note(packet(GNW, 0.0), 1000.0)
    assert list(silence.over(1120.0)) == []


def test_the_time_is_that_of_the_newest_sample_plus_the_silence() -> None:
    silence = Silence(120.0)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 5.0), 1100.0)
    assert seconds(list(silence.over(1121.0))) == {GNW: 121.0}
    assert seconds(list(silence.over(1230.0))) == {GNW: 230.0, MBW: 135.0}


def test_any_channel_ends_the_silence_of_its_instrument() -> None:
    silence = Silence(120.0)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(GNW, 1.0, "E"), 1150.0)
    assert list(silence.over(1200.0)) == []
    assert seconds(list(silence.over(1271.0))) == {GNW: 122.0}


def test_older_data_do_not_turn_the_time_back() -> None:
    silence = Silence(120.0)
    silence.note(packet(GNW, 50.0), 1000.0)
    silence.note(packet(GNW, -3000.0), 1001.0)
    assert seconds(list(silence.over(1201.0))) == {GNW: 250.0}


def test_after_a_restart_silence_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence(120.0)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 5.0), 1000.0)
    state = json.loads(json.dumps(silence.snapshot()))
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)  # of another boot
    again = Silence(120.0)
    again.restore(state)
    assert list(again.over(170.0)) == []
    assert seconds(list(again.over(171.0))) == {GNW: 121.0, MBW: 126.0}
    assert again.snapshot() == state
