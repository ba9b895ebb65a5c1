"""The picture is drawn whatever there is to draw, without global state."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from factories import TIME, make_detection, make_pick
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from obspy import Stream, Trace

from ml_prediction.core.results import Pick
from ml_prediction.sinks.plot import MAX_SECONDS, _components, _curve, _span, plot_instrument
from ml_prediction.sinks.plot_zoom import best_picks, values_of

P = make_pick()
S = make_pick(phase="S", channel="EHN", time=TIME + 0.98, width=0.16)
THRESHOLDS = {"P": 0.1, "S": 0.1, "Detection": 0.3}


def probability(label: str, start: object, count: int = 3000) -> Trace:
    header = {"network": "BW", "station": "RJOB", "channel": f"EH{label}", "sampling_rate": 100.0}
    values = np.random.default_rng(0).random(count).astype(np.float32)
    return Trace(values, header=header | {"starttime": start})


@pytest.mark.parametrize(
    ("picks", "waveforms", "masked"),
    [([P, S], True, False), ([P], True, True), ([], True, False), ([S], False, False)],
)
def test_picture(tmp_path: Path, picks: list[Pick], waveforms: bool, masked: bool) -> None:
    stream = obspy.read()
    start = stream[0].stats.starttime
    if masked:
        stream.cutout(start + 3, start + 6)
        stream.merge()
        stream[1].data[:] = 0
    labels = Stream([probability(label, start) for label in "PSD"])
    labels[0].data[:500] = np.nan
    path = tmp_path / ".UW.part"
    shown = stream if waveforms else Stream()
    plot_instrument(path, shown, labels, picks, [make_detection()], THRESHOLDS)
    assert imread(path, format="png").shape[1] > 1000


def test_nothing_to_draw_is_no_error(tmp_path: Path) -> None:
    odd = make_pick(width=math.nan, sigma=math.nan, scale=math.nan)
    plot_instrument(tmp_path / "a.png", Stream(), Stream(), [])
    plot_instrument(tmp_path / "b.png", Stream(), Stream(), [odd])
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "b.png").exists()


def test_at_most_six_hours_around_the_best_pick(tmp_path: Path) -> None:
    long = Stream([probability("Z", TIME - 20 * 3600, 100 * 86_400)])
    span = _span(long, Stream(), [P])
    assert span.seconds == MAX_SECONDS
    assert span.has(P.time)
    times, values = _curve(span.cut(long)[0])
    assert len(times) == len(values) < 6000
    assert values.max() == pytest.approx(1, abs=1e-4)
    plot_instrument(tmp_path / "a.png", long, Stream(), [P])


def test_components_are_ordered_vertical_first() -> None:
    assert list(_components(list(obspy.read())[::-1])) == ["EHZ", "EHN", "EHE"]


def test_best_pair() -> None:
    weak = make_pick(time=TIME - 50, probability=0.3)
    assert best_picks([weak, P, S]) == [P, S]
    assert best_picks([S]) == [S]
    assert best_picks([make_pick(time=S.time + 1), S])[0].time == S.time + 1
    assert best_picks([]) == []


@pytest.mark.parametrize("bad", [1.7e308, -1.7e308, math.nan, math.inf])
def test_absurd_samples_are_left_out(tmp_path: Path, bad: float) -> None:
    stream = obspy.read()
    for trace in stream:
        trace.data[500] = bad  # within the close-up too
    stream[0].data[501] = -bad
    values = values_of(stream[0])
    assert np.flatnonzero(np.isnan(values)).tolist() == [500, 501]
    labels = Stream([probability(label, stream[0].stats.starttime) for label in "PSD"])
    labels[0].data = labels[0].data.astype(np.float64)
    labels[0].data[100] = bad
    path = tmp_path / "a.png"
    with np.errstate(all="raise"):
        plot_instrument(path, stream, labels, [P, S], [make_detection()], THRESHOLDS)
    assert imread(path).shape[1] > 1000


def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *args: Any) -> Figure:
    """The figure that plot_instrument draws."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    plot_instrument(tmp_path / "a.png", *args)
    return figures[0]


def test_letters_do_not_touch_and_the_best_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Stream([probability("Z", TIME - 600, 720_000)])
    chance = np.random.default_rng(0)
    picks = [make_pick(time=TIME + 60 * k, probability=chance.uniform(0.3, 0.9)) for k in range(90)]
    picks += [make_pick(phase="S", time=pick.time + 8, probability=0.2) for pick in picks]
    figure = drawn(tmp_path, monkeypatch, long, Stream(), picks)
    axes: Axes = figure.axes[0]
    letters = [text for text in axes.texts if text.get_text() in ("P", "S")]
    boxes = sorted((text.get_window_extent() for text in letters), key=lambda box: box.x0)
    assert len(boxes) > 20
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert {text.get_text() for text in letters} == {"P"}


def test_legend_hides_no_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = Stream([probability(label, TIME - 10) for label in "PSD"])
    figure = drawn(tmp_path, monkeypatch, obspy.read(), labels, [P, S], (), THRESHOLDS)
    (axes,) = [axes for axes in figure.axes if axes.get_legend() is not None]
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_window_extent().y1 <= figure.axes[figure.axes.index(axes) - 1].bbox.y0
