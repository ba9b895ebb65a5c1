"""Calibration files: read strictly, applied to a model, told by its picks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ml_prediction as mlp
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, calibrated
from ml_prediction.models.calibration import parse_calibrations, write_calibration
from ml_prediction.models.sigma import SigmaMap, SigmaScale, expected_error

POSITIVE = st.floats(0.01, 1.0)


@given(POSITIVE, POSITIVE, st.floats(0, 1))
def test_a_number_and_a_map_without_powers_say_the_same(k: float, width: float, p: float) -> None:
    assert expected_error(k, width, p) == k * width
    assert expected_error(SigmaMap(k), width, p) == pytest.approx(k * width, rel=1e-12)


@given(POSITIVE, st.floats(0.01, 0.99))
def test_powers_are_of_width_and_odds(width: float, p: float) -> None:
    constant = SigmaMap(0.4, width_power=-1.0)
    assert expected_error(constant, width, p) == pytest.approx(0.04)
    surer = SigmaMap(0.4, odds_power=-0.5)
    assert expected_error(surer, 0.1, p) == pytest.approx(0.04 * ((1 - p) / p) ** 0.5)


def test_what_is_written_is_read_and_other_weights_stay(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    write_calibration(path, "aa", {"P": 0.3}, {"P": {"arrivals": 5}})
    write_calibration(path, "bb", {"S": SigmaMap(0.3, -0.5, -0.1)}, {})
    assert parse_calibrations(path.read_text(), "c") == {
        "aa": {"P": SigmaMap(0.3)},
        "bb": {"S": SigmaMap(0.3, -0.5, -0.1)},
    }
    assert json.loads(path.read_text())["aa"]["P"]["measured"] == {"arrivals": 5}
    assert [item.name for item in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "form"),
        ('{"aa": 3}', "form"),
        ('{"aa": {"P": 0}}', "positive"),
        ('{"aa": {"P": NaN}}', "positive"),
        ('{"aa": {"P": "0.3"}}', "positive"),
        ('{"aa": {"P": {"width_power": 1}}}', "positive"),
        ('{"aa": {"P": {"k": 1, "odds_power": Infinity}}}', "finite"),
        ('{"aa": {"P": {"k": 1, "exponent": 2}}}', "unknown exponent"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        parse_calibrations(text, "my.json")
    assert "my.json" in str(caught.value)


def test_a_calibration_of_other_weights_is_refused(eqt: Model, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    write_calibration(path, "00" * 32, {"P": 0.3}, {})
    with pytest.raises(ConfigurationError, match="nothing about EQTransformer:original"):
        calibrated(eqt, path)
    with pytest.raises(ConfigurationError, match="Can't read calibration"):
        calibrated(eqt, tmp_path / "none.json")


def test_a_calibration_changes_sigma_and_quality_alone_and_is_named(
    eqt: Model, tmp_path: Path
) -> None:
    import obspy

    path = tmp_path / "c.json"
    scales: dict[str, SigmaScale] = {"P": SigmaMap(2.0, 0.5, -0.2), "S": SigmaMap(1.5)}
    write_calibration(path, eqt.spec.weights_sha256, scales, {})
    stream = obspy.read()
    before = mlp.pick(stream, eqt).picks
    after = mlp.pick(stream, calibrated(eqt, path)).picks
    assert [pick.phase for pick in after] == ["P", "S"]
    for old, new in zip(before, after, strict=True):
        assert new.sigma == expected_error(scales[new.phase], new.width, new.probability)
        assert new.quality > old.quality
        assert "calibration " in new.versions
        changed = {"sigma", "quality", "versions", "polarity", "polarity_confidence"}
        same = old.to_dict().keys() - changed
        assert {k: old.to_dict()[k] for k in same} == {k: new.to_dict()[k] for k in same}
