"""How near one engine computes to another."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.models.engine import Engine
from ml_prediction.models.spec import ModelSpec

_LOG = logging.getLogger(__name__)
_SEED: Final = 20231009
_CHECKED: Final = (16, 3, 1)  # windows: a full batch, one that is filled up, a single window


def difference(engine: Engine, reference: Engine, spec: ModelSpec) -> float:
    """Largest difference between two engines' outputs on random windows.

    It is infinite where the first can't compute them, and NaN where an output is none.

    Parameters
    ----------
    engine, reference
        What is compared.
    spec
        Of both.
    """
    random = np.random.default_rng(_SEED)
    largest = 0.0
    for windows in _CHECKED:
        batch = _random_windows(random, (windows, len(spec.components), spec.in_samples))
        try:
            outputs = engine(batch)
        except RuntimeError as error:  # OpenVINO's and torch's own errors
            _LOG.warning("%s can't be run by %s: %s", spec.id, type(engine).__name__, error)
            return float("inf")
        largest = np.maximum(largest, np.abs(outputs - reference(batch)).max())
    return float(largest)


def _random_windows(
    random: np.random.Generator, shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Noise that gets louder at a random moment: the outputs are to leave zero, too."""
    noise = random.standard_normal(shape)
    onset = random.integers(0, shape[2], size=shape[0])
    loud = np.arange(shape[2]) >= onset[:, None]
    noise *= np.where(loud, random.uniform(2, 30, size=(shape[0], 1)), 1.0)[:, None, :]
    noise /= noise.std(axis=(1, 2), keepdims=True)
    return noise.astype(np.float32)
