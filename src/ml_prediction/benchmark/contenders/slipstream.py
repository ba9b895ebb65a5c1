"""RAPID's slipstream (PyPI: rapid-seis), the steps of its `slipstream` with a warm model."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from obspy import Stream

from ml_prediction.benchmark.contenders.base import (
    Contender,
    Found,
    Job,
    NotInstalledError,
    Setup,
    station_of,
)
from ml_prediction.benchmark.contenders.rivals import (
    Floats,
    Rival,
    found_peaks,
    load_seisbench,
    read_stream,
    stack,
)
from ml_prediction.benchmark.weights import NAME
from ml_prediction.core.packets import channel_of
from ml_prediction.util.times import to_ns


@dataclass(frozen=True, slots=True)
class Outcome:
    """Its outputs (window, sample, label), where they belong, and the seconds of reading.

    Its own picks, the first sample of each window above the threshold, are made in its time, but
    can't be compared with peaks.
    """

    outputs: Floats
    counts: list[int]
    stations: list[tuple[str, int]]
    own_picks: Any
    reading_s: float


@dataclass(frozen=True, slots=True)
class Slipstream(Rival):
    """rapid.api.slipstream (1.0.2), but for loading the model and writing JSON."""

    packages: ClassVar[tuple[str, ...]] = ("rapid-seis", *Rival.packages)

    backend: Any
    fairness: Any
    setup: Setup

    def run(self, job: Job) -> Outcome:
        """From files to picks."""
        started = time.perf_counter()
        streams: list[tuple[str, Stream]] = [
            (folder.name, read_stream(folder))
            for folder in sorted(job.folder.iterdir())
            if folder.is_dir()
        ]
        read = time.perf_counter() - started
        model = self.backend._raw_model
        window = self.setup.window
        names, windows, counts, starts = self.fairness.build_windowed_batch(
            model, streams, window, window - job.stride, component_order=model.component_order
        )
        outputs = self.backend.infer_chunked(windows, batch_size=job.batch_size or 256)
        labels = list(model.labels)
        picks = self.fairness.windows_to_station_picks(
            outputs,
            names,
            counts,
            starts,
            p_idx=labels.index("P"),
            s_idx=labels.index("S"),
            p_threshold=job.thresholds["P"],
            s_threshold=job.thresholds["S"],
        )
        stations = [_identify(stream) for _, stream in streams]
        return Outcome(outputs, counts, stations, picks, read)

    def picks(self, result: Outcome, job: Job) -> list[Found]:
        """Peaks in its outputs, stacked as the others do."""
        labels = self.backend._raw_model.labels
        found: list[Found] = []
        first = 0
        for (station, start_ns), count in zip(result.stations, result.counts, strict=True):
            outputs = result.outputs[first : first + count].copy()
            first += count
            left, right = self.setup.blinding
            outputs[:, :left] = np.nan
            outputs[:, outputs.shape[1] - right :] = np.nan
            starts = range(0, count * job.stride, job.stride)
            samples = starts[-1] + outputs.shape[1]
            stacked = stack(outputs, starts, samples, self.setup.stacking)
            found += found_peaks(station, start_ns, stacked, labels, job.thresholds)
        return found


def build(setup: Setup) -> Contender:
    """Load the model by its name, which RAPID asks SeisBench's cache for.

    Raises
    ------
    NotInstalledError
        If RAPID is not there.
    """
    load_seisbench(setup)  # quiets its import, and sets the threads
    try:
        backends = importlib.import_module("rapid.backends.lean_pytorch")
        fairness = importlib.import_module("rapid.benchmark.fairness")
    except ImportError as error:
        raise NotInstalledError(
            f"not installed ({error}): pip install 'ml-prediction[bench]'"
        ) from error
    # In float32, as everyone else; processors without bfloat16 would be slower with it.
    backend = backends.LeanPyTorchBackend(setup.model, NAME, device="cpu", dtype="fp32")
    backend.load()
    torch.set_num_threads(setup.threads)
    backend.warmup(1, 1)
    return Slipstream(backend, fairness, setup)


def _identify(stream: Stream) -> tuple[str, int]:
    return station_of(channel_of(stream[0])), to_ns(stream[0].stats.starttime)
