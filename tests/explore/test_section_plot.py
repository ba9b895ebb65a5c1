from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_center import QUAKE, quakeml
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from ml_prediction import EventBundle
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.section_plot import draw_section
from ml_prediction.explore.section_rows import levels_of
from ml_prediction.models import Model


@pytest.fixture(scope="module")
def picked(bundle: EventBundle, eqt: Model) -> EventBundle:
    return bundle.pick(eqt)


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def test_a_section_names_event_stations_models_and_filter(
    tmp_path: Path, picked: EventBundle
) -> None:
    figure = picked.plot(tmp_path / "section.png")
    assert (tmp_path / "section.png").read_bytes().startswith(b"\x89PNG")
    said = words(figure)
    for word in ("xx1: M3.1, 2024-05-01 23:59:00 UTC", "XX.NEAR HHZ\n7 km", "YY.FAR EHZ"):
        assert word in said
    for word in ("EQTransformer:original, sigma", "iasp91", "1 to 10 Hz", "3 stations"):
        assert word in said


def test_waves_are_at_their_times(bundle: EventBundle) -> None:
    """The largest amplitude of NEAR comes after its S, not before its P."""
    axes = draw_section(bundle, curves=False).axes[0]
    lines = [line for line in axes.lines if np.size(line.get_xdata()) > 1000]
    assert len(lines) == 3
    x, y = np.asarray(lines[0].get_xdata()), np.asarray(lines[0].get_ydata())
    assert 4.0 < x[np.argmax(np.abs(y - np.median(y)))] < 15.0
    quiet, loud = np.std(y[x < 4.0]), np.std(y[(x > 7.5) & (x < 10)])
    assert quiet < 0.1 * loud


def test_picks_of_the_model_are_compared_with_the_catalogues(
    picked: EventBundle, bundle: EventBundle
) -> None:
    beside = draw_section(picked, curves=False).axes[1]
    assert "catalogue" in beside.get_xlabel()
    assert len(draw_section(bundle, curves=False).axes) == 1  # nothing to compare


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"band": None}, id="raw"),
        pytest.param({"components": "NE"}, id="horizontal"),
        pytest.param({"span": (0.0, 20.0)}, id="span"),
        pytest.param({"max_stations": 2}, id="few"),
        pytest.param({"band": (1.0, 500.0)}, id="above Nyquist"),
    ],
)
def test_what_is_drawn_can_be_chosen(picked: EventBundle, options: dict[str, object]) -> None:
    figure = draw_section(picked, curves=False, **options)  # type: ignore[arg-type]
    figure.canvas.draw()
    rows = 3 - (options.get("components") == "NE") - ("max_stations" in options)
    assert len(figure.axes[0].get_yticks()) == rows


def test_what_cannot_be_drawn_is_an_error(bundle: EventBundle) -> None:
    bare = EventBundle.from_quakeml(quakeml())
    with pytest.raises(ConfigurationError, match="fetch some first"):
        bare.plot()
    with pytest.raises(ConfigurationError, match="low < high"):
        bundle.plot(band=(5.0, 1.0))
    with pytest.raises(DataError, match="component X"):
        bundle.plot(components="X")
    with pytest.raises(DataError, match="distance is known"):
        EventBundle.from_quakeml(QUAKE.document()).with_waveforms(bundle.stream).plot()
    with pytest.raises(DataError, match="no waveforms from 900"):
        bundle.plot(span=(900.0, 950.0))


def test_a_picture_of_no_kind_is_named_before_it_is_drawn(
    bundle: EventBundle, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"p\.xyz: .*\.png, \.pdf or \.svg"):
        bundle.plot(tmp_path / "p.xyz")
    with pytest.raises(ConfigurationError, match="is a folder"):
        bundle.plot(tmp_path)
    assert not list(tmp_path.parent.glob(f"{tmp_path.name}.*"))
    bundle.plot(tmp_path / "p.SVG")
    assert list(tmp_path.iterdir()) == [tmp_path / "p.SVG"]


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=40))
def test_traces_keep_their_order_and_a_space(distances: list[float]) -> None:
    levels, space = levels_of(sorted(distances))
    assert space > 0 or max(distances) - min(distances) < 1e-300
    assert (np.diff(levels) >= space * (1 - 1e-6) - 1e-9).all()


def test_traces_that_are_far_apart_stay_at_their_distance() -> None:
    levels, _ = levels_of([10.0, 20.0, 30.0, 40.0])
    assert levels.tolist() == [10.0, 20.0, 30.0, 40.0]
