"""Models as users write them: NAME or NAME:WEIGHTS, alone, side by side, or combined."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.calibration import calibrated
from ml_prediction.models.engine import EngineName, Model
from ml_prediction.models.ensemble import Ensemble, Rule, combine
from ml_prediction.models.loading import load_model


def load_models(
    names: Sequence[str],
    weights: str = "original",
    *,
    rule: Rule | None = None,
    shares: Sequence[float] | None = None,
    device: str = "auto",
    threads: int | None = None,
    engine: EngineName = "auto",
    calibration: str | os.PathLike[str] | None = None,
) -> list[Model | Ensemble]:
    """Load one model or several, combined if there is a rule.

    Parameters
    ----------
    names
        ``NAME`` or ``NAME:WEIGHTS`` each, as `load_model` takes them.
    weights
        Of those that name none.
    rule, shares
        As `combine` takes them; without a rule each model picks for itself.
    device, threads, engine, calibration
        As `load_model` takes them. A calibration must be of each model, or of the ensemble.

    Raises
    ------
    ConfigurationError
        If a model can't be loaded, or they can't be combined so.
    """
    chosen = [split_name(text, weights) for text in names]
    if rule is None and shares is not None:
        raise ConfigurationError("Shares are for models that are combined: add the rule 'mean'.")
    if rule is not None and len(chosen) < 2:
        raise ConfigurationError(
            f"It takes two models or more to combine them by {rule}, not {', '.join(names)} alone: "
            "name one more, or leave the rule out."
        )
    _check_different([":".join(each) for each in chosen])  # before anything is downloaded
    models = [
        load_model(name, of, device=device, threads=threads, engine=engine) for name, of in chosen
    ]
    _check_different([model.spec.id for model in models])
    found: list[Model | Ensemble] = [*models]
    if rule is not None:
        found = [combine(models, rule, shares=shares)]
    return found if calibration is None else [calibrated(each, calibration) for each in found]


def split_name(text: str, weights: str) -> tuple[str, str]:
    """Architecture and weights that a text names; the given weights if it names none.

    Raises
    ------
    ConfigurationError
        If there is nothing before the colon, or nothing after it.
    """
    name, colon, own = (part.strip() for part in text.partition(":"))
    if not name or (colon and not own):
        raise ConfigurationError(
            f"Model {text!r}: write NAME or NAME:WEIGHTS, such as PhaseNet:original."
        )
    return name, own or weights


def _check_different(ids: Sequence[str]) -> None:
    """Picks say of which model they are: two can't have one name."""
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        raise ConfigurationError(
            f"{', '.join(twice)} is named twice; name each model once, and give files of weights "
            "different names."
        )
