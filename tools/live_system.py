"""A small stand-in for an Earthworm system: rings, tables, and our module as a process.

For tests and trials only. Everything lies in one folder; the rings have keys of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from ring_keeper import KeptRing, make_ring

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    PickScnl,
    TraceBuf,
    decode_pick_scnl,
    encode_tracebuf2,
)
from ml_prediction.earthworm.reader import Message, RingReader
from ml_prediction.earthworm.ring import Ring, RingName
from ml_prediction.util.codes import NSLC

INSTALLATION: Final = 255
MODULE: Final = 77
SENDER: Final = 20
TRACEBUF2: Final = Logo(19, SENDER, INSTALLATION)
HEARTBEAT, ERROR, PICK_SCNL, PICK2K = 3, 2, 8, 10
PAYLOAD_SAMPLES: Final = 1000

_GLOBAL: Final = """\
Installation INST_WILDCARD 0
Installation INST_UNKNOWN 255
Module MOD_WILDCARD 0
Message TYPE_WILDCARD 0
Message TYPE_ERROR 2
Message TYPE_HEARTBEAT 3
Message TYPE_PICK_SCNL 8
Message TYPE_PICK2K 10
Message TYPE_TRACEBUF2 19
Message TYPE_TRACEBUF 20
"""


class LiveSystem:
    """Rings WAVE_RING, PICK_RING and PROB_RING, and a module that works between them.

    Parameters
    ----------
    folder
        For configuration, logs and state.
    keys
        Of the three rings, and of a flag ring that is not made.
    wave_kilobytes, pick_kilobytes
        Sizes of the rings.
    """

    def __init__(
        self,
        folder: Path,
        keys: Sequence[int],
        wave_kilobytes: int = 4096,
        pick_kilobytes: int = 512,
    ) -> None:
        self.params, self.log, self.data = (folder / n for n in ("params", "log", "data"))
        for path in (self.params, self.log, self.data):
            path.mkdir(parents=True, exist_ok=True)
        self.keys = list(keys)
        wave, pick, probability, flag = keys
        self.names = [
            RingName("WAVE_RING", wave),
            RingName("PICK_RING", pick),
            RingName("PROB_RING", probability),
        ]
        (self.params / "earthworm_global.d").write_text(_GLOBAL)
        rings = "".join(f"Ring {ring.name} {ring.key}\n" for ring in self.names)
        (self.params / "earthworm.d").write_text(
            f"{rings}Ring FLAG_RING {flag}\nModule MOD_MLPICK {MODULE}\nModule MOD_PLAY {SENDER}\n"
        )
        self._sizes = [wave_kilobytes, pick_kilobytes, pick_kilobytes]
        self.kept: list[KeptRing] = []
        self.process: subprocess.Popen[str] | None = None
        self.make_rings()

    # -- rings ------------------------------------------------------------------------------------

    def make_rings(self) -> None:
        """Make the rings, as startstop does."""
        self.kept = [
            make_ring(name.key, size) for name, size in zip(self.names, self._sizes, strict=True)
        ]
        self.wave, self.pick, self.probability = (Ring(name) for name in self.names)
        self.reader = RingReader(self.pick)

    def destroy_rings(self) -> None:
        """Destroy them, as startstop does."""
        for ring in (self.wave, self.pick, self.probability):
            ring.close()
        for kept in self.kept:
            kept.destroy()
        self.kept = []

    def put(self, payloads: Iterable[bytes]) -> None:
        """Put waveforms."""
        for payload in payloads:
            self.wave.put(TRACEBUF2, payload)

    def messages(self) -> list[Message]:
        """What is new in the PICK_RING."""
        found: list[Message] = []
        while (batch := self.reader.read()).messages:
            found += batch.messages
        return found

    # -- module -----------------------------------------------------------------------------------

    def configure(self, text: str) -> Path:
        """Write the module's file: what every trial needs, and these lines."""
        path = self.params / "mlpick.d"
        path.write_text(
            "MyModuleId MOD_MLPICK\nInRing WAVE_RING\nOutRing PICK_RING\n"
            f"HeartBeatInt 1\nLogFile 2\nStatusFile status.json\n{text}\n"
        )
        return path

    @property
    def environment(self) -> dict[str, str]:
        """Of the module."""
        return {
            **os.environ,
            "EW_PARAMS": str(self.params),
            "EW_LOG": str(self.log),
            "EW_DATA_DIR": str(self.data),
            "EW_INSTALLATION": "INST_UNKNOWN",
        }

    def start(self, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Start the module; ``before`` is called in its process first."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ml_prediction.drivers.driver_ew", "mlpick.d"],
            env=self.environment,
            cwd=self.params,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send the module a signal; the seconds until it has ended."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return time.monotonic() - started

    def close(self) -> None:
        """End everything; no segment is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        if self.kept:
            self.destroy_rings()


@contextmanager
def live_system(
    folder: Path, keys: Sequence[int], wave_kilobytes: int = 4096, pick_kilobytes: int = 512
) -> Iterator[LiveSystem]:
    """A system that is closed afterwards."""
    system = LiveSystem(folder, keys, wave_kilobytes, pick_kilobytes)
    try:
        yield system
    finally:
        system.close()


def picks_in(messages: Iterable[Message]) -> list[PickScnl]:
    """The picks among messages."""
    return [decode_pick_scnl(m.payload) for m in messages if m.logo.type == PICK_SCNL]


def packetise(
    nslc: NSLC,
    start: float,
    rate: float,
    samples: npt.NDArray[np.int32],
    seconds: float = 1.0,
    first: int | None = None,
) -> list[tuple[float, bytes]]:
    """Samples of one channel as messages, with the time at which each ends.

    Parameters
    ----------
    nslc, start, rate, samples
        The channel, its first sample's time, its rate in Hz, and what it recorded.
    seconds
        Length of a packet.
    first
        Samples of the first packet, where it is to be shorter.
    """
    length = min(max(1, round(rate * seconds)), PAYLOAD_SAMPLES)
    edges = [0, *range(first or length, len(samples), length), len(samples)]
    result = []
    for begin, end in pairwise(edges):
        time_of_first, time_of_last = start + begin / rate, start + (end - 1) / rate
        part = np.ascontiguousarray(samples[begin:end])
        message = TraceBuf(nslc, time_of_first, time_of_last, rate, part, "i4")
        result.append((time_of_last, encode_tracebuf2(message)))
    return result
