"""One picture of an instrument: waveforms, probabilities, and picks with their normal curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.plot_zoom import best_picks, draw_zoom, values_of
from ml_prediction.util.times import seconds_to_ns, to_ns

MAX_SECONDS: Final = 6 * 3600.0
"""Longest span drawn; of longer ones the part around the best pick."""

COLOURS: Final = {"P": "#0072B2", "S": "#D55E00", "D": "#009E73"}
"""Okabe and Ito's palette, which colour-blind readers can tell apart (jfly.uni-koeln.de/color)."""

_NAMES: Final = {"P": "P", "S": "S", "D": "Detection"}
_INK: Final = "#333333"
_LETTER: Final = 0.018
"""Width of a phase's letter with the space around it, as a share of the picture's."""
_COLUMNS: Final = 2400
_DAY_NS: Final = 86_400e9
_COMPONENT_ORDER: Final = "Z3N1E2"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Span:
    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def cut(self, stream: Stream) -> list[Trace]:
        start, end = UTCDateTime(ns=self.start_ns), UTCDateTime(ns=self.end_ns)
        return [trace for trace in stream.slice(start, end) if trace.stats.npts > 0]

    def has(self, time: UTCDateTime) -> bool:
        return self.start_ns <= to_ns(time) <= self.end_ns


def plot_instrument(
    path: str | Path,
    waveforms: Stream,
    probabilities: Stream,
    picks: Sequence[Pick],
    detections: Sequence[Detection] = (),
    thresholds: Mapping[str, float] | None = None,
) -> None:
    """Draw one instrument into a PNG file.

    Parameters
    ----------
    path
        File to write; any name.
    waveforms
        Traces of up to three components, any unit; gaps stay gaps.
    probabilities
        Probability traces; the last letter of the channel is P, S or D (Detection).
    picks, detections
        Of this instrument. Each pick's curve is A exp(-(t - time)^2 / 2 width^2); the error
        bar on it is sigma.
    thresholds
        By label (P, S, Detection), drawn as dotted lines.

    Notes
    -----
    At most six hours are drawn. The lower row zooms in on the best pair of P and S.
    """
    span = _span(waveforms, probabilities, picks)
    best = best_picks([pick for pick in picks if span.has(pick.time)])
    components = _components(span.cut(waveforms))
    rows = [*([1.0] * len(components)), 1.5, *([2.0] if best else [])]
    figure = Figure(figsize=(12, 1.1 + 1.35 * sum(rows)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(rows), max(1, len(best)), height_ratios=rows)
    upper: list[Axes] = []
    for row in range(len(components) + 1):
        shared = upper[0] if upper else None
        upper.append(figure.add_subplot(grid[row, :], sharex=shared))
    drawn = [pick for pick in picks if span.has(pick.time)]
    for axes, (channel, traces) in zip(upper, components.items(), strict=False):
        _draw_waveform(axes, channel, traces)
        _mark_picks(axes, drawn)
    if components:
        _letter_picks(upper[0], drawn, span)
    _draw_probabilities(upper[-1], span, probabilities, drawn, detections, thresholds or {})
    _finish_time_axis(upper, span)
    for column, pick in enumerate(best):
        axes = figure.add_subplot(grid[-1, column])
        draw_zoom(axes, pick, waveforms, probabilities, COLOURS.get(pick.phase, _INK))
    title = _title(waveforms, probabilities, picks)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.savefig(Path(path), format="png", metadata={"Software": "ml_prediction"})


def _span(waveforms: Stream, probabilities: Stream, picks: Sequence[Pick]) -> _Span:
    traces = list(waveforms) or list(probabilities)
    times = [(to_ns(t.stats.starttime), to_ns(t.stats.endtime)) for t in traces]
    times += [(to_ns(p.onset), to_ns(p.end)) for p in picks] if not times else []
    if not times:
        return _Span(0, seconds_to_ns(1))
    start, end = min(t[0] for t in times), max(t[1] for t in times)
    longest = seconds_to_ns(MAX_SECONDS)
    if end - start > longest:
        best = best_picks(picks)
        middle = to_ns(best[0].time) if best else start
        start = min(max(start, middle - longest // 2), end - longest)
        end = start + longest
    return _Span(start, max(end, start + 1))


def _components(traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    """Traces by channel code, the vertical first, three at most."""
    found: dict[str, list[Trace]] = {}
    for trace in traces:
        found.setdefault(trace.stats.channel, []).append(trace)
    order = sorted(found, key=lambda code: (_COMPONENT_ORDER.find(code[-1:]) % 99, code))
    return {code: found[code] for code in order[:3]}


def _draw_waveform(axes: Axes, channel: str, traces: Sequence[Trace]) -> None:
    every = np.concatenate([values_of(trace) for trace in traces])
    finite = every[np.isfinite(every)]
    middle = float(np.median(finite)) if finite.size else 0.0
    for trace in traces:
        times, values = _curve(trace)
        _draw_curve(axes, times, values - middle, color=_INK, linewidth=0.6)
    top = float(np.abs(finite - middle).max()) if finite.size else 0.0
    axes.set_ylim(*(-1.15 * top, 1.15 * top) if top > 0 else (-1.0, 1.0))
    axes.set_yticks([])
    axes.set_ylabel(channel, rotation=0, ha="right", va="center", fontweight="bold")
    note: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "fontsize": 8}
    note["bbox"] = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    axes.text(0.995, 0.05, f"peak {top:.3g}", color="#666666", **note)


def _mark_picks(axes: Axes, picks: Sequence[Pick]) -> None:
    for pick in picks:
        colour = COLOURS.get(pick.phase, _INK)
        axes.axvline(_days(to_ns(pick.time)), color=colour, linewidth=1.2, alpha=0.9)


def _letter_picks(axes: Axes, picks: Sequence[Pick], span: _Span) -> None:
    place: dict[str, Any] = {
        "xytext": (-3, -3),
        "textcoords": "offset points",
        "ha": "right",
        "va": "top",
    }
    for pick in _apart(picks, seconds_to_ns(span.seconds * _LETTER)):
        axes.annotate(
            pick.phase, (_days(to_ns(pick.time)), 1), xycoords=("data", "axes fraction"),
            color=COLOURS.get(pick.phase, _INK), fontsize=11, fontweight="bold", **place,
        )  # fmt: skip


def _apart(picks: Sequence[Pick], distance_ns: int) -> list[Pick]:
    """The most probable picks whose letters don't touch."""
    chosen: list[Pick] = []
    for pick in sorted(picks, key=lambda pick: -pick.probability):
        if all(abs(to_ns(pick.time) - to_ns(other.time)) >= distance_ns for other in chosen):
            chosen.append(pick)
    return chosen


def _draw_probabilities(
    axes: Axes,
    span: _Span,
    probabilities: Stream,
    picks: Sequence[Pick],
    detections: Sequence[Detection],
    thresholds: Mapping[str, float],
) -> None:
    for detection in detections:
        limits = _days(to_ns(detection.onset)), _days(to_ns(detection.end))
        axes.axvspan(*limits, color=COLOURS["D"], alpha=0.10, linewidth=0)
    labels: dict[str, None] = {}
    for trace in span.cut(probabilities):
        label = trace.stats.channel[-1:]
        if label in COLOURS:
            labels.setdefault(label)
            _draw_curve(axes, *_curve(trace), color=COLOURS[label], linewidth=1.1)
    for name, level in thresholds.items():
        axes.axhline(level, color=COLOURS.get(name[:1], _INK), linewidth=0.8, linestyle=":")
    for pick in picks:
        # Over a long span the curves are so narrow that they would hide the probabilities.
        _draw_normal(axes, pick, behind=span.seconds > 900)
    axes.set_ylim(-0.03, 1.08)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("Probability")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    handles = [Line2D([], [], color=COLOURS[k], label=_NAMES[k]) for k in COLOURS if k in labels]
    if picks:
        normal: dict[str, Any] = {"color": "black", "linewidth": 1.0, "linestyle": "--"}
        handles.append(Line2D([], [], label="fitted normal, ± sigma", **normal))
    if thresholds:
        handles.append(Line2D([], [], color="#888888", linestyle=":", label="threshold"))
    if handles:
        # Above the panel, where it hides no probability.
        place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(
            handles=handles, ncols=len(handles), fontsize=8, frameon=False, borderaxespad=0, **place
        )


def _draw_normal(axes: Axes, pick: Pick, behind: bool) -> None:
    if not (np.isfinite(pick.width) and pick.width > 0 and np.isfinite(pick.scale)):
        return
    offsets = np.linspace(-4, 4, 81) * pick.width
    curve = pick.scale * np.exp(-0.5 * (offsets / pick.width) ** 2)
    middle = _days(to_ns(pick.time))
    style: dict[str, Any] = {"color": "black", "linewidth": 1.0, "linestyle": "--"}
    axes.plot(middle + offsets / 86_400, curve, zorder=1 if behind else 3, **style)
    if np.isfinite(pick.sigma) and not behind:
        bar: dict[str, Any] = {"color": "black", "capsize": 2, "elinewidth": 1.0, "capthick": 1.0}
        axes.errorbar([middle], [pick.scale], xerr=[pick.sigma / 86_400], fmt="none", **bar)


def _finish_time_axis(upper: Sequence[Axes], span: _Span) -> None:
    for axes in upper:
        axes.margins(x=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(labelbottom=axes is upper[-1])
    clocks: Any = dates  # Matplotlib's own types leave this module out
    clock = "%H:%M:%S" if span.seconds <= 900 else "%H:%M"
    clock = clock if span.seconds > 10 else "%H:%M:%S.%f"
    upper[-1].xaxis.set_major_locator(clocks.AutoDateLocator(minticks=4, maxticks=9, tz="UTC"))
    upper[-1].xaxis.set_major_formatter(clocks.DateFormatter(clock, tz="UTC"))
    upper[-1].set_xlim(_days(span.start_ns), _days(span.end_ns))
    days = (UTCDateTime(ns=t).strftime("%Y-%m-%d") for t in (span.start_ns, span.end_ns))
    upper[-1].set_xlabel(f"UTC, {' to '.join(dict.fromkeys(days))}")


def _title(waveforms: Stream, probabilities: Stream, picks: Sequence[Pick]) -> str:
    traces = list(waveforms) or list(probabilities)
    parts = []
    if traces:
        stats = traces[0].stats
        code = f"{stats.network}.{stats.station}.{stats.location}.{stats.channel[:-1]}"
        parts = [code, UTCDateTime(stats.starttime).strftime("%Y-%m-%d")]
    models = dict.fromkeys(f"{pick.model} ({pick.weights})" for pick in picks)
    return "   ".join([*parts, *models]) or "no data"


def _curve(trace: Trace) -> tuple[Floats, Floats]:
    """Times in days since 1970 and values, as an envelope if there are many samples."""
    values = values_of(trace)
    step = 1e9 / trace.stats.sampling_rate
    times = _days(to_ns(trace.stats.starttime)) + np.arange(len(values)) * (step / _DAY_NS)
    fold = len(values) // _COLUMNS
    if fold < 4:
        return times, values
    whole = len(values) // fold * fold
    blocks = values[:whole].reshape(-1, fold)
    ends = np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1).ravel()
    return np.repeat(times[:whole:fold], 2), ends


def _draw_curve(axes: Axes, times: Floats, values: Floats, **style: Any) -> None:
    axes.plot(times, values, solid_joinstyle="round", **style)


def _days(time_ns: int) -> float:
    return time_ns / _DAY_NS
