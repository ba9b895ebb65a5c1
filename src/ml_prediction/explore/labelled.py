"""Labelled sets of waveforms: windows with known arrivals, cut at random, and picked.

Two forms of folders are read: ``labels.csv`` with npz files (``file``, ``p_sample``, ``s_sample``,
``event_group``, optionally ``sampling_rate_hz``; the arrays ``data`` have shape (sample, 3),
components E, N, Z), and SeisBench's datasets (metadata.csv and waveforms.hdf5, read by SeisBench).
A phase without a sample is unknown, not absent.
"""

from __future__ import annotations

import csv
import logging
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import PHASES, Arrivals, phase_of, to_table
from ml_prediction.explore.coverage import COLUMNS
from ml_prediction.util.times import NANOSECONDS, isoformat, to_ns

CROP_S: Final = 75.0
SEED: Final = 20231009
COMPONENTS: Final = "ENZ"
_START: Final = UTCDateTime(2023, 10, 9)
_HIGHEST_START: Final = 6000  # hundredths of a second: over all phases of any window grid
_LABELS: Final = "labels.csv"
_BROKEN: Final = (
    *(OSError, KeyError, ValueError, IndexError, TypeError),  # what is no npz file
    *(EOFError, zipfile.BadZipFile, zlib.error),  # empty, or cut short
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelledWindow:
    """Waveforms with known arrivals.

    Attributes
    ----------
    event
        Windows of one earthquake have the same.
    data
        Shape (component, sample); components E, N, Z.
    sampling_rate
        In Hz.
    samples
        Arrival of each phase that is labelled, in samples from the start.
    """

    event: str
    data: npt.NDArray[np.float64]
    sampling_rate: float
    samples: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Crop:
    """A cut of a labelled window, as a station of its own.

    Attributes
    ----------
    station
        Code.
    stream
        Its three components.
    event
        Of the window.
    samples
        Arrival of each labelled phase in samples from the start, wherever it lies.
    """

    station: str
    stream: Stream
    event: str
    samples: Mapping[str, float]

    @property
    def arrivals(self) -> dict[str, UTCDateTime]:
        """Time of each labelled phase that lies inside."""
        stats = self.stream[0].stats
        return {
            phase: stats.starttime + sample / stats.sampling_rate
            for phase, sample in self.samples.items()
            if 0 < sample < stats.npts
        }

    @property
    def span(self) -> tuple[int, int]:
        """First sample and end in nanoseconds."""
        stats = self.stream[0].stats
        start = to_ns(stats.starttime)
        return start, start + round(stats.npts / stats.sampling_rate * NANOSECONDS)


def read_labelled(folder: Path) -> list[LabelledWindow]:
    """Read a labelled set.

    Raises
    ------
    ConfigurationError
        If the folder holds none.
    DataError
        If a file is missing or wrong; the message names it.
    """
    if (folder / _LABELS).is_file():
        everything = list(_read_npz(folder))
    elif (folder / "metadata.csv").is_file() or (folder / "chunks").is_file():
        everything = list(_read_seisbench(folder))
    else:
        raise ConfigurationError(
            f"{folder} is no labelled set: it has neither labels.csv (with npz files) nor "
            "metadata.csv (with waveforms.hdf5)."
        )
    windows = [window for window in everything if window.samples]
    if not windows:
        raise DataError(f"{folder} has no window with a labelled P or S.")
    if len(windows) < len(everything):
        _log.warning(
            "%s: %d of %d windows have neither P nor S labelled, and are left out.",
            *(folder, len(everything) - len(windows), len(everything)),
        )
    outside = sum(
        not 0 <= sample < window.data.shape[1]
        for window in windows
        for sample in window.samples.values()
    )
    if outside:
        _log.warning(
            "%s: %d labels lie outside of their windows: known, but not to be found there.",
            *(folder, outside),
        )
    return windows


def crops(
    windows: Sequence[LabelledWindow], count: int, seconds: float = CROP_S, seed: int = SEED
) -> Iterator[Crop]:
    """Random cuts of every window, the same ones at every call.

    Labelled windows often have the arrival at one place; models know such places.

    Parameters
    ----------
    windows
        From `read_labelled`.
    count
        Cuts of each.
    seconds
        Length; shorter windows are taken whole.
    seed
        Of the generator.
    """
    generator = np.random.default_rng(seed)
    for number, window in enumerate(windows):
        rate = window.sampling_rate
        length = window.data.shape[1]
        wanted = min(round(seconds * rate), length)
        for cut in range(count):
            begin = int(generator.integers(0, length - wanted)) if length > wanted else 0
            start = _START + int(generator.integers(0, _HIGHEST_START)) / 100
            station = f"W{number:05d}-{cut}"
            stream = Stream(
                Trace(
                    window.data[row, begin : begin + wanted].copy(),
                    {
                        "network": "XX",
                        "station": station,
                        "channel": f"HH{letter}",
                        "sampling_rate": rate,
                        "starttime": start,
                    },
                )
                for row, letter in enumerate(COMPONENTS)
            )
            samples = {phase: sample - begin for phase, sample in window.samples.items()}
            yield Crop(station, stream, window.event, samples)


def reference_of(cut: Sequence[Crop], path: Path) -> Arrivals:
    """Arrivals of crops, complete for each phase that is labelled."""
    rows: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    for crop in cut:
        common = {"network": "XX", "station": crop.station, "event": crop.event}
        rows += [
            {**common, "channel": "HHZ", "phase": phase, "time_ns": to_ns(time)}
            for phase, time in crop.arrivals.items()
        ]
        start_ns, end_ns = crop.span
        spans += [
            {**common, "phase": phase, "start_ns": start_ns, "end_ns": end_ns}
            for phase in crop.samples
        ]
    table = pd.DataFrame(spans).reindex(columns=list(COLUMNS))
    return Arrivals(path, "labelled windows", to_table(rows), spans=table)


def labels_of(cut: Sequence[Crop]) -> pd.DataFrame:
    """Labels of crops in SeisBench's form, which `ml-prediction evaluate` reads.

    An arrival that was cut off lies outside of its trace: it is known, and not there.
    """
    rows = []
    for crop in cut:
        stats = crop.stream[0].stats
        row = {
            "trace_name": crop.station,
            "source_id": crop.event,
            "station_network_code": "XX",
            "station_code": crop.station,
            "trace_channel": "HH",
            "trace_start_time": isoformat(stats.starttime),
            "trace_sampling_rate_hz": stats.sampling_rate,
            "trace_npts": stats.npts,
        }
        for phase in PHASES:
            known = crop.samples.get(phase, np.nan)
            row[f"trace_{phase.lower()}_arrival_sample"] = known
        rows.append(row)
    return pd.DataFrame(rows)


def in_batches(cut: Sequence[Crop], size: int = 64) -> Iterator[Sequence[Crop]]:
    """Crops that are picked at once: enough to fill batches, few enough for memory."""
    for first in range(0, len(cut), size):
        yield cut[first : first + size]


def _read_npz(folder: Path) -> Iterator[LabelledWindow]:
    """Every window, labelled or not."""
    path = folder / _LABELS
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        samples = {p: _number(where, f"{p.lower()}_sample", row) for p in PHASES}
        rate = _number(where, "sampling_rate_hz", {"sampling_rate_hz": "100", **row})
        rate = 100.0 if math.isnan(rate) else rate
        if not rate > 0:
            raise DataError(f"{where}: sampling_rate_hz {rate:g}: give Hz, more than 0.")
        data = _read_array(folder / row["file"], where)
        known = {p: sample for p, sample in samples.items() if not math.isnan(sample)}
        for phase, sample in known.items():
            if not 0 <= sample < len(data):
                raise DataError(
                    f"{where}: {phase.lower()}_sample {sample:g} is outside of {row['file']}, "
                    f"whose samples are 0 to {len(data) - 1}; leave it empty where it is unknown."
                )
        yield LabelledWindow(row["event_group"], data.T, rate, known)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of labels.csv with the number of their last line."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: no text in UTF-8; save it as UTF-8.") from error
    rows = csv.reader(text.splitlines())
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = {"file", "p_sample", "s_sample", "event_group"} - set(header)
        if missing:
            raise DataError(
                f"{path}, line 1: no column {', '.join(sorted(missing))}; cells are separated by "
                "commas."
            )
        for cells in rows:
            if cells and len(cells) != len(header):
                raise DataError(
                    f"{path}, line {rows.line_num}: {len(cells)} cells, but the header has "
                    f"{len(header)}; complete the line, or remove it."
                )
            if cells:
                yield rows.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: no CSV ({error}).") from error


def _number(where: str, name: str, row: Mapping[str, str]) -> float:
    """Value of a cell; NaN where it is empty."""
    text = row[name].strip()
    try:
        value = float(text or "nan")
    except ValueError as error:
        raise DataError(
            f"{where}: {name} {text!r} is no number; leave it empty where it is unknown."
        ) from error
    if math.isinf(value):
        raise DataError(f"{where}: {name} {text!r} is no number of anything.")
    return value


def _read_array(path: Path, where: str) -> npt.NDArray[np.float64]:
    """``data`` of an npz file, shape (sample, 3)."""
    if not path.is_file():
        raise DataError(f"{where}: {path} can't be read (no such file).")
    try:
        with path.open("rb") as handle, np.load(handle) as file:
            data = file["data"].astype(np.float64)
    except _BROKEN as error:
        raise DataError(
            f"{where}: {path} can't be read ({error}); it must be an npz file with an array "
            "'data'. Bring it anew, or remove the line."
        ) from error
    if data.ndim != 2 or data.shape[1] != len(COMPONENTS):
        raise DataError(f"{where}: {path} has the shape {data.shape}, not (sample, 3).")
    found: npt.NDArray[np.float64] = data
    return found


def _read_seisbench(folder: Path) -> Iterator[LabelledWindow]:
    import seisbench.data

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that we don't need
            dataset = seisbench.data.WaveformDataset(folder, component_order=COMPONENTS)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder}: can't be read as SeisBench's dataset ({error}).") from error
    columns: dict[str, str] = {}
    for column in dataset.metadata.columns:
        label = re.fullmatch(r"trace_(.+)_arrival_sample", column)
        phase = label and (phase_of(label[1]) or phase_of(label[1].upper()))
        if phase:
            columns[column] = phase
    for index in range(len(dataset)):
        try:
            data, row = dataset.get_sample(index)
        except _BROKEN as error:
            raise DataError(
                f"{folder / 'metadata.csv'}, row {index + 1}: its waveforms can't be read "
                f"({error})."
            ) from error
        samples: dict[str, float] = {}
        for name, phase in columns.items():
            sample = float(row[name])
            if np.isfinite(sample):
                samples[phase] = min(sample, samples.get(phase, np.inf))
        event = str(row.get("source_id") or row.get("trace_name"))
        rate = float(row["trace_sampling_rate_hz"])
        yield LabelledWindow(event, np.asarray(data, dtype=np.float64), rate, samples)
