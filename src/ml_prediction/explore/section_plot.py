"""Record section: waveforms by epicentral distance, with the analysts' and the models' picks.

One instrument of a station is drawn, the best that there is; its site's picks are all shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from obspy import Stream, Trace

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.events import place
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

COLOURS: Final = {"P": "#0072B2", "S": "#D55E00"}
"""Okabe and Ito's palette: told apart by the colour-blind, too."""
SHAPES: Final = ("o", "D", "s", "^", "v", "P", "X")
"""Of the models, in order of their ids."""
PREFERENCE: Final = ("HH", "BH", "EH", "SH", "EN", "HN")
"""Instruments of which the first is drawn: seismometers, then accelerometers."""
NEAR_S: Final = 2.0
"""A model's pick farther from the catalogue's is not compared with it."""
TOGETHER_S: Final = 60.0
"""Seconds after the last pick that are still shown."""

_INK: Final = "#333333"
_FAINT: Final = "#8a8a8a"
_WAVE: Final = "#6f7479"
_DPI: Final = 200
_ROW_IN: Final = 0.42
_HEIGHT_IN: Final = (4.8, 11.0)
_WIDTH_IN: Final = 9.0
_REACH: Final = 0.6
"""Height of a trace's largest amplitude, in spaces between stations."""
_APART: Final = 0.85
"""Least space of neighbours, in spaces of evenly spread ones."""
_TWO_LINES: Final = 25
_LEGEND_COLUMNS: Final = 6
_CURVES: Final = {"P": ("p", "P", "Pn"), "S": ("s", "S", "Sn")}
_MODEL: Final = "iasp91"


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


def draw_section(
    bundle: EventBundle,
    *,
    band: tuple[float, float] | None = (1.0, 10.0),
    components: str = "Z",
    span: tuple[float, float] | None = None,
    curves: bool = True,
    max_stations: int = 60,
) -> Figure:
    """Draw a record section.

    Parameters
    ----------
    bundle
        With waveforms, and station metadata or catalogue picks, which say how far they are.
    band
        Corners of the band-pass in Hz (four poles, causal: onsets don't move forward); None: raw,
        without mean.
    components
        Letters of components, the first that a station has is drawn.
    span
        Seconds after the origin; None: from 5 s before the first pick to after the last.
    curves
        Whether to draw travel times of P and S in iasp91.
    max_stations
        So many at most, spread evenly over the distance.

    Raises
    ------
    ConfigurationError
        If there are no waveforms, or the band is none.
    DataError
        If of no station with waveforms the distance is known.
    """
    if band is not None and not 0 < band[0] < band[1]:
        raise ConfigurationError(f"Band {band[0]:g} to {band[1]:g} Hz: give 0 < low < high.")
    chosen = _chosen(bundle, components)
    marks = list(_marks(bundle))
    shown = _thinned([station for _, station in chosen], max_stations)
    traces = {s: trace for trace, s in chosen if s in shown}
    begin, end = span or _span(bundle, [m for m in marks if m.station in traces], traces)
    rows = [
        row
        for station, stream in traces.items()
        if (row := _row(bundle, station, stream, band, begin, end)) is not None
    ]
    if not rows:
        raise DataError(f"{bundle.event_id}: no waveforms from {begin:.0f} to {end:.0f} s.")
    rows.sort(key=lambda row: row.distance_km)
    levels, space = _levels([row.distance_km for row in rows])
    by_station = {row.station: level for row, level in zip(rows, levels, strict=True)}
    marks = [m for m in marks if m.station in by_station and begin <= m.seconds <= end]
    models = sorted({mark.model for mark in marks if mark.model})
    pairs = _pairs(marks)
    height = float(np.clip(1.9 + _ROW_IN * len(rows), *_HEIGHT_IN))
    figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    axes, beside = (
        figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        if pairs
        else (figure.subplots(), None)
    )
    _draw_waves(axes, rows, levels, space)
    for mark in marks:
        _draw_mark(axes, mark, by_station[mark.station], space, models)
    if curves:
        _draw_curves(axes, bundle, [row.distance_km for row in rows], levels)
    _dress(axes, bundle, rows, levels, space, (begin, end), band)
    if beside is not None:
        _draw_residuals(beside, pairs, by_station, space, models)
    _legend(axes, models, any(not mark.model for mark in marks), curves)
    return figure


def _chosen(bundle: EventBundle, components: str) -> list[tuple[Stream, tuple[str, str]]]:
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
    from ml_prediction.explore.bundle_waveforms import read_records

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


def _thinned(stations: Sequence[tuple[str, str]], count: int) -> set[tuple[str, str]]:
    """Stations in order of distance, every so manieth."""
    if len(stations) <= count:
        return set(stations)
    return {stations[round(i)] for i in np.linspace(0, len(stations) - 1, count)}


def _marks(bundle: EventBundle) -> Iterator[Mark]:
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


def _span(
    bundle: EventBundle, marks: Sequence[Mark], traces: Mapping[tuple[str, str], Stream]
) -> tuple[float, float]:
    origin = to_utc(bundle.origin.time_ns)
    starts = [trace.stats.starttime - origin for stream in traces.values() for trace in stream]
    ends = [trace.stats.endtime - origin for stream in traces.values() for trace in stream]
    seconds = [mark.seconds for mark in marks]
    first = min(seconds, default=0.0)
    begin = max(min(starts), min(0.0, first - 5.0) if first < 30 else first - 10.0)
    last = max(seconds, default=max(ends))
    return begin, min(max(ends), last + min(TOGETHER_S, 5.0 + 0.25 * (last - begin)))


def _row(
    bundle: EventBundle,
    station: tuple[str, str],
    stream: Stream,
    band: tuple[float, float] | None,
    begin: float,
    end: float,
) -> Row | None:
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


def _pairs(marks: Sequence[Mark]) -> list[tuple[Mark, Mark]]:
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


def _levels(distances: Sequence[float]) -> tuple[npt.NDArray[np.float64], float]:
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


def _draw_waves(
    axes: Axes, rows: Sequence[Row], levels: npt.NDArray[np.float64], space: float
) -> None:
    for row, level in zip(rows, levels, strict=True):
        for seconds, samples in zip(row.seconds, row.samples, strict=True):
            axes.plot(
                seconds,
                level + _REACH * space * samples,
                color=_WAVE,
                linewidth=0.45,
                zorder=2,
                rasterized=True,
            )


def _draw_mark(axes: Axes, mark: Mark, level: float, space: float, models: Sequence[str]) -> None:
    colour, half = COLOURS[mark.phase], 0.46 * space
    if not mark.model:
        if mark.sigma == mark.sigma:
            axes.fill_betweenx(
                [level - half, level + half],
                mark.seconds - mark.sigma,
                mark.seconds + mark.sigma,
                color=colour,
                alpha=0.25,
                linewidth=0,
                zorder=3,
            )
        axes.plot([mark.seconds] * 2, [level - half, level + half], color=colour, lw=1.4, zorder=4)
        return
    # Each model has a height of its own above the trace, so that they don't cover each other.
    height = level + (0.26 + 0.17 * models.index(mark.model)) * space
    _dot(axes, mark, mark.seconds, height, models)


def _dot(axes: Axes, mark: Mark, seconds: float, height: float, models: Sequence[str]) -> None:
    axes.errorbar(
        seconds,
        height,
        xerr=mark.sigma if mark.sigma == mark.sigma else None,
        fmt=SHAPES[models.index(mark.model) % len(SHAPES)],
        markersize=4.2,
        markerfacecolor="white",
        markeredgecolor=COLOURS[mark.phase],
        ecolor=COLOURS[mark.phase],
        elinewidth=1.2,
        capsize=2,
        zorder=5,
    )


def _draw_residuals(
    axes: Axes,
    pairs: Sequence[tuple[Mark, Mark]],
    levels: Mapping[tuple[str, str], float],
    space: float,
    models: Sequence[str],
) -> None:
    """The models' picks minus the catalogue's, with sigma, beside the traces."""
    farthest = max(abs(mark.seconds - other.seconds) + _zero(mark.sigma) for mark, other in pairs)
    reach = min(NEAR_S, max(0.3, 1.15 * farthest))
    for mark, other in pairs:
        level, low = levels[mark.station], mark.phase == "S"
        # P above the line, S below it.
        height = level + (-1 if low else 1) * (0.13 + 0.16 * models.index(mark.model)) * space
        _dot(axes, mark, mark.seconds - other.seconds, height, models)
    widest: dict[tuple[float, str], float] = {}
    for _, other in pairs:
        key = levels[other.station], other.phase
        widest[key] = max(widest.get(key, 0.0), _zero(other.sigma))
    for (level, phase), sigma in widest.items():
        edge = level + (-0.46 if phase == "S" else 0.46) * space
        axes.fill_betweenx(
            sorted([level, edge]),
            -sigma,
            sigma,
            color=COLOURS[phase],
            alpha=0.25,
            lw=0,
        )
    axes.axvline(0, color=_FAINT, linewidth=0.8, zorder=1)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("minus catalogue (s)", color=_INK)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for level in levels.values():
        axes.axhline(level, color="#eeeeee", linewidth=0.6, zorder=0)


def _zero(value: float) -> float:
    return value if value == value else 0.0


def _draw_curves(
    axes: Axes, bundle: EventBundle, distances: Sequence[float], levels: npt.NDArray[np.float64]
) -> None:
    """First P and S of iasp91, drawn where the traces are."""
    from obspy.geodetics import kilometers2degrees
    from obspy.taup import TauPyModel

    depth = 0.0 if math.isnan(bundle.depth_km) else max(bundle.depth_km, 0.0)
    model = TauPyModel(_MODEL)
    grid = np.unique([*np.linspace(distances[0], distances[-1], 25), *distances])
    heights = np.interp(grid, distances, levels)
    for phase, names in _CURVES.items():
        times = [
            min((a.time for a in model.get_travel_times(depth, float(deg), names)), default=np.nan)
            for deg in (kilometers2degrees(km) for km in grid)
        ]
        axes.plot(
            times, heights, color=COLOURS[phase], lw=0.9, ls=(0, (4, 3)), alpha=0.55, zorder=1
        )


def _dress(
    axes: Axes,
    bundle: EventBundle,
    rows: Sequence[Row],
    levels: npt.NDArray[np.float64],
    space: float,
    span: tuple[float, float],
    band: tuple[float, float] | None,
) -> None:
    origin = bundle.origin
    begin, end = span
    axes.set_xlim(begin, end)
    axes.set_ylim(levels[0] - 0.8 * space, levels[-1] + 0.9 * space)
    axes.set_xlabel("time after origin (s)", color=_INK)
    between = "\n" if len(rows) <= _TWO_LINES else "  "
    axes.set_yticks(levels, [f"{row.label}{between}{row.distance_km:.0f} km" for row in rows])
    axes.yaxis.set_tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    if begin < 0 < end:
        axes.axvline(0, color=_FAINT, linewidth=0.8, linestyle=":", zorder=1)
    time = to_utc(origin.time_ns).strftime("%Y-%m-%d %H:%M:%S UTC")
    magnitude = "" if math.isnan(origin.magnitude) else f"M{origin.magnitude:.1f}, "
    depth = "" if math.isnan(bundle.depth_km) else f", {bundle.depth_km:.0f} km deep"
    drawn = "unfiltered" if band is None else f"{band[0]:g} to {band[1]:g} Hz"
    axes.set_title(
        f"{bundle.event_id}: {magnitude}{time}", loc="left", fontsize=12, color=_INK, pad=16
    )
    axes.annotate(
        f"{place(origin)}{depth}; {len(rows)} stations, {drawn}, each to its own largest amplitude",
        (0, 1),
        xytext=(0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color=_FAINT,
    )


def _legend(axes: Axes, models: Sequence[str], catalogue: bool, curves: bool) -> None:
    handles: list[Any] = [Line2D([], [], color=colour, lw=2.5) for colour in COLOURS.values()]
    labels = list(COLOURS)
    if catalogue:
        handles.append(
            (
                Patch(color=_INK, alpha=0.25, lw=0),
                Line2D([0], [0], color=_INK, lw=1.4, marker="|", markersize=9, ls=""),
            )
        )
        labels.append("catalogue, uncertainty")
    for number, model in enumerate(models):
        handles.append(
            axes.errorbar(
                [],
                [],
                xerr=[],
                fmt=SHAPES[number % len(SHAPES)],
                markersize=4.2,
                markerfacecolor="white",
                markeredgecolor=_INK,
                ecolor=_INK,
                capsize=2,
            )
        )
        labels.append(f"{model}, sigma")
    if curves:
        handles.append(Line2D([], [], color=_FAINT, lw=0.9, ls=(0, (4, 3))))
        labels.append(_MODEL)
    axes.figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(handles), _LEGEND_COLUMNS),
        frameon=False,
        fontsize=8,
    )
