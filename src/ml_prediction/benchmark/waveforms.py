"""Seismograms out of a seed: microseism, noise, and earthquakes with P, S and coda."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from ml_prediction.benchmark.plan import RATE

Floats = npt.NDArray[np.float64]

COMPONENTS: Final = "ENZ"
SEED: Final = 20260811

_MICROSEISM: Final = 250.0  # counts, standard deviations
_NOISE: Final = 12.0
_FADE_S: Final = 5.0
_SPACING_S: Final = 150.0  # seconds from one earthquake to the next, if there is time
_LONGEST_S: Final = 60.0  # of one phase with its coda
_BLOCK: Final = 2**20  # samples; a day at once would need gigabytes


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One earthquake at one station: seconds after the first sample, and strength over noise."""

    p_s: float
    s_s: float
    snr: float


def arrivals_of(station: int, seconds: float, seed: int = SEED) -> list[Arrivals]:
    """Earthquakes that a station records.

    Parameters
    ----------
    station
        Number of the station.
    seconds
        Length of the record; even a short one has an earthquake.
    seed
        The same one gives the same earthquakes.
    """
    random = np.random.default_rng([seed, station, 1])
    spacing = min(_SPACING_S, seconds)
    found = []
    for number in range(int(seconds // spacing)):
        p_s = (number + random.uniform(0.25, 0.5)) * spacing
        s_s = p_s + random.uniform(2.0, min(0.25 * spacing, 20.0))
        found.append(Arrivals(p_s, s_s, float(np.exp(random.uniform(np.log(6), np.log(100))))))
    return found


def seismogram(
    station: int, component: str, samples: int, seed: int = SEED
) -> npt.NDArray[np.int32]:
    """One channel of a station, in counts.

    It begins with silence that fades into noise, so that it does not matter in which state a
    filter starts; and it has no offset.

    Parameters
    ----------
    station
        Number of the station.
    component
        E, N or Z.
    samples
        Length, at 100 Hz.
    seed
        The same one gives the same bytes, on the same machine.

    Returns
    -------
    numpy.ndarray
        int32, shape (sample,).
    """
    axis = COMPONENTS.index(component)
    trace = _noise(np.random.default_rng([seed, station, 2, axis]), samples)
    for number, arrivals in enumerate(arrivals_of(station, samples / RATE, seed)):
        source = np.random.default_rng([seed, station, 3, number])
        path = np.random.default_rng([seed, station, 4, number, axis])
        _add_phase(trace, arrivals, "P", axis, source, path)
        _add_phase(trace, arrivals, "S", axis, source, path)
    fade = min(round(_FADE_S * RATE), samples)
    trace[:fade] *= np.sin(np.linspace(0, np.pi / 2, fade)) ** 2
    return np.round(trace).astype(np.int32)


def _noise(random: np.random.Generator, samples: int) -> Floats:
    """Microseism at 0.1 to 0.3 Hz, and noise that falls off above 10 Hz."""
    microseism = butter(2, (0.1, 0.3), "bandpass", fs=RATE, output="sos")
    noise = butter(1, 10.0, "lowpass", fs=RATE, output="sos")
    states = np.zeros((len(microseism), 2)), np.zeros((len(noise), 2))
    trace = np.empty(samples)
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        slow, low = sosfilt(microseism, random.standard_normal(count), zi=states[0])
        fast, high = sosfilt(noise, random.standard_normal(count), zi=states[1])
        states = low, high
        # The filters pass 0.4 and 28 % of the power of white noise.
        trace[start : start + count] = slow * (_MICROSEISM / 0.067) + fast * (_NOISE / 0.52)
    return trace


def _add_phase(
    trace: Floats,
    arrivals: Arrivals,
    phase: str,
    axis: int,
    source: np.random.Generator,
    path: np.random.Generator,
) -> None:
    """Add an onset that all components share, and a coda that each has for itself."""
    is_p = phase == "P"
    onset = round((arrivals.p_s if is_p else arrivals.s_s) * RATE)
    lag = arrivals.s_s - arrivals.p_s
    count = round(_LONGEST_S * RATE)
    band = (2.0, 15.0) if is_p else (1.0, 8.0)
    sections = butter(2, band, "bandpass", fs=RATE, output="sos")
    common = sosfilt(sections, source.standard_normal(count))
    azimuth = source.uniform(0, 2 * np.pi)
    own = sosfilt(sections, path.standard_normal(count))
    time = np.arange(count) / RATE
    rise = np.minimum(time / 0.08, 1.0)
    direct = np.exp(-time / (0.6 if is_p else 1.2))
    coda = 0.4 * np.exp(-time / (1.0 + 0.4 * lag if is_p else 3.0 + 0.9 * lag))
    horizontal, vertical = (0.4, 1.0) if is_p else (2.5, 0.7)
    along = (horizontal * np.sin(azimuth), horizontal * np.cos(azimuth), vertical)[axis]
    scattered = (0.5, 0.5, 1.0)[axis] if is_p else (2.2, 2.2, 1.0)[axis]
    wave = rise * (direct * along * common + coda * scattered * own)
    wave *= arrivals.snr * _NOISE / common.std()
    end = min(onset + count, len(trace))
    trace[onset:end] += wave[: end - onset]
