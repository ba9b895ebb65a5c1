"""Models as users write them: what is loaded for a name, and what can't be meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Ensemble, Model, choice, load_models
from ml_prediction.models.calibration import write_calibration
from ml_prediction.models.sigma import SigmaMap


@pytest.fixture
def loaded(eqt: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of `load_model`, which knows every name and weights here."""
    asked: list[tuple[str, str]] = []

    def load(name: str, weights: str, **options: Any) -> Model:
        asked.append((name, weights))
        sha256 = f"{name}-{weights}"
        spec = replace(eqt.spec, name=name, weights=Path(weights).stem, weights_sha256=sha256)
        return replace(eqt, spec=spec)

    monkeypatch.setattr(choice, "load_model", load)
    return asked


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["PhaseNet"], [("PhaseNet", "stead")]),
        (["PhaseNet:original"], [("PhaseNet", "original")]),
        (["PhaseNet:./a/b.pt"], [("PhaseNet", "./a/b.pt")]),
        ([" PhaseNet : x:y "], [("PhaseNet", "x:y")]),
        (
            ["EQTransformer", "PhaseNet:scedc"],
            [("EQTransformer", "stead"), ("PhaseNet", "scedc")],
        ),
    ],
    ids=str,
)
def test_weights_are_those_after_the_colon_or_those_given_for_all(
    loaded: list[tuple[str, str]], names: Sequence[str], expected: list[tuple[str, str]]
) -> None:
    models = load_models(names, "stead")
    assert loaded == expected
    assert all(isinstance(model, Model) for model in models)


def test_a_rule_makes_one_ensemble_of_all(loaded: list[tuple[str, str]]) -> None:
    (found,) = load_models(["A:x", "B:y"], rule="mean", shares=(3.0, 1.0))
    assert isinstance(found, Ensemble)
    assert found.spec.id == "mean(A+B):x+y"
    assert found.shares == (3.0, 1.0)


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["A:"], {}, "'A:': write NAME or NAME:WEIGHTS"),
        ([":x"], {}, "':x'"),
        ([""], {}, "''"),
        (["A:x", "A:x"], {}, "A:x is named twice"),
        (["A", "A:original"], {"rule": "max"}, "A:original is named twice"),
        (["A"], {"rule": "max"}, "not A alone"),
        (["A", "B"], {"shares": [1, 2]}, "add the rule 'mean'"),
        (["A", "B"], {"rule": "max", "shares": [1, 2]}, "Shares are for the mean"),
        (["A", "B"], {"rule": "mean", "shares": [1]}, "1 shares for 2 models"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(
    loaded: list[tuple[str, str]], names: list[str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_models(names, **options)


def test_two_files_of_one_name_are_told_apart_or_refused(loaded: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigurationError, match="give files of weights different names"):
        load_models(["A:one/x.pt", "A:two/x.pt"])


def test_an_ensemble_is_calibrated_as_a_whole(
    loaded: list[tuple[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "c.json"
    (plain,) = load_models(["A", "B"], rule="semblance")
    write_calibration(file, plain.spec.weights_sha256, {"P": 0.77}, {})
    (found,) = load_models(["A", "B"], rule="semblance", calibration=file)
    assert found.spec.sigma_scale["P"] == SigmaMap(0.77)
    assert "calibration" in found.spec.versions
    for other in (["A"], ["A", "B"]):
        with pytest.raises(ConfigurationError, match="has nothing about A:original"):
            load_models(other, calibration=file)
    with pytest.raises(ConfigurationError, match="has nothing about max"):
        load_models(["A", "B"], rule="max", calibration=file)
