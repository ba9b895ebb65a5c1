"""Models as compiled engines: which there are, and whether one computes what torch does."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ml_prediction.models.engine import Engine
from ml_prediction.models.spec import ModelSpec

if TYPE_CHECKING:
    from ml_prediction.models.engines.openvino_engine import OpenVinoEngine

GRAPHS: Final = {"EQTransformer": "eqtransformer_graph", "PhaseNet": "phasenet_graph"}
"""Module of each architecture that can be compiled."""

TOLERANCE: Final = 1e-5
"""Largest difference between the probabilities of a compiled engine and torch's."""

_LOG = logging.getLogger(__name__)
_SEED: Final = 20231009
_CHECKED: Final = (16, 3, 1)  # windows: a full batch, one that is filled up, a single window


def why_not(name: str) -> str | None:
    """Why an architecture can't be compiled here; None if it can."""
    if name not in GRAPHS:
        return f"only {', '.join(GRAPHS)} can be compiled"
    try:
        importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        return f"OpenVINO can't be imported ({error}); pip install openvino"
    return None


def make_engine(
    spec: ModelSpec,
    arguments: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[Any]],
    threads: int | None,
) -> OpenVinoEngine:
    """Compiled engine of a model, unchecked.

    Parameters
    ----------
    spec
        Of an architecture in `GRAPHS`.
    arguments
        ``model_args`` of SeisBench's description.
    weights
        State dictionary.
    threads
        CPU threads; None for one for each core.

    Raises
    ------
    ConfigurationError
        If `threads` is not positive.
    """
    from ml_prediction.models.engines.openvino_engine import OpenVinoEngine

    graph = importlib.import_module(f"ml_prediction.models.engines.{GRAPHS[spec.name]}")
    return OpenVinoEngine(
        lambda windows: graph.build(weights, arguments, windows),
        components=len(spec.components),
        samples=spec.in_samples,
        labels=len(spec.labels),
        threads=threads,
    )


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
        except RuntimeError as error:  # OpenVINO's own errors
            _LOG.warning("%s can't be compiled: %s", spec.id, error)
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
