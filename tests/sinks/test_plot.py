"""The picture is drawn whatever there is to draw, without global state."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import obspy
import pytest
from factories import TIME, make_detection, make_pick
from matplotlib.image import imread
from obspy import Stream, Trace

from ml_prediction.core.results import Pick
from ml_prediction.sinks.plot import MAX_SECONDS, _components, _curve, _span, plot_instrument
from ml_prediction.sinks.plot_zoom import best_picks

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
    plot_instrument(tmp_path / "b.png", Stream(), Stream(), [odd], title="odd")
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
