"""Packets, traces, and a clock that waits for nobody, for tests of rings and tanks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.drivers.ring_names import read_names
from ml_prediction.drivers.ring_tools import Clock
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import TraceBuf, encode_tracebuf2
from ml_prediction.earthworm.reader import Message, RingReader
from ml_prediction.earthworm.ring import Ring, RingName
from ml_prediction.util.codes import NSLC

SENDER = (99, 255)
NOW = 1_700_000_000.0
GNW = NSLC("UW", "GNW", "", "BHZ")
NAMES = read_names({})

MakeRing = Callable[..., RingName]


class FakeClock:
    """A clock that goes on while somebody sleeps, and by then only."""

    def __init__(self, started: float = NOW) -> None:
        self.time = started
        self.at_sleep: list[Callable[[], None]] = []

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds < 1
        self.time += seconds
        if self.at_sleep:
            self.at_sleep.pop(0)()

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, steady=lambda: self.time - NOW, sleep=self.sleep)


def put(name: RingName, *messages: tuple[Logo, bytes]) -> None:
    with closing(Ring(name)) as ring:
        for logo, payload in messages:
            ring.put(logo, payload)


def messages_of(name: RingName) -> list[Message]:
    with closing(Ring(name)) as ring:
        return RingReader(ring).read().messages


def wave(start: float = NOW, count: int = 100, nslc: NSLC = GNW, rate: float = 100.0) -> bytes:
    samples = np.arange(count, dtype=np.int32)
    buf = TraceBuf(nslc, start, start + (count - 1) / rate, rate, samples, "i4")
    return encode_tracebuf2(buf)


def make_trace(data: Any, channel: str = "BHZ", rate: float = 100.0, start: float = NOW) -> Trace:
    header = {
        "network": "UW",
        "station": "GNW",
        "channel": channel,
        "sampling_rate": rate,
        "starttime": UTCDateTime(start),
    }
    return Trace(np.asarray(data), header=header)


def save(stream: Stream | Trace, path: Path, **options: Any) -> Path:
    stream.write(str(path), format="MSEED", **options)
    return path
