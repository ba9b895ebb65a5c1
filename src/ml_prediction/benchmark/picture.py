"""A picture of the results: windows per second, workload by workload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_OURS: Final = "#0072B2"  # Okabe and Ito's palette
_THEIRS: Final = "#999999"
_INVALID: Final = "#F0E442"
_INK: Final = "#333333"
_BAR_IN: Final = 0.24  # inches


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw one panel for each model and workload.

    Bars are windows per second; beside each is the ratio to SeisBench's best. Times that don't
    count, because the picks differ, are yellow.

    Parameters
    ----------
    results
        From `measure`.
    path
        PNG file.
    """
    panels = [
        (model["model"], cell, bars)
        for model in results["models"]
        for cell in model["cells"]
        if (bars := [e for e in cell["contenders"] if e["median_s"] is not None])
    ]
    heights = [len(bars) + 2.5 for *_, bars in panels] or [1.0]
    figure = Figure(figsize=(9, 0.6 + _BAR_IN * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for number, (name, cell, bars) in enumerate(panels):
        _draw_panel(figure.add_subplot(grid[number]), f"{name}, {cell['title']}", bars)
    figure.suptitle(
        f"{results['machine']['processor']}, {results['settings']['threads']} threads, "
        f"{results['started'][:10]}",
        fontsize=9,
        color=_INK,
    )
    figure.savefig(path, dpi=120)


def _draw_panel(axes: Axes, title: str, bars: list[Mapping[str, Any]]) -> None:
    places = range(len(bars))
    rates = [bar["windows_per_s"] for bar in bars]
    colours = [
        _INVALID
        if bar["status"] == "differs"
        else _OURS
        if bar["contender"].startswith("ours")
        else _THEIRS
        for bar in bars
    ]
    axes.barh(places, rates, color=colours, height=0.8)
    for place, bar in zip(places, bars, strict=True):
        ratio = bar["ratio_to_seisbench_best"]
        label = f" {bar['windows_per_s']:,.0f}/s" + ("" if ratio is None else f", {ratio:.2f} x")
        axes.text(bar["windows_per_s"], place, label, va="center", fontsize=7, color=_INK)
    axes.set_yticks(places, [bar["title"] for bar in bars], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(rates))
    axes.set_title(title, fontsize=8, loc="left", color=_INK)
    axes.tick_params(axis="x", labelsize=6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
