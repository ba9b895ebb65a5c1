"""What the notebooks share: their data, and how a setting is judged against another.

Data are looked for in this order: the folder ``../shared`` beside the repository; ``testdata`` in
it, where ``ml-prediction fetch notebooks/notebooks.toml`` put them; the network, by that command;
the earthquake that comes with ObsPy. The environment variable `DATA` leaves steps out, `SIZE` says
how much is done.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import obspy
import pandas as pd
from obspy import Inventory, Stream, UTCDateTime
from rich.console import Console

import ml_prediction as mlp
from ml_prediction.data import scenario
from ml_prediction.data.fetch_testdata import FetchOptions, fetch_scenario
from ml_prediction.explore import judging
from ml_prediction.explore.arrivals import Arrivals
from ml_prediction.explore.bootstrap import Interval, Resampling, ratio
from ml_prediction.explore.evaluation import TOLERANCE, Scope, prepare
from ml_prediction.explore.labelled import (
    COMPONENTS,
    Crop,
    LabelledWindow,
    crops,
    read_labelled,
    reference_of,
)
from ml_prediction.explore.readers import read_arrivals
from ml_prediction.explore.statistics import statistics, units_of
from ml_prediction.explore.tuning import picks_as_arrivals, processed_of
from ml_prediction.models import Model
from ml_prediction.models.ensemble import Ensemble

DATA: Final = "ML_PREDICTION_NOTEBOOK_DATA"
"""``auto`` (default), ``offline`` (no network), or ``packaged`` (ObsPy's earthquake alone)."""
SIZE: Final = "ML_PREDICTION_NOTEBOOK_SIZE"
"""``full`` (default), or ``small``: a part of the data, for the tests."""

ROOT: Final = Path(__file__).resolve().parent.parent
SHARED: Final = ROOT.parent / "shared"
FETCHED: Final = ROOT / "testdata"
SCENARIO: Final = ROOT / "notebooks" / "notebooks.toml"

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette."""

Change = Callable[[Stream], Stream]
Options = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """Waveforms of one earthquake.

    Attributes
    ----------
    title
        Which.
    stream
        In counts.
    inventory
        With responses.
    analyst
        The network's picks; None where there are none.
    """

    title: str
    stream: Stream
    inventory: Inventory
    analyst: Arrivals | None


@dataclass(frozen=True)
class Labelled:
    """Windows with known arrivals.

    Attributes
    ----------
    title
        Which, and who made the picks.
    windows
        As `ml_prediction.explore.labelled` reads them.
    channels
        Codes of each window's channels, e.g. ``HHE_HHN_HHZ``.
    """

    title: str
    windows: list[LabelledWindow]
    channels: list[str]

    def cuts(self, count: int) -> list[Crop]:
        """Random cuts, so many of each window, the same at every call; all that `SIZE` allows."""
        if not small():
            return list(crops(self.windows, count))
        return [cut for cut in crops(self.windows, 1) if self._number(cut) % 16 == 0]

    def channels_of(self, crop: Crop) -> str:
        """Channel codes of the window that a cut is of."""
        return self.channels[self._number(crop)]

    @staticmethod
    def _number(crop: Crop) -> int:
        return int(crop.station[1:].split("-")[0])


def small() -> bool:
    """Whether little is to be done."""
    sizes = {"full": False, "small": True}
    value = os.environ.get(SIZE, "full")
    if value not in sizes:
        raise mlp.ConfigurationError(f"{SIZE} is {value!r}; known are {', '.join(sizes)}.")
    return sizes[value]


# -- data -------------------------------------------------------------------------------------


def port_townsend() -> Record:
    """Six stations near the M4.3 of 2023-10-09, or as `SIZE` allows; else ObsPy's earthquake."""
    folder = SHARED / "data" / "Full_Array"
    if _allowed("shared") and folder.is_dir():
        stream = obspy.read(folder / "uw61965081_PortTownsend_M4.3.mseed")
        inventory = obspy.read_inventory(folder / "uw61965081_Example_Stations.xml")
        analyst = read_arrivals(folder / "uw61965081_Origin_Quake.xml")
        return Record(_M43, _part_of(_tidy(stream)), inventory, analyst)
    part = _fetched("uw61965081")
    if part is not None:
        analyst = read_arrivals(part / "events" / "uw61965081.xml")
        stream, inventory = _waveforms(part)
        return Record(_M43, _part_of(stream), inventory, analyst)
    return Record(_RJOB, obspy.read(), obspy.read_inventory(), None)


def six_component_sites() -> list[Record]:
    """Sites with a seismometer and an accelerometer; none without data of the notebooks."""
    array = port_townsend()
    found = []
    if array.analyst is not None:
        for station in _SITES[: 2 if small() else None]:
            stream = array.stream.select(station=station)
            found.append(Record(f"{station}, M4.3", stream, array.inventory, array.analyst))
    folder = SHARED / "data" / "Bremerton_6C"
    if _allowed("shared") and folder.is_dir():
        paths = sorted(folder.rglob("*.xml"))
        for path in paths:
            stream = obspy.read(path.parent / f"{path.stem}.*mseed")
            found.append(Record(path.stem, _tidy(stream), obspy.read_inventory(path), None))
    else:
        part = _fetched("uw61251926")
        if part is not None:
            found.append(Record("UW.SP2", *_waveforms(part), None))
    return found


def gappy_record() -> Record | None:
    """Twenty minutes of IV.BDI with a gap of 11 to 13 s in each component; None without it."""
    path = SHARED / "data" / "Gappy_Data" / "IV.BDI_example.mseed"
    title = "IV.BDI, broadband at 20 Hz, 2014-04-04: one gap in each component"
    if _allowed("shared") and path.is_file():
        stream = obspy.read(path, starttime=_BDI[0], endtime=_BDI[1])
        return Record(title, stream, Inventory(), None)
    part = _fetched("iv_bdi")
    if part is None:
        return None
    files = sorted(path for path in (part / "sds").rglob("*") if path.is_file())
    stream = Stream(trace for path in files for trace in obspy.read(path))
    return Record(title, stream, obspy.read_inventory(part / "stations.xml"), None)


def labelled_windows() -> Labelled:
    """Windows with an analyst's picks, else those of the records that are there."""
    folder = SHARED / "data" / "labelled_windows"
    if _allowed("shared") and folder.is_dir():
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as handle:
            channels = [row["channels"] for row in csv.DictReader(handle)]
        title = "93 earthquakes at stations of Northern California, the network's analysts' picks"
        return Labelled(title, read_labelled(folder), channels)
    record = port_townsend()
    if record.analyst is not None:
        windows, channels = _windows_of(record, record.analyst)
        return Labelled(f"{record.title}, the network's analysts' picks", windows, channels)
    picks = mlp.pick(record.stream, mlp.load_model()).picks
    windows, channels = _windows_of(record, picks_as_arrivals(picks, Path("default")))
    title = f"{record.title}. No analyst's picks: the reference are our own by default settings"
    return Labelled(title, windows, channels)


@cache
def phasenet() -> Model | None:
    """PhaseNet with its original weights, which are not in the package; None without them."""
    path = SHARED / "models" / "phasenet" / "original"
    if _allowed("shared") and path.with_suffix(".pt.v1").is_file():
        return mlp.load_model("PhaseNet", path)
    if not _allowed("network"):
        return None
    try:
        return mlp.load_model("PhaseNet")  # SeisBench's cache, or its server
    except mlp.ConfigurationError:
        return None


def fetch_all(out: Path, client: str | None = None) -> int:
    """Fetch the notebooks' scenario; the status of ``ml-prediction fetch``."""
    console = Console()
    options = FetchOptions(out=out, client=client, timeout=30, attempts=2)
    return fetch_scenario(scenario.read(SCENARIO), options, out=console, err=console)


_SITES: Final = ("NATEM", "HANS", "BUCK")
"""Sites of the array with a seismometer and an accelerometer."""
_BDI: Final = (UTCDateTime(2014, 4, 4, 2, 5), UTCDateTime(2014, 4, 4, 2, 25))
_M43: Final = "M4.3 near Port Townsend, 2023-10-09 02:21:08 UTC (uw61965081), six stations"
_RJOB: Final = "ObsPy's example: local earthquake at BW.RJOB, 2009-08-24 00:20 UTC, 30 s"


def _allowed(source: str) -> bool:
    allowed = {"auto": {"shared", "network"}, "offline": {"shared"}, "packaged": set[str]()}
    value = os.environ.get(DATA, "auto")
    if value not in allowed:
        raise mlp.ConfigurationError(f"{DATA} is {value!r}; known are {', '.join(allowed)}.")
    return source in allowed[value]


@cache
def _fetched(part: str) -> Path | None:
    """Folder of a part of the scenario; fetched if that is allowed."""
    folder = FETCHED / scenario.read(SCENARIO).name / part
    if not _allowed("shared"):
        return None
    if not _is_there(folder) and _allowed("network"):
        fetch_all(FETCHED)
    return folder if _is_there(folder) else None


def _is_there(folder: Path) -> bool:
    return (folder / "sds").is_dir() and (folder / "stations.xml").is_file()


def _waveforms(part: Path) -> tuple[Stream, Inventory]:
    files = sorted(path for path in (part / "sds").rglob("*") if path.is_file())
    stream = Stream(trace for path in files for trace in obspy.read(path))
    return _tidy(stream), obspy.read_inventory(part / "stations.xml")


def _tidy(stream: Stream) -> Stream:
    for trace in stream:
        trace.stats.location = trace.stats.location.replace("--", "")
    return stream.merge().sort()


def _part_of(array: Stream) -> Stream:
    """The whole array, or where little is to be done two stations of it."""
    if not small():
        return array
    return Stream(trace for trace in array if trace.stats.station in _SITES[:2])


def _windows_of(record: Record, picks: Arrivals) -> tuple[list[LabelledWindow], list[str]]:
    """A window of each three-component instrument that has a P pick, with the S if there is one."""
    windows, channels = [], []
    instruments = sorted({(t.stats.station, t.stats.channel[:2]) for t in record.stream})
    for station, code in instruments:
        traces = [record.stream.select(station=station, channel=code + c) for c in COMPONENTS]
        if any(len(found) != 1 for found in traces):
            continue
        stream = Stream(found[0] for found in traces)
        start = max(trace.stats.starttime for trace in stream)
        stream.trim(start, min(trace.stats.endtime for trace in stream))
        rate = stream[0].stats.sampling_rate
        table = picks.table[picks.table["station"] == station].drop_duplicates("phase")
        seconds = (table["time_ns"] - stream[0].stats.starttime.ns) / 1e9
        samples = dict(zip(table["phase"], seconds * rate, strict=True))
        if "P" in samples:
            data = np.stack([trace.data.astype(np.float64) for trace in stream])
            windows.append(LabelledWindow(f"{station} {code}", data, rate, samples))
            channels.append("_".join(code + component for component in COMPONENTS))
    return windows, channels


# -- judging ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """Picks of cuts against the known arrivals.

    Attributes
    ----------
    outcomes
        As in `ml_prediction.explore.judging.Judgement`.
    overall
        By phase that is labelled: counts, recall, precision, F1, median and spread of residuals.
    """

    outcomes: pd.DataFrame
    overall: dict[str, dict[str, Any]]


def judge(
    model: Model | Ensemble, cuts: Sequence[Crop], change: Change | None = None, **options: Any
) -> Judged:
    """Pick cuts, each as a station of its own, and compare with the known arrivals.

    Parameters
    ----------
    model
        Ready to run.
    cuts
        From `Labelled.cuts`.
    change
        What is done to each stream before, for instance a filter; it gets a copy.
    **options
        Of the pipeline.
    """
    return judge_picks(pick_cuts(model, cuts, change, **options), cuts)


def judge_picks(picks: Arrivals, cuts: Sequence[Crop]) -> Judged:
    """Judge picks of cuts as `ml-prediction evaluate` does, without intervals and sweeps."""
    ready = prepare(picks, reference_of(cuts, _HERE), TOLERANCE, Scope(), processed_of(cuts))
    return judged_outcomes(
        judging.judge(ready.picks, ready.reference, ready.coverage, TOLERANCE).outcomes
    )


def judged_outcomes(outcomes: pd.DataFrame) -> Judged:
    """Summarise outcomes, which may be those of several runs in one table."""
    _, units, count = units_of(outcomes)
    table = statistics(outcomes, Resampling(count, 1, 0), units, "station")
    rows = table[table["kind"] == "all"].to_dict("records")
    return Judged(outcomes, {row["phase"]: {str(k): v for k, v in row.items()} for row in rows})


def pick_cuts(
    model: Model | Ensemble, cuts: Sequence[Crop], change: Change | None = None, **options: Any
) -> Arrivals:
    """Pick cuts; as `judge`."""
    with quiet():
        picks = mlp.pick(together(cuts, change), model, **options).picks
    return picks_as_arrivals(picks, _HERE)


def together(cuts: Sequence[Crop], change: Change | None = None) -> Stream:
    """All cuts in one stream, without the constant horizontals of vertical-only stations."""
    stream = Stream()
    for crop in cuts:
        traces = Stream(trace for trace in crop.stream if np.ptp(trace.data))
        stream += traces if change is None else change(traces.copy())
    return stream


@contextmanager
def quiet() -> Iterator[None]:
    """Without the pipeline's sentences on channels that are constant for a while."""
    logger = logging.getLogger("ml_prediction")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


REPLICATES: Final = 1000
_HERE: Final = Path("notebook")
_KINDS: Final = ("found", "missed", "false")


def scores(judged: dict[str, Judged], base: str) -> pd.DataFrame:
    """One row for each setting: recall, precision, residuals; F1 and its gain over the base's.

    F1 is the mean over the phases that are labelled. Residuals in seconds, pick minus analyst.
    """
    rows = {}
    for name, one in judged.items():
        row: dict[str, Any] = {}
        for phase, overall in one.overall.items():
            for column in ("recall", "precision", "median_s", "spread_s"):
                row[f"{phase} {column}"] = overall[column]
        row["F1"] = float(np.mean([overall["f1"] for overall in one.overall.values()]))
        if name != base:
            gain = f1_gain(judged[base], one)
            row |= {"gain": gain.value, "gain low": gain.low, "gain high": gain.high}
        rows[name] = row
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def f1_gain(base: Judged, other: Judged, seed: int = 0) -> Interval:
    """Difference of mean F1 with its 95 % interval: bootstrap over events, paired."""
    events = sorted({*base.outcomes["event"], *other.outcomes["event"]})
    resampling = Resampling(len(events), REPLICATES, seed)
    value, drawn = 0.0, np.zeros(REPLICATES)
    for sign, one in ((1, other), (-1, base)):
        for phase in base.overall:
            counts = _counts(one.outcomes, phase, events)
            value += sign * float(_f1(counts.sum(axis=0))) / len(base.overall)
            drawn += sign * _f1(resampling.weights @ counts) / len(base.overall)
    return resampling.interval(value, drawn, len(events))


def better(table: pd.DataFrame, base: str) -> list[str]:
    """Settings whose F1 is above the base's by more than chance."""
    if "gain low" not in table:
        return []
    return [str(name) for name in table.index[table["gain low"] > 1e-9] if name != base]


def residuals(judged: Judged, phase: str) -> pd.Series:
    """Pick minus analyst in seconds of what was found, by (event, station)."""
    found = judged.outcomes
    found = found[(found["kind"] == "found") & (found["phase"] == phase)]
    return found.set_index(["event", "station"])["residual_s"]


def _counts(outcomes: pd.DataFrame, phase: str, events: list[str]) -> npt.NDArray[np.int64]:
    """Found, missed and false, shape (event, 3)."""
    rows = outcomes[outcomes["phase"] == phase]
    table = pd.crosstab(rows["event"], rows["kind"]).reindex(index=events, columns=_KINDS)
    return table.fillna(0).to_numpy(np.int64)


def _f1(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    found, missed, false = counts[..., 0], counts[..., 1], counts[..., 2]
    return np.nan_to_num(ratio(2 * found, 2 * found + missed + false))
