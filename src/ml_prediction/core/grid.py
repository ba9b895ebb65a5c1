"""The absolute sample grid: rates, and the arithmetic between times and sample indices.

Index ``n`` of a channel with rate ``R`` and phase ``f`` (hundredths of a sample, -25 to 74)
is the time ``(n + f / 100) / R`` seconds after 1970-01-01. All of it is integer arithmetic, so
that the same header always gives the same index.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ml_prediction.util.times import NANOSECONDS

LOWEST_RATE = 20
HIGHEST_RATE = 1000
RATE_TOLERANCE = 1e-4  # relative: digitisers write 99.9998 and mean 100
LONGEST_CYCLE = 1000  # phases of a resampling filter: more would only cost memory

USUAL_RATES = tuple(
    Fraction(rate)
    for rate in (
        *(20, 25, 30, Fraction(125, 4), 40, 50, 60, Fraction(125, 2), 64, 75, 80, 100, 120),
        *(125, 128, 150, 160, 200, 240, 250, 256, 300, 320, 400, 500, 512, 600, 750, 800, 1000),
    )
)


@lru_cache(maxsize=4096)
def grid_rate(header: float, model_rate: float) -> Fraction | None:
    """Rate that a header's sampling rate stands for, or None if it is unsupported.

    Parameters
    ----------
    header
        Sampling rate in Hz as written in the packet.
    model_rate
        Rate of the model in Hz.

    Returns
    -------
    fractions.Fraction or None
        A usual rate if the header is within 1e-4 of it, else the nearest rate that is a ratio of
        small integers to the model's. None below 20 Hz and above 1,000 Hz.
    """
    if not math.isfinite(header) or header <= 0:
        return None
    nearest = min(USUAL_RATES, key=lambda rate: abs(float(rate) - header))
    if same_rate(header, nearest):
        return nearest
    if not LOWEST_RATE <= header <= HIGHEST_RATE:
        return None
    ratio = Fraction(header / model_rate).limit_denominator(LONGEST_CYCLE)
    return ratio * Fraction(model_rate).limit_denominator(LONGEST_CYCLE)


def same_rate(header: float, rate: Fraction) -> bool:
    """Whether a header's rate means this rate."""
    return abs(header - float(rate)) <= RATE_TOLERANCE * float(rate)


def differ(one: Fraction, other: Fraction) -> bool:
    """Whether two rates differ: they are mostly one object, and Python compares those slowly."""
    return one is not other and one != other


def period_ns(rate: Fraction) -> int:
    """Time from sample to sample in nanoseconds, floored."""
    return NANOSECONDS * rate.denominator // rate.numerator


def phase_of(time_ns: int, rate: Fraction) -> tuple[int, int]:
    """Index and phase (hundredths of a sample) of a segment's first sample.

    The range of the phase, -25 to 74, keeps the usual cases (on the grid, half a sample off)
    far from its ends, so that rounded headers can't change an index.
    """
    whole, rest, unit = _position(time_ns, rate)
    hundredths = (200 * rest + unit) // (2 * unit)
    return (whole + 1, hundredths - 100) if hundredths >= 75 else (whole, hundredths)


def index_of(time_ns: int, rate: Fraction, phase: int) -> int:
    """Index of the sample nearest to a time: ``round(t R - f)``."""
    whole, rest, unit = _position(time_ns, rate)
    return whole + (200 * rest - 2 * phase * unit + 100 * unit) // (200 * unit)


def index_from(time_ns: int, rate: Fraction, phase: int = 0) -> int:
    """Index of the first sample at or after a time."""
    whole, rest, unit = _position(time_ns, rate)
    return whole - (phase * unit - 100 * rest) // (100 * unit)


def samples_until_slip(time_ns: int, rate: Fraction, phase: int, header: float) -> int:
    """How many samples from a time on get indices in a row, if they come at another rate.

    A sample belongs to the index nearest to its own time, wherever its packet begins; so a
    header of 100.004 Hz on a grid of 100 Hz slips at the same samples however it is cut.
    """
    whole, rest, unit = _position(time_ns, rate)
    offset = rest / unit - phase / 100 - (index_of(time_ns, rate, phase) - whole)
    drift = float(rate) / header - 1
    return max(1, math.ceil(((0.5 if drift > 0 else -0.5) - offset) / drift))


def time_of(index: int, rate: Fraction, phase: int = 0) -> int:
    """Time of a sample in nanoseconds, rounded to the nearest."""
    numerator = (100 * index + phase) * NANOSECONDS * rate.denominator
    denominator = 100 * rate.numerator
    return (2 * numerator + denominator) // (2 * denominator)


def samples_in(seconds: float, rate: Fraction) -> int:
    """Whole samples in a time span."""
    return math.floor(seconds * float(rate) + 1e-6)


def _position(time_ns: int, rate: Fraction) -> tuple[int, int, int]:
    """A time in samples: whole part, and rest / unit."""
    unit = NANOSECONDS * rate.denominator
    whole, rest = divmod(time_ns * rate.numerator, unit)
    return whole, rest, unit
