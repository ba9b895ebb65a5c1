"""Close-up of one pick: waveform, probability, fitted normal and sigma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from obspy import Stream, Trace

from ml_prediction.core.intake import LARGEST
from ml_prediction.core.results import Pick
from ml_prediction.util.times import isoformat

_LONGEST_S_MINUS_P: Final = 120.0

Floats = npt.NDArray[np.float64]


def best_picks(picks: Sequence[Pick]) -> list[Pick]:
    """Return P and S that best belong together, else the most probable pick, else nothing.

    A pair is a P and an S at most 120 s later; the best has the highest sum of probabilities.
    """
    if not picks:
        return []
    # With many picks only the clearest matter, and pairs are tried one by one.
    clearest = sorted(picks, key=lambda pick: -pick.probability)[:400]
    pairs = [
        (p.probability + s.probability, p, s)
        for p in clearest
        if p.phase == "P"
        for s in clearest
        if s.phase == "S" and 0 < s.time - p.time <= _LONGEST_S_MINUS_P
    ]
    if pairs:
        _, first, second = max(pairs, key=lambda pair: pair[0])
        return [first, second]
    return clearest[:1]


def draw_zoom(
    axes: Axes, pick: Pick, waveforms: Stream, probabilities: Stream, colour: str
) -> None:
    """Draw a pick's surroundings over seconds from the pick.

    The waveform (of the pick's channel) is scaled to the panel and has no axis of its own.
    """
    half = float(np.clip(8 * pick.width if np.isfinite(pick.width) else 1.0, 0.8, 3.0))
    codes = (pick.network, pick.station, pick.location)
    for trace in waveforms:
        stats = trace.stats
        same = (stats.network, stats.station, stats.location.replace("--", "")) == codes
        if same and stats.channel == pick.channel:
            times, values = _around(trace, pick, half)
            _draw_scaled(axes, times, values)
    for trace in probabilities:
        if trace.stats.channel[-1:] == pick.phase[:1]:
            times, values = _around(trace, pick, half)
            axes.plot(times, values, color=colour, linewidth=1.6, marker=".", markersize=3)
    if np.isfinite(pick.width) and pick.width > 0 and np.isfinite(pick.scale):
        offsets = np.linspace(-half, half, 401)
        normal = pick.scale * np.exp(-0.5 * (offsets / pick.width) ** 2)
        axes.plot(offsets, normal, color="black", linewidth=1.2, linestyle="--")
    if np.isfinite(pick.sigma):
        axes.axvspan(-pick.sigma, pick.sigma, color=colour, alpha=0.22, linewidth=0)
    axes.axvline(0, color=colour, linewidth=1.4)
    axes.set_xlim(-half, half)
    axes.set_ylim(-0.05, 1.2)
    axes.set_yticks([0, 0.5, 1])
    clock = isoformat(pick.time)[11:-4]
    axes.set_xlabel(f"seconds from {clock} UTC")
    axes.set_ylabel("Probability")
    heading = (
        f"{pick.phase} on {pick.channel}   {clock} ± {pick.sigma:.3f} s   "
        f"probability {pick.probability:.2f}   quality {pick.quality}"
    )
    axes.set_title(heading, fontsize=9.5, color=colour, loc="left", fontweight="bold")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def values_of(trace: Trace) -> Floats:
    """Samples of a trace, NaN where it is masked, not finite or absurdly large."""
    values = np.array(trace.data, dtype=np.float64)
    mask = getattr(trace.data, "mask", None)
    if mask is not None:
        values[np.broadcast_to(mask, values.shape)] = np.nan
    values[~(np.abs(values) <= LARGEST)] = np.nan
    return values


def _around(trace: Trace, pick: Pick, half: float) -> tuple[Floats, Floats]:
    """Samples within ``half`` seconds of the pick, over seconds from it."""
    stats = trace.stats
    data = values_of(trace)
    first = float(stats.starttime - pick.time)
    start = max(0, int(np.floor((-half - first) * stats.sampling_rate)))
    stop = max(start, int(np.ceil((half - first) * stats.sampling_rate)) + 1)
    values = data[start:stop]
    times = first + (start + np.arange(len(values))) / stats.sampling_rate
    return times, values


def _draw_scaled(axes: Axes, times: Floats, values: Floats) -> None:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return
    middle = float(np.median(finite))
    top = float(np.abs(finite - middle).max()) or 1.0
    axes.plot(times, 0.5 + 0.5 * (values - middle) / top, color="#999999", linewidth=0.8, zorder=0)
