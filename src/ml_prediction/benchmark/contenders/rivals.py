"""What the rivals share: SeisBench's model object, files read by ObsPy, peaks of triggers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import obspy
import torch
from obspy import Stream
from obspy.signal.trigger import trigger_onset

from ml_prediction.benchmark.contenders.base import Found, Setup
from ml_prediction.benchmark.plan import RATE
from ml_prediction.util.times import NANOSECONDS


class Timed(Protocol):
    """A result that knows how long reading took."""

    @property
    def reading_s(self) -> float:
        """Seconds."""
        ...


class Rival:
    """What all rivals say of themselves."""

    __slots__ = ()
    packages: ClassVar[tuple[str, ...]] = ("seisbench", "torch", "obspy")

    def stages(self, result: Timed) -> dict[str, float]:
        """Seconds of reading."""
        return {"reading": result.reading_s}

    def measure(self, seconds: float) -> dict[str, float]:
        """Nothing."""
        return {}

    @property
    def versions(self) -> dict[str, str]:
        """Of SeisBench and what is below it."""
        return versions(*self.packages)


Floats = npt.NDArray[np.floating[Any]]


def load_seisbench(setup: Setup) -> Any:
    """SeisBench's own model, ready to run, and warm: one window has gone through it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seisbench.models
    logging.getLogger("seisbench").setLevel(logging.ERROR)
    torch.set_num_threads(setup.threads)
    model = getattr(seisbench.models, setup.model).load(setup.weights, version_str="1")
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, len(model.component_order), setup.window))
    return model


def versions(*names: str) -> dict[str, str]:
    """Versions of installed packages."""
    return {name: version(name) for name in names}


def read_stream(folder: Path) -> Stream:
    """All files of a folder, as a script would read them."""
    stream = Stream()
    for path in sorted(folder.rglob("*.mseed")):
        stream += obspy.read(path)
    return stream


def found_peaks(
    station: str,
    start_ns: int,
    probabilities: Floats,
    labels: Sequence[str],
    thresholds: Mapping[str, float],
) -> Iterable[Found]:
    """Peaks of triggers, on at the threshold and off at half of it, as in SeisBench.

    Parameters
    ----------
    station
        Network, station and location code.
    start_ns
        Time of the first sample.
    probabilities
        Shape (sample, label); NaN where there is none.
    labels
        Their names.
    thresholds
        Of each phase.
    """
    for phase, threshold in thresholds.items():
        trace = np.nan_to_num(probabilities[:, labels.index(phase)])
        for on, off in trigger_onset(trace, threshold, threshold / 2):
            peak = int(on + np.argmax(trace[on : off + 1]))
            time_ns = start_ns + peak * NANOSECONDS // RATE
            yield Found(station, phase, time_ns, float(trace[peak]))


def stack(
    windows: Floats, starts: Iterable[int], samples: int, stacking: str
) -> npt.NDArray[np.float32]:
    """Merge outputs of overlapping windows.

    Parameters
    ----------
    windows
        Shape (window, sample, label); NaN where blinded.
    starts
        First sample of each window.
    samples
        Length of the result.
    stacking
        max or mean.

    Returns
    -------
    numpy.ndarray
        Shape (sample, label); NaN where there is nothing.
    """
    shape = (samples, windows.shape[2])
    length = windows.shape[1]
    if stacking == "max":
        result = np.full(shape, np.nan, dtype=np.float32)
        for start, window in zip(starts, windows, strict=True):
            part = result[start : start + length]
            np.fmax(part, window, out=part)
        return result
    total, count = np.zeros(shape), np.zeros(shape)
    for start, window in zip(starts, windows, strict=True):
        known = np.isfinite(window)
        total[start : start + length] += np.where(known, window, 0.0)
        count[start : start + length] += known
    mean = np.full(shape, np.nan, dtype=np.float32)
    return np.divide(total, count, out=mean, where=count > 0, casting="unsafe")
