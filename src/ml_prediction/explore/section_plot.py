"""Record section: waveforms by epicentral distance, with the analysts' and the models' picks.

One instrument of a station is drawn, the best that there is; its site's picks are all shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.events import place
from ml_prediction.explore.section_rows import (
    NEAR_S,
    Mark,
    Row,
    choose,
    levels_of,
    marks_of,
    pairs_of,
    row_of,
    span_of,
    thinned,
)
from ml_prediction.util.times import to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

COLOURS: Final = {"P": "#0072B2", "S": "#D55E00"}
"""Okabe and Ito's palette: told apart by the colour-blind, too."""
SHAPES: Final = ("o", "D", "s", "^", "v", "P", "X")
"""Of the models, in order of their ids."""

_INK: Final = "#333333"
_FAINT: Final = "#8a8a8a"
_WAVE: Final = "#6f7479"
_DPI: Final = 200
_ROW_IN: Final = 0.42
_HEIGHT_IN: Final = (4.8, 11.0)
_WIDTH_IN: Final = 9.0
_REACH: Final = 0.6
"""Height of a trace's largest amplitude, in spaces between stations."""
_TWO_LINES: Final = 25
_LEGEND_COLUMNS: Final = 6
_CURVES: Final = {"P": ("p", "P", "Pn"), "S": ("s", "S", "Sn")}
_MODEL: Final = "iasp91"


def check_picture(path: Path) -> None:
    """Whether a picture can have this name; without an ending it is PNG.

    Raises
    ------
    ConfigurationError
        If it is a folder, or of a kind that nobody can draw.
    """
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name a file, e.g. section.png.")
    if path.suffix and path.suffix[1:].lower() not in kinds:
        raise ConfigurationError(
            f"{path}: a picture can't be {path.suffix}: name it .png, .pdf or .svg."
        )


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
    chosen = choose(bundle, components)
    marks = list(marks_of(bundle))
    shown = thinned([station for _, station in chosen], max_stations)
    traces = {s: trace for trace, s in chosen if s in shown}
    begin, end = span or span_of(bundle, [m for m in marks if m.station in traces], traces)
    rows = [
        row
        for station, stream in traces.items()
        if (row := row_of(bundle, station, stream, band, begin, end)) is not None
    ]
    if not rows:
        raise DataError(f"{bundle.event_id}: no waveforms from {begin:.0f} to {end:.0f} s.")
    rows.sort(key=lambda row: row.distance_km)
    levels, space = levels_of([row.distance_km for row in rows])
    by_station = {row.station: level for row, level in zip(rows, levels, strict=True)}
    marks = [m for m in marks if m.station in by_station and begin <= m.seconds <= end]
    models = sorted({mark.model for mark in marks if mark.model})
    pairs = pairs_of(marks)
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
