"""The loop that people write by hand: one window, one forward pass, the next window."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from obspy import Stream

from ml_prediction.benchmark.contenders.base import Contender, Found, Job, Setup, station_of
from ml_prediction.benchmark.contenders.rivals import (
    Floats,
    Rival,
    found_peaks,
    load_seisbench,
    read_stream,
    stack,
)
from ml_prediction.util.times import to_ns


@dataclass(frozen=True, slots=True)
class Outcome:
    """Picks, and the seconds that reading took."""

    found: list[Found]
    reading_s: float


@dataclass(frozen=True, slots=True)
class Loop(Rival):
    """SeisBench's model, called directly."""

    model: Any
    setup: Setup

    def run(self, job: Job) -> Outcome:
        """From files to picks, station by station and window by window."""
        started = time.perf_counter()
        stream = read_stream(job.folder)
        read = time.perf_counter() - started
        stations = sorted({(t.stats.network, t.stats.station, t.stats.location) for t in stream})
        found: list[Found] = []
        for network, station, location in stations:
            part = stream.select(network=network, station=station, location=location)
            found += self._pick(station_of((network, station, location)), part, job)
        return Outcome(found, read)

    def picks(self, result: Outcome, job: Job) -> list[Found]:
        """What was found."""
        return result.found

    def _pick(self, name: str, stream: Stream, job: Job) -> list[Found]:
        if self.model.filter_args is not None:
            stream.filter(*self.model.filter_args, **(self.model.filter_kwargs or {}))
        order = [stream.select(component=letter)[0] for letter in self.model.component_order]
        data = np.stack([trace.data for trace in order]).astype(np.float32)
        window = self.setup.window
        starts = range(0, data.shape[1] - window + 1, job.stride)
        outputs = np.stack([self._forward(data[:, start : start + window]) for start in starts])
        stacked = stack(outputs, starts, data.shape[1], self.setup.stacking)
        start_ns = to_ns(order[0].stats.starttime)
        return list(found_peaks(name, start_ns, stacked, self.model.labels, job.thresholds))

    def _forward(self, window: Floats) -> Floats:
        """Output of one window: shape (sample, label)."""
        settings = {"blinding": self.setup.blinding, "sampling_rate": self.model.sampling_rate}
        with torch.no_grad():
            batch = torch.from_numpy(window.copy())[None]
            batch = self.model.annotate_batch_pre(batch, argdict=settings)
            outputs = self.model(batch)
            outputs = self.model.annotate_batch_post(outputs, piggyback=None, argdict=settings)
        result: Floats = outputs[0].numpy()
        return result


def build(setup: Setup) -> Contender:
    """Load the model."""
    return Loop(load_seisbench(setup), setup)
