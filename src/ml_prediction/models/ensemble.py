"""Several models that pick together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import Model
from ml_prediction.models.sigma import SigmaMap, SigmaScale
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.digests import sha256

Rule = Literal["max", "mean", "semblance"]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Models of which the probability traces are merged before picks are found in them.

    Goes wherever a :class:`Model` goes.

    Attributes
    ----------
    members
        The models; picks are described by data as the first one sees them.
    rule
        How traces are merged, see :func:`combine`.
    shares
        Weight of each member in the mean.
    spec
        The ensemble described as one model.
    """

    members: tuple[Model, ...]
    rule: Rule
    shares: tuple[float, ...]
    spec: ModelSpec


def combine(
    models: Sequence[Model], rule: Rule, *, shares: Sequence[float] | None = None
) -> Ensemble:
    """Let models pick together.

    Parameters
    ----------
    models
        Two or more, of one sampling rate.
    rule
        ``max``: the highest probability. ``mean``: the mean, weighted if there are `shares`.
        ``semblance``: the highest, times the fourth power of the coherence of the members within
        0.5 s, after ELEP.
    shares
        Weight of each model in the mean; None for equal ones.

    Raises
    ------
    ConfigurationError
        If the models don't fit together, or the shares don't fit them.

    References
    ----------
    Yuan, Ni, Lin and Denolle (2023), Better together: ensemble learning for earthquake detection
    and phase picking, IEEE Transactions on Geoscience and Remote Sensing 61.
    """
    specs = [model.spec for model in models]
    _check(specs, rule, shares)
    weights = tuple(shares) if shares is not None else (1.0,) * len(specs)
    return Ensemble(tuple(models), rule, weights, _combined(specs, rule, weights))


def _combined(specs: Sequence[ModelSpec], rule: Rule, shares: Sequence[float]) -> ModelSpec:
    """What is to be known of the members as one model; the first one leads."""
    labels = dict.fromkeys(
        label for spec in specs for label in spec.labels if label in spec.thresholds
    )
    names = "+".join(spec.name for spec in specs)
    equal = len(set(shares)) == 1
    weighed = "" if equal else f" {[share / sum(shares) for share in shares]}"
    whole = f"{rule}({'+'.join(spec.weights_sha256 for spec in specs)}){weighed}"
    return replace(
        specs[0],
        name=f"{rule}({names})",
        weights="+".join(spec.weights for spec in specs),
        weights_sha256=sha256(whole.encode()),
        labels=tuple(labels),
        thresholds={label: _threshold(specs, label, rule) for label in labels},
        sigma_scale={label: _sigma_scale(specs, label) for label in labels},
        versions={name: v for spec in reversed(specs) for name, v in spec.versions.items()},
    )


def _threshold(specs: Sequence[ModelSpec], label: str, rule: Rule) -> float:
    """Mean of the members' own; for max the highest, so that none triggers on less than alone."""
    values = [spec.thresholds[label] for spec in specs if label in spec.thresholds]
    return max(values) if rule == "max" else sum(values) / len(values)


def _sigma_scale(specs: Sequence[ModelSpec], label: str) -> SigmaScale:
    """Mean over the members, for want of a calibration of the ensemble itself."""
    scales = [spec.sigma_scale[label] for spec in specs if label in spec.sigma_scale]
    if not scales:
        return 1.0
    maps = [scale if isinstance(scale, SigmaMap) else SigmaMap(scale) for scale in scales]
    return SigmaMap(*(sum(values) / len(maps) for values in zip(*maps, strict=True)))


def _check(specs: Sequence[ModelSpec], rule: Rule, shares: Sequence[float] | None) -> None:
    if rule not in get_args(Rule):
        raise ConfigurationError(
            f"Models can't be combined by {rule!r}; known are {', '.join(get_args(Rule))}."
        )
    if len(specs) < 2:
        raise ConfigurationError("It takes two models or more to combine them.")
    ids = [spec.id for spec in specs]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        raise ConfigurationError(f"{', '.join(twice)} is a member twice; name each model once.")
    rates = sorted({spec.sampling_rate for spec in specs})
    if len(rates) > 1:
        raise ConfigurationError(
            "Models can be combined that work at one sampling rate, not at "
            f"{' and '.join(f'{rate:g}' for rate in rates)} Hz."
        )
    if shares is None:
        return
    if rule != "mean":
        raise ConfigurationError(f"Shares are for the mean, not for {rule}; leave them out.")
    if len(shares) != len(specs):
        raise ConfigurationError(
            f"{len(shares)} shares for {len(specs)} models; give one for each, in their order."
        )
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise ConfigurationError(f"Shares must be above 0, not {', '.join(map(str, shares))}.")
