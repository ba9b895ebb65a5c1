"""Pictures of a run's report, as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, Colormap, LogNorm, Normalize
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator

from ml_prediction.drivers.archive.overview import FEWEST_FOR_RATIO, Overview
from ml_prediction.sinks.store.bins import PROBABILITY_EDGES, SIGMA_EDGES_S

COLOURS: Final = {"P": "#0072B2", "S": "#D55E00"}  # Okabe and Ito's palette
OTHER: Final = "#999999"
FAILED: Final = "#D55E00"
NONE: Final = "#F0F0F0"
ZERO: Final = "#CC79A7"
COLOUR_MAP: Final = "viridis"

ROWS_A_PAGE: Final = 60
"""At most; pages are of one length, about."""

MOST_DAYS: Final = 62
"""Columns that are days; with more days they are months."""
FEWEST_COLUMNS: Final = 14
"""That there is room for, so that those of a short run are not as wide as the page."""

_DPI: Final = 110
_WIDTH_IN: Final = 11.0


@dataclass(frozen=True, slots=True)
class Columns:
    """Days, or months of days, that are columns of a calendar.

    Attributes
    ----------
    labels
        Of all columns.
    starts
        Index of each column's first day.
    monthly
        Whether they are months.
    """

    labels: tuple[str, ...]
    starts: tuple[int, ...]
    monthly: bool

    def mean(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Mean of each column's known days; NaN where none is known."""
        known = ~np.isnan(values)
        total = np.add.reduceat(np.where(known, values, 0.0).astype(float), self.starts, axis=1)
        count = np.add.reduceat(known.astype(float), self.starts, axis=1)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def any(self, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether it is so on any of a column's days."""
        return np.add.reduceat(values.astype(int), self.starts, axis=1) > 0


def columns_of(days: Sequence[date]) -> Columns:
    """Columns of a calendar: days, or months where there are too many."""
    if len(days) <= MOST_DAYS:
        return Columns(tuple(map(str, days)), tuple(range(len(days))), False)
    starts = {f"{day:%Y-%m}": n for n, day in reversed(list(enumerate(days)))}
    labels = sorted(starts)
    return Columns(tuple(labels), tuple(starts[label] for label in labels), True)


def pick_calendar(found: Overview) -> Iterator[tuple[str, bytes]]:
    """Pages of picks a day by station and day (or month): what the page shows, and PNG."""
    columns = columns_of(found.days)
    values, failed = columns.mean(found.picks), columns.any(found.failed)
    known = values[values > 0]
    # A few stations and days are far out, and would take the colours from the others.
    least, most = np.percentile(known, (1, 99.5)) if len(known) else (1.0, 1.0)
    norm = LogNorm(least, max(most, 2 * least))
    values = np.where(values > 0, np.maximum(values, least), values)
    label = "picks a day" + (" (mean of the month's done days)" if columns.monthly else "")
    yield from _calendar(found.names, columns, values, failed, norm, label)


def cover_calendar(found: Overview) -> Iterator[tuple[str, bytes]]:
    """The same of the share of the day that data cover."""
    columns = columns_of(found.days)
    values, failed = columns.mean(found.cover) * 100, columns.any(found.failed)
    norm = BoundaryNorm([1e-6, 25, 50, 75, 90, 99, 99.9, 100.001], 256)
    label = "% of the day covered by data" + (" (mean of the month)" if columns.monthly else "")
    yield from _calendar(found.names, columns, values, failed, norm, label)


def network_days(found: Overview) -> bytes:
    """Picks of the whole network, and stations with data, by day."""
    figure = _figure(3.4)
    above, below = figure.subplots(2, 1, sharex=True)
    days: Any = np.asarray(found.days, dtype="datetime64[D]")
    width: Any = {"width": 0.9 if len(days) <= MOST_DAYS else 1.0, "align": "edge"}
    above.bar(days, np.nansum(found.picks, axis=0), color=COLOURS["P"], **width)
    above.set(ylabel="picks", title="All stations, by day (UTC)")
    done = (~np.isnan(found.picks)).sum(axis=0)
    below.bar(days, done, color="#009E73", label="done", **width)
    if found.failed.any():
        below.bar(
            days, found.failed.sum(axis=0), bottom=done, color=FAILED, label="failed", **width
        )
        below.legend(ncols=2, loc="lower left", framealpha=0.9)
    below.set(ylabel="stations", xlim=(days[0], days[0] + max(len(days), FEWEST_COLUMNS)))
    formatter: Any = ConciseDateFormatter  # not typed
    below.xaxis.set_major_formatter(formatter(below.xaxis.get_major_locator()))
    return _png(figure)


def quality(found: Overview) -> bytes:
    """Histograms of probability, sigma and quality by phase, and of the stations' S/P ratios."""
    figure = _figure(6.6)
    probability, sigma, classes, ratios = figure.subplots(2, 2).ravel()
    kinds = found.counts.by_kind
    phases = sorted({kind[0] for kind in kinds})
    for number, phase in enumerate(phases):
        style = {"color": COLOURS.get(phase, OTHER), "label": phase}
        of_phase = {kind[1:]: count for kind, count in kinds.items() if kind[0] == phase}
        heights = _summed(of_phase, 1, len(PROBABILITY_EDGES) + 1)
        probability.stairs(heights, (0.0, *PROBABILITY_EDGES, 1.0), linewidth=1.6, **style)
        heights = _summed(of_phase, 2, len(SIGMA_EDGES_S) + 1)
        # The bins are drawn as if they were of one width.
        sigma.stairs(heights, np.arange(len(heights) + 1), linewidth=1.6, **style)
        heights = _summed(of_phase, 0, 5)
        width = 0.8 / len(phases)
        classes.bar(np.arange(5) + (number + 0.5) * width - 0.4, heights, width, **style)
    probability.set(xlabel="probability", ylabel="picks", title="Probability", xlim=(0, 1))
    sigma.set_xticks(
        np.arange(len(SIGMA_EDGES_S)) + 1, [f"{edge:g}" for edge in SIGMA_EDGES_S], fontsize=8
    )
    sigma.set(xlabel="sigma (s), uneven bins", ylabel="picks", title="Sigma")
    classes.set(xlabel="quality (0 best)", ylabel="picks", title="Quality class")
    _ratios(ratios, found)
    for axes in (probability, sigma, classes):
        if phases:
            axes.legend(frameon=False)
    return _png(figure)


def ratios_of(found: Overview) -> list[float]:
    """S picks for each P pick, of the stations with enough of both together."""
    ratios = []
    for code in found.stations:
        p, s = (found.counts.by_station.get((*code, phase), 0) for phase in ("P", "S"))
        if p + s >= FEWEST_FOR_RATIO:
            ratios.append(s / p if p else float("inf"))
    return ratios


def _ratios(axes: Axes, found: Overview) -> None:
    edges = np.geomspace(0.1, 10, 25)
    axes.hist(np.clip(ratios_of(found), 0.1, 10), bins=edges.tolist(), color="#009E73")
    axes.axvline(1, color=OTHER, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["≤0.1", "0.2", "0.5", "1", "2", "5", "≥10"])
    axes.set(
        xlabel=f"S picks for each P pick (stations of {FEWEST_FOR_RATIO} picks or more)",
        ylabel="stations",
        title="S/P ratio by station",
    )


def _calendar(
    names: Sequence[str],
    columns: Columns,
    values: npt.NDArray[np.float64],
    failed: npt.NDArray[np.bool_],
    norm: Normalize,
    label: str,
) -> Iterator[tuple[str, bytes]]:
    cmap = matplotlib.colormaps[COLOUR_MAP].with_extremes(under=ZERO, bad=NONE)
    pages = -(-len(names) // ROWS_A_PAGE)
    for number in range(pages):
        rows = slice(number * len(names) // pages, (number + 1) * len(names) // pages)
        shown = names[rows]
        description = f"{label}: {shown[0]} to {shown[-1]}"
        yield (
            description,
            _calendar_page(shown, columns, values[rows], failed[rows], _Colours(cmap, norm, label)),
        )


@dataclass(frozen=True, slots=True)
class _Colours:
    map: Colormap
    norm: Normalize
    label: str


def _calendar_page(
    names: Sequence[str],
    columns: Columns,
    values: npt.NDArray[np.float64],
    failed: npt.NDArray[np.bool_],
    colours: _Colours,
) -> bytes:
    figure = _figure(max(2.6, 1.5 + 0.155 * len(names)))
    axes = figure.subplots()
    # Zero is given a colour of its own: that of what lies below the norm's least.
    drawn = np.where(values == 0, (colours.norm.vmin or 0.0) / 2, values)
    mesh = axes.pcolormesh(
        drawn, cmap=colours.map, norm=colours.norm, edgecolors="white", linewidth=0.3
    )
    where = np.argwhere(failed)
    axes.scatter(
        where[:, 1] + 0.5, where[:, 0] + 0.5, s=14, marker="x", color=FAILED, linewidth=1.2
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=7.5)
    every = max(1, -(-len(columns.labels) // 31))
    chosen = range(0, len(columns.labels), every)
    heads, tails = zip(*(columns.labels[n].rsplit("-", 1) for n in chosen), strict=True)
    axes.set_xticks([n + 0.5 for n in chosen], tails, fontsize=8)
    for place, head, before in zip(chosen, heads, ("", *heads), strict=False):
        if head != before:
            axes.annotate(
                head, (place, 0), (0, 17), textcoords="offset points", fontsize=8, va="bottom"
            )
    axes.set_xlim(0, max(len(columns.labels), FEWEST_COLUMNS))
    axes.set_ylim(max(len(names), 5), 0)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", top=True, labeltop=True, labelbottom=len(names) > 30)
    axes.set_frame_on(False)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.01, aspect=25)
    bar.set_label(colours.label, fontsize=8)
    if isinstance(colours.norm, BoundaryNorm):
        bounds = colours.norm.boundaries
        bar.set_ticks(list(bounds), labels=[f"{round(bound, 2):g}" for bound in bounds])
    else:
        bar.locator = LogLocator(subs=(1, 2, 5))
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    keys = [
        Patch(facecolor=ZERO, label="0"),
        Patch(facecolor=NONE, label="no unit done"),
        axes.scatter([], [], s=14, marker="x", color=FAILED, label="failed"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return _png(figure)


def _summed(
    counts: Mapping[tuple[int, int, int], int], place: int, length: int
) -> npt.NDArray[np.int64]:
    """Counts by one of several bins; what is not known is not drawn."""
    heights = np.zeros(length, np.int64)
    for bins, count in counts.items():
        if 0 <= bins[place] < length:
            heights[bins[place]] += count
    return heights


def _figure(height_in: float) -> Figure:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    data = BytesIO()
    figure.savefig(data, format="png", dpi=_DPI)
    return data.getvalue()
