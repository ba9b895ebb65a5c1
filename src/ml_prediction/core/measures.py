"""What the waveform says about a pick: amplitude, signal-to-noise ratio, first motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.results import Polarity

NOISE = (-5.0, -0.5)  # seconds from the pick
SIGNAL = (0.0, 1.0)
FIRST_MOTION = 0.3  # seconds after the pick
LEAST_VALID = 0.8  # of noise and of signal
CLEAR = 3.0  # noise standard deviations that a first motion must exceed


@dataclass(frozen=True, slots=True)
class Level:
    """Noise before and signal after a pick.

    Attributes
    ----------
    amplitude
        Largest absolute deviation of the signal from the noise mean.
    snr
        Standard deviation of the signal over that of the noise.
    mean, deviation
        Of the noise.
    """

    amplitude: float
    snr: float
    mean: float
    deviation: float


NOTHING = Level(math.nan, math.nan, math.nan, math.nan)


def measure_level(samples: Floats, valid: Flags, pick: int, rate: float) -> Level:
    """Amplitude and signal-to-noise ratio of a pick at sample ``pick`` (shape (sample,)).

    NaN where less than 0.8 of the noise or of the signal is there.
    """
    parts = []
    for begin, end in (NOISE, SIGNAL):
        first, stop = pick + round(begin * rate), pick + round(end * rate) + 1
        here = slice(max(first, 0), max(stop, 0))
        if valid[here].sum() < LEAST_VALID * (stop - first):
            return NOTHING
        parts.append(samples[here][valid[here]])
    noise, signal = parts
    mean, deviation = float(noise.mean()), float(noise.std())
    amplitude = float(np.abs(signal - mean).max())
    snr = float(signal.std()) / deviation if deviation > 0 else math.nan
    return Level(amplitude, snr, mean, deviation)


def measure_polarity(
    samples: Floats, level: Level, pick: int, spread: int, rate: float
) -> tuple[Polarity, float]:
    """First motion at a P pick on the vertical, with a confidence.

    The first half cycle after the pick that exceeds 3 noise standard deviations gives the sign.
    It is looked for from the pick and from ``spread`` samples (the pick's error) before and
    after it; the confidence is the share that agrees, times the half cycle's excess over the
    noise.

    Returns
    -------
    str, float
        ``up``, ``down`` or ``unknown``, and 0 to 1.
    """
    if not level.deviation > 0:
        return "unknown", 0.0
    motion = (samples - level.mean) / level.deviation
    reach = round(FIRST_MOTION * rate)
    swings = []
    for start in (pick - spread, pick, pick + spread):
        part = motion[start : start + reach + 1]
        clear = np.flatnonzero(np.abs(part) > CLEAR)
        if not len(clear):
            continue
        first = int(clear[0])
        sign = math.copysign(1.0, part[first])
        turned = np.flatnonzero(part[first:] * sign <= 0)
        last = first + int(turned[0]) if len(turned) else len(part)
        swings.append(sign * float(np.abs(part[first:last]).max()))
    if not swings:
        return "unknown", 0.0
    vote = sum(math.copysign(1.0, swing) for swing in swings)
    agreeing = [abs(swing) for swing in swings if swing * vote > 0]
    if not agreeing:
        return "unknown", 0.0
    confidence = len(agreeing) / 3 * (1 - CLEAR / max(min(agreeing), CLEAR))
    if confidence < 1 / 3:
        return "unknown", confidence
    return ("up" if vote > 0 else "down"), confidence
