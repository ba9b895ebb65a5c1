"""What the waveform says about a pick: amplitude, signal-to-noise ratio, first motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.kernels.motion import farthest, first_swing, moments
from ml_prediction.core.results import Polarity

SPANS = ((-5.0, -0.5), (0.0, 1.0))  # noise and signal, seconds from the pick
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
    samples, valid = np.ascontiguousarray(samples), np.ascontiguousarray(valid)
    noise, signal = ((pick + round(a * rate), pick + round(b * rate) + 1) for a, b in SPANS)
    noise_count, mean, deviation = moments(samples, valid, *noise)
    signal_count, _, signal_deviation = moments(samples, valid, *signal)
    for count, (first, stop) in ((noise_count, noise), (signal_count, signal)):
        if count < LEAST_VALID * (stop - first):
            return NOTHING
    amplitude = farthest(samples, valid, *signal, mean)
    snr = signal_deviation / deviation if deviation > 0 else math.nan
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
    samples = np.ascontiguousarray(samples)
    length = round(FIRST_MOTION * rate) + 1
    swings = []
    for start in (pick - spread, pick, pick + spread):
        swing = first_swing(samples, start, start + length, level.mean, level.deviation, CLEAR)
        if swing:
            swings.append(swing)
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
