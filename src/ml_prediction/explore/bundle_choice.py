"""What of waveforms a user wants: checked before anybody is asked for them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle_waveforms import ANTIPODE_KM

LONGEST_PAD_S: Final = 30 * 86_400.0
CODE: Final = re.compile(r"[A-Za-z0-9-]+")
_PATTERN: Final = re.compile(r"[A-Za-z0-9?*-]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which waveforms belong to an event.

    Attributes
    ----------
    pad
        Seconds before the origin, and after the last S wave.
    channels
        Codes or patterns.
    radius_km
        All stations within; None: not by distance.
    stations
        Network and station codes; None: those with catalogue picks, or within the radius.
    """

    pad: tuple[float, float]
    channels: tuple[str, ...]
    radius_km: float | None
    stations: tuple[tuple[str, str], ...] | None


def choice_of(
    pad: float | tuple[float, float],
    channels: Iterable[str],
    radius_km: float | None,
    stations: Iterable[str] | None,
) -> Choice:
    """Make a choice of what is given; see `EventBundle.fetch_waveforms`.

    Parameters
    ----------
    pad
        One number, or two.
    channels, stations
        A text is several between commas.
    radius_km
        See there.

    Raises
    ------
    ConfigurationError
        If something is out of range or no code, or there are stations and a radius.
    """
    if radius_km is not None and stations is not None:
        raise ConfigurationError(
            "radius_km (--radius) and stations (--stations) exclude each other: give one of them."
        )
    if radius_km is not None and not 0 < _number(radius_km) <= ANTIPODE_KM:
        raise ConfigurationError(
            f"radius_km (--radius) {radius_km!r}: more than 0, and at most {ANTIPODE_KM:g}, "
            "which is the whole Earth."
        )
    codes = _listed(channels)
    wrong = [code for code in codes if not _PATTERN.fullmatch(code)]
    if wrong or not codes:
        raise ConfigurationError(
            f"channels (--channels) {', '.join(map(repr, wrong)) or 'are none'}: name codes or "
            "patterns, e.g. HHZ or HH?."
        )
    named = None if stations is None else tuple(sorted({_station(s) for s in _listed(stations)}))
    if named == ():
        raise ConfigurationError("stations (--stations) are none: name at least one NET.STA.")
    return Choice(_pad(pad), codes, radius_km, named)


def _pad(pad: float | tuple[float, float]) -> tuple[float, float]:
    given = [_number(each) for each in (pad if isinstance(pad, list | tuple) else (pad, pad))]
    if len(given) != 2 or not all(0 <= each <= LONGEST_PAD_S for each in given):
        raise ConfigurationError(
            f"pad (--pad) {pad!r}: one number of seconds, or two (before, after), from 0 to "
            f"{LONGEST_PAD_S:.0f}."
        )
    return given[0], given[1]


def _number(given: object) -> float:
    """The number; NaN, which is in no range, of what is none."""
    return float(given) if isinstance(given, Real) else math.nan


def _listed(codes: Iterable[str]) -> tuple[str, ...]:
    if isinstance(codes, str):
        return tuple(part.strip() for part in codes.split(",") if part.strip())
    return tuple(str(code).strip() for code in codes)


def _station(code: str) -> tuple[str, str]:
    network, _, station = code.partition(".")
    if not (CODE.fullmatch(network) and CODE.fullmatch(station)):
        raise ConfigurationError(
            f"stations (--stations) {code!r}: write each as NET.STA, e.g. UW.HANS."
        )
    return network, station
