"""From a pick's width and probability to its expected timing error."""

from __future__ import annotations

from typing import Final, NamedTuple

USUAL_WIDTH: Final = 0.1
"""Seconds, of a typical P: where `SigmaMap.k` means the same with any power."""

_LEAST: Final = 1e-3  # a probability of 0 or 1 has no odds


class SigmaMap(NamedTuple):
    """``sigma = k x width x (width / 0.1 s)^width_power x (p / (1 - p))^odds_power``.

    With both powers 0 it is ``sigma = k x width``, which a bare number k stands for, too.

    Attributes
    ----------
    k
        Factor, at a width of 0.1 s and a probability of 0.5.
    width_power
        -1: sigma does not depend on the width.
    odds_power
        Below 0: a surer pick is a more exact one. Probabilities count as 0.001 to 0.999.
    """

    k: float
    width_power: float = 0.0
    odds_power: float = 0.0


SigmaScale = float | SigmaMap


def expected_error(scale: SigmaScale, width: float, probability: float) -> float:
    """Sigma in seconds of one pick.

    Parameters
    ----------
    scale
        k, or the whole map.
    width
        Standard deviation of the fitted normal in seconds.
    probability
        Highest stacked probability.
    """
    if not isinstance(scale, SigmaMap):
        return scale * width
    inside = min(max(probability, _LEAST), 1 - _LEAST)
    odds = inside / (1 - inside)
    stretch = (width / USUAL_WIDTH) ** scale.width_power
    return float(scale.k * width * stretch * odds**scale.odds_power)
