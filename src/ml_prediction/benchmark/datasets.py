"""Data on disk, as an archive has them: a folder for each station, a file for each channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import obspy
from obspy import Stream, Trace

from ml_prediction.benchmark.contenders.base import station_of
from ml_prediction.benchmark.plan import RATE, ModelPlan, Workload, whole_windows, windows_in
from ml_prediction.benchmark.waveforms import COMPONENTS, seismogram
from ml_prediction.core.packets import channel_of
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

NETWORK: Final = "XX"
_FIRST: Final = 1_767_225_600 * RATE  # samples from 1970 to 2026
_RECORD_BYTES: Final = 512

HOUR: Final = (
    "data/Continuous_CX/CX.PB01..HH.mseed",
    "data/Continuous_CX/CX.PB02..HH.mseed",
)
EARTHQUAKE: Final = ("data/Full_Array/uw61965081_PortTownsend_M4.3.mseed",)
REAL: Final = {"real-hour": HOUR, "real-earthquake": EARTHQUAKE}
"""Files of each real workload, below the folder of shared data."""


@dataclass(frozen=True, slots=True)
class Span:
    """What one station recorded.

    Attributes
    ----------
    station
        Network, station and location code, joined by dots.
    start_ns
        Time of the first sample: nanoseconds since 1970, on the grid of windows.
    samples
        Length: a window and a whole number of strides.
    """

    station: str
    start_ns: int
    samples: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder ``station/channel.mseed``, three components each, at 100 Hz.

    Attributes
    ----------
    folder
        Where it is.
    window, stride
        What the lengths and starts fit, in samples.
    spans
        One for each station.
    """

    folder: Path
    window: int
    stride: int
    spans: tuple[Span, ...]

    @property
    def windows(self) -> int:
        """Windows that lie wholly within the data."""
        return sum(windows_in(span.samples, self.window, self.stride) for span in self.spans)

    @property
    def station_seconds(self) -> float:
        """Seconds of data, added up over stations."""
        return sum(span.samples for span in self.spans) / RATE

    @property
    def seconds(self) -> float:
        """Seconds that the longest station covers."""
        return max(span.samples for span in self.spans) / RATE


def make_synthetic(workload: Workload, model: ModelPlan, folder: Path) -> Dataset:
    """Write synthetic data.

    Parameters
    ----------
    workload, model
        What they are for.
    folder
        Where they go; it is made.
    """
    stride, samples = workload.stride_for(model), workload.samples_for(model)
    start_ns = -(-_FIRST // stride) * stride * NANOSECONDS // RATE
    spans = []
    for number in range(workload.stations):
        code = f"S{number:04d}"
        for component in COMPONENTS:
            data = seismogram(number, component, samples)
            _write(folder, NSLC(NETWORK, code, "", f"HH{component}"), start_ns, data)
        spans.append(Span(station_of(NSLC(NETWORK, code, "", "")), start_ns, samples))
    return Dataset(folder, model.window, stride, tuple(spans))


def real_files(workload: Workload, shared: Path | None) -> list[Path]:
    """Files of a real workload; empty if one of them is missing."""
    if shared is None:
        return []
    paths = [shared / name for name in REAL[workload.key]]
    return paths if all(path.is_file() for path in paths) else []


def make_real(files: Iterable[Path], workload: Workload, model: ModelPlan, folder: Path) -> Dataset:
    """Write the part of recorded data that is whole windows on the grid.

    One three-component instrument of each station is used: SeisBench does not tell two of one
    station apart. Their times are rounded to the sample.
    """
    stream = Stream()
    for path in files:
        stream += obspy.read(path)
    stride = workload.stride_for(model)
    spans: list[Span] = []
    for instrument in _instruments(stream):
        first = round(to_ns(instrument[0].stats.starttime) * RATE / NANOSECONDS)
        skip = -first % stride
        samples = whole_windows(min(map(len, instrument)) - skip, model.window, stride)
        if not samples:
            continue
        start_ns = (first + skip) * NANOSECONDS // RATE
        for trace in instrument:
            part = trace.data[skip : skip + samples]
            _write(folder, channel_of(trace), start_ns, part)
        code = channel_of(instrument[0])
        spans.append(Span(station_of(code), start_ns, samples))
    return Dataset(folder, model.window, stride, tuple(spans))


def _instruments(stream: Stream) -> list[list[Trace]]:
    """Traces of one complete instrument for each station, which start together."""
    found: dict[tuple[str, str], list[Trace]] = {}
    groups: dict[str, list[Trace]] = {}
    for trace in stream:
        groups.setdefault(str(channel_of(trace).instrument), []).append(trace)
    for name in sorted(groups, reverse=True):  # HH before EN
        traces = sorted(groups[name], key=lambda trace: str(trace.stats.channel))
        starts = {round(trace.stats.starttime.timestamp * RATE) for trace in traces}
        complete = "".join(str(trace.stats.channel)[-1] for trace in traces) == COMPONENTS
        if complete and len(starts) == 1 and traces[0].stats.sampling_rate == RATE:
            code = channel_of(traces[0])
            found.setdefault((code.network, code.station), traces)
    return [found[key] for key in sorted(found)]


def _write(folder: Path, code: NSLC, start_ns: int, data: npt.NDArray[np.int32]) -> None:
    """Steim-2 records of 512 bytes."""
    header = {**code._asdict(), "sampling_rate": float(RATE), "starttime": to_utc(start_ns)}
    path = folder / code.station
    path.mkdir(parents=True, exist_ok=True)
    Trace(np.ascontiguousarray(data, dtype=np.int32), header).write(
        str(path / f"{code}.mseed"), format="MSEED", encoding="STEIM2", reclen=_RECORD_BYTES
    )
