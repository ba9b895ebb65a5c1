"""What a record section shows: of each station a trace, its picks, and where it is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from obspy import Stream, Trace

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.bundle_waveforms import read_records
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

PREFERENCE: Final = ("HH", "BH", "EH", "SH", "EN", "HN")
"""Instruments of which the first is drawn: seismometers, then accelerometers."""
NEAR_S: Final = 2.0
"""A model's pick farther from the catalogue's is not compared with it."""
TOGETHER_S: Final = 60.0
"""Seconds after the last pick that are still shown."""
_APART: Final = 0.85
"""Least space of neighbours, in spaces of evenly spread ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One station of the section: seconds after the origin, and amplitude (-1 to 1)."""

    station: tuple[str, str]
    label: str
    distance_km: float
    seconds: Sequence[npt.NDArray[np.float64]]
    samples: Sequence[npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A pick: seconds after the origin, standard deviation in seconds (NaN if unknown)."""

    station: tuple[str, str]
    phase: str
    seconds: float
    sigma: float
    model: str  # empty: the catalogue's


def choose(bundle: EventBundle, components: str) -> list[tuple[Stream, tuple[str, str]]]:
    """Of each station the traces to be drawn, in order of distance."""
    distances = bundle.distances_km
    channels: dict[tuple[str, str], list[NSLC]] = {}
    for code in bundle.miniseed:
        nslc = NSLC(*code.split("."))
        if nslc.component in components:
            channels.setdefault((nslc.network, nslc.station), []).append(nslc)
    if not bundle.miniseed:
        raise ConfigurationError(f"{bundle.event_id} has no waveforms to draw: fetch some first.")
    if not channels:
        raise DataError(f"{bundle.event_id}: no waveforms of component {components}.")
    known = sorted((distances[s], s) for s in channels if not math.isnan(distances.get(s, np.nan)))
    if not known:
        raise DataError(
            f"{bundle.event_id}: of none of its stations the distance is known; fetch the stations "
            "(fetch_stations, with_stations)."
        )
    return [
        (
            read_records(
                bundle.miniseed[str(min(channels[s], key=lambda c: _rank(c, components)))]
            ),
            s,
        )
        for _, s in known
    ]


def _rank(code: NSLC, components: str) -> tuple[int, int, NSLC]:
    kind = code.channel[:2]
    place = PREFERENCE.index(kind) if kind in PREFERENCE else len(PREFERENCE)
    return place, components.index(code.component), code


def thinned(stations: Sequence[tuple[str, str]], count: int) -> set[tuple[str, str]]:
    """Stations in order of distance, every so manieth."""
    if len(stations) <= count:
        return set(stations)
    return {stations[round(i)] for i in np.linspace(0, len(stations) - 1, count)}


def marks_of(bundle: EventBundle) -> Iterator[Mark]:
    """All picks, the catalogue's and the models'."""
    origin_ns = bundle.origin.time_ns
    for row in bundle.arrivals.itertuples(index=False):
        values: Any = row
        yield Mark(
            (values.network, values.station),
            values.phase,
            (values.time_ns - origin_ns) / NANOSECONDS,
            values.uncertainty_s,
            "",
        )
    for pick in bundle.picks:
        yield Mark(
            (pick.network, pick.station),
            pick.phase,
            (to_ns(pick.time) - origin_ns) / NANOSECONDS,
            pick.sigma,
            pick.model_id,
        )


def span_of(
    bundle: EventBundle, marks: Sequence[Mark], traces: Mapping[tuple[str, str], Stream]
) -> tuple[float, float]:
    """Seconds after the origin from before the first pick to after the last."""
    origin = to_utc(bundle.origin.time_ns)
    starts = [trace.stats.starttime - origin for stream in traces.values() for trace in stream]
    ends = [trace.stats.endtime - origin for stream in traces.values() for trace in stream]
    seconds = [mark.seconds for mark in marks]
    first = min(seconds, default=0.0)
    begin = max(min(starts), min(0.0, first - 5.0) if first < 30 else first - 10.0)
    last = max(seconds, default=max(ends))
    return begin, min(max(ends), last + min(TOGETHER_S, 5.0 + 0.25 * (last - begin)))


def row_of(
    bundle: EventBundle,
    station: tuple[str, str],
    stream: Stream,
    band: tuple[float, float] | None,
    begin: float,
    end: float,
) -> Row | None:
    """What is drawn of a station; None if it has no samples then."""
    origin = to_utc(bundle.origin.time_ns)
    pieces = [piece for trace in stream if (piece := _filtered(trace, band)) is not None]
    cut = Stream(pieces).trim(origin + begin, origin + end)
    highest = max((float(np.abs(trace.data).max()) for trace in cut if len(trace)), default=0.0)
    if not cut or not highest > 0:
        return None
    code = NSLC(*stream[0].id.split("."))
    location = f".{code.location}" if code.location else ""
    return Row(
        station,
        f"{code.network}.{code.station}{location} {code.channel}",
        bundle.distances_km[station],
        [trace.times() + (trace.stats.starttime - origin) for trace in cut],
        [trace.data / highest for trace in cut],
    )


def _filtered(trace: Trace, band: tuple[float, float] | None) -> Trace | None:
    """A trace ready to be drawn; None if it is too short, or too coarse for the band."""
    nyquist = trace.stats.sampling_rate / 2
    if len(trace) < 10 or (band is not None and band[0] >= 0.95 * nyquist):
        return None
    made = trace.copy()
    made.data = made.data.astype(np.float64)
    made.detrend("demean")
    if band is not None:
        made.taper(None, max_length=2.0, side="left")
        made.filter("bandpass", freqmin=band[0], freqmax=min(band[1], 0.95 * nyquist), corners=4)
    return made


def pairs_of(marks: Sequence[Mark]) -> list[tuple[Mark, Mark]]:
    """Each model's pick with the nearest catalogue pick of its station and phase, if near."""
    reference: dict[tuple[tuple[str, str], str], list[Mark]] = {}
    for mark in marks:
        if not mark.model:
            reference.setdefault((mark.station, mark.phase), []).append(mark)
    pairs = []
    for mark in marks:
        there = reference.get((mark.station, mark.phase)) if mark.model else None
        if there:
            nearest = min(there, key=lambda other: abs(other.seconds - mark.seconds))
            if abs(nearest.seconds - mark.seconds) <= NEAR_S:
                pairs.append((mark, nearest))
    return pairs


def levels_of(distances: Sequence[float]) -> tuple[npt.NDArray[np.float64], float]:
    """Where traces are drawn, and the space that each has.

    At their distance, moved apart where they would lie on each other: the least sum of squares of
    moves such that neighbours keep a least space (isotonic regression, by pooling adjacent
    violators).
    """
    values = np.asarray(distances, dtype=float)
    count = len(values)
    if count < 2 or values[-1] == values[0]:
        return values + 10.0 * np.arange(count), 10.0
    space = float(values[-1] - values[0]) / (count - 1) * _APART
    steps = np.arange(count) * space
    blocks: list[tuple[float, int]] = []
    for value in values - steps:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (first, n), (second, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [((first * n + second * m) / (n + m), n + m)]
    level = np.concatenate([np.full(number, value) for value, number in blocks])
    return np.asarray(level + steps, dtype=float), space
