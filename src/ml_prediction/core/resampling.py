"""Resampling with an FIR low-pass, evaluated on the absolute grid.

Output ``m`` of a model at rate ``r`` stands for the input position ``m R / r``. It is a sum over
the input samples around that position, always of the same taps in the same order, so that the
result does not depend on how the input was cut. The low-pass is a Kaiser-windowed sinc with its
stop band (67 dB where its length allows) from the lower of the two Nyquist frequencies on; half
of it is 16 periods of that frequency / 2 long, and at most 0.25 s. Its minimum-phase twin has the
same amplitude response and never rings before an onset. Linear phase smears a sudden onset over one
period of the Nyquist frequency (20 ms at 100 Hz), as any such filter must, and rings before that:
for a sine of 5 to 10 Hz that starts with a kink at most 1.5 % of the peak, for one that starts
smoothly less than 1 %.

Kaiser design formulas: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import signal

Floats = npt.NDArray[np.float64]
Phase = Literal["linear", "minimum"]

LONGEST_HALF = 0.25  # seconds
STOP_BAND = 67.0  # dB


@dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """Taps for one ratio of rates.

    Attributes
    ----------
    up, down
        Output ``m`` lies at the input position ``m * down / up``.
    before, after
        Input samples needed before and after the one at or just before that position.
    taps
        Shape (up, before + 1 + after); each row sums to one.
    """

    up: int
    down: int
    before: int
    after: int
    taps: Floats

    @property
    def copies(self) -> bool:
        """Whether the outputs are the input samples."""
        return self.up == self.down

    def first(self, index: int) -> int:
        """First output at or after the input sample ``index``."""
        return -(-index * self.up // self.down)

    def ready(self, end: int) -> int:
        """Outputs below this one need only input samples below ``end``."""
        return self.first(end - self.after)

    def end_needed(self, target: int) -> int:
        """Smallest ``end`` for which the outputs below ``target`` are ready."""
        return (target - 1) * self.down // self.up + 1 + self.after

    def first_input(self, output: int) -> int:
        """First input sample that an output needs."""
        return output * self.down // self.up - self.before

    def __call__(self, samples: Floats, first: int, start: int, stop: int) -> Floats:
        """Outputs ``start`` to ``stop`` (exclusive).

        Parameters
        ----------
        samples
            Input, shape (sample,); ``samples[0]`` has the index ``first``. It must hold all
            that the outputs need.
        """
        if self.copies:
            return samples[start - first : stop - first]
        count = stop - start
        result = np.zeros(count)
        if self.up == 1:
            base = start * self.down - first - self.before
            span = self.down * (count - 1) + 1
            for tap, weight in enumerate(self.taps[0]):
                result += weight * samples[base + tap : base + tap + span : self.down]
            return result
        base_of, row_of = np.divmod(np.arange(start, stop, dtype=np.int64) * self.down, self.up)
        base_of -= first + self.before
        for tap in range(self.taps.shape[1]):  # one order of summation, whatever the block
            result += self.taps[row_of, tap] * samples[base_of + tap]
        return result


@lru_cache(maxsize=64)
def make_resampler(rate: Fraction, model_rate: Fraction, phase: Phase) -> Resampler:
    """Resampler from ``rate`` to ``model_rate`` (both in Hz)."""
    ratio = rate / model_rate
    up, down = ratio.denominator, ratio.numerator
    if up == down:
        return Resampler(1, 1, 0, 0, np.ones((1, 1)))
    nyquist = float(min(rate, model_rate)) / 2
    half_seconds = min(LONGEST_HALF, 16 / (2 * nyquist))
    fine = float(rate) * up
    half = math.floor(half_seconds * fine)
    taps = _low_pass(half, fine, nyquist)
    if phase == "minimum":
        size = 1 << (16 * len(taps)).bit_length()  # SciPy's default takes gigabytes for odd rates
        taps = signal.minimum_phase(taps, method="homomorphic", n_fft=size, half=False)
        before, after = math.ceil(len(taps) / up), 0
        lags = _lags(up, before, after)
    else:
        before = after = math.ceil(half / up) + 1
        lags = _lags(up, before, after) + half
    inside = (lags >= 0) & (lags < len(taps))
    table = np.where(inside, taps[np.clip(lags, 0, len(taps) - 1)], 0.0)
    return Resampler(up, down, before, after, table / table.sum(axis=1, keepdims=True))


def _lags(up: int, before: int, after: int) -> npt.NDArray[np.int64]:
    """Output time minus input time, in samples of the fine rate: shape (row, tap)."""
    rows = np.arange(up, dtype=np.int64)[:, None]
    return rows - np.arange(-before, after + 1, dtype=np.int64)[None, :] * up


def _low_pass(half: int, fine: float, nyquist: float) -> Floats:
    """Kaiser-windowed sinc of 2 half + 1 taps at the rate ``fine``."""
    seconds = (2 * half + 1) / fine
    stop_band = min(STOP_BAND, 7.95 + 2.285 * 2 * math.pi * 0.4 * nyquist * seconds)
    transition = (stop_band - 7.95) / (2.285 * 2 * math.pi * seconds)
    cutoff = nyquist - transition / 2
    times = np.arange(-half, half + 1) / fine
    window = np.kaiser(2 * half + 1, float(signal.kaiser_beta(stop_band)))
    return np.asarray(2 * cutoff / fine * np.sinc(2 * cutoff * times) * window)
