"""Fixed input and expected outputs of the bundled weights.

The input is made by integer arithmetic, so it is the same on every machine and with every version
of NumPy: noise, then a P arrival on the vertical and an S arrival on the horizontals, so that all
three outputs of EQTransformer rise.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import numpy.typing as npt

SAMPLES: Final = 6000
STEP: Final = 20
"""Every 20th sample of the outputs is compared."""

# (P, S, length of the coda in samples, gain of P, gain of S) of each window.
_EVENTS: Final = ((1800, 2600, 900, 12, 30), (900, 2500, 1500, 6, 12))


def golden_input() -> npt.NDArray[np.float32]:
    """Windows that the golden outputs belong to.

    Returns
    -------
    numpy.ndarray
        Preprocessed input, components in the order ENZ, shape (window, component, sample) with
        2 windows, 3 components and 6000 samples.
    """
    windows = np.stack([_window(number, *event) for number, event in enumerate(_EVENTS)])
    scaled = windows.astype(np.float64)
    scaled /= scaled.std(axis=(1, 2), keepdims=True, ddof=1)
    return scaled.astype(np.float32)


def _window(
    number: int, p: int, s: int, coda: int, p_gain: int, s_gain: int
) -> npt.NDArray[np.int64]:
    """One window of integers, shape (component, sample)."""
    sample = np.arange(SAMPLES, dtype=np.int64)
    p_wave = np.where(sample >= p, np.maximum(coda - (sample - p), 0), 0)
    s_wave = np.where(sample >= s, np.maximum(coda - (sample - s), 0), 0)
    rows = []
    for component, (p_part, s_part) in enumerate(((1, 3), (1, 2), (3, 1))):
        gain = 3 * coda + p_gain * p_part * p_wave + s_gain * s_part * s_wave
        rows.append(gain * _noise(seed=3 * number + component))
    return np.stack(rows)


def _noise(seed: int) -> npt.NDArray[np.int64]:
    """Noise around zero: sums of three neighbours in a linear congruential sequence."""
    state = 12345 + 7919 * seed
    values = np.empty(SAMPLES + 2, dtype=np.int64)
    for index in range(-50, SAMPLES + 2):  # the first values of close seeds are alike
        state = (1103515245 * state + 12345) % 2**31
        values[max(index, 0)] = (state >> 16) % 2001 - 1000
    noise: npt.NDArray[np.int64] = values[:-2] + values[1:-1] + values[2:]
    return noise


def summarise(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Every `STEP`-th sample of outputs of shape (window, label, sample), rounded to 7 decimals."""
    rounded: npt.NDArray[np.float64] = outputs[:, :, ::STEP].astype(np.float64).round(7)
    return rounded


def to_document(expected: npt.NDArray[np.float64], sha256: str) -> str:
    """JSON document of golden outputs (window, label, every `STEP`-th sample)."""
    content = {"sha256": sha256, "step": STEP, "shape": expected.shape, "values": expected.tolist()}
    return json.dumps(content, separators=(",", ":")).replace("],[", "],\n[") + "\n"


def from_document(text: str) -> npt.NDArray[np.float64]:
    """Golden outputs of a JSON document, shape (window, label, every `STEP`-th sample)."""
    return np.asarray(json.loads(text)["values"], dtype=np.float64)
