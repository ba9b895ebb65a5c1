"""Models as compiled engines: which there are, and how near to torch one must compute."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from ml_prediction.models.engine import EngineName
from ml_prediction.models.spec import ModelSpec

if TYPE_CHECKING:
    from ml_prediction.models.engines.openvino_engine import OpenVinoEngine, Precision

GRAPHS: Final = {"EQTransformer": "eqtransformer_graph", "PhaseNet": "phasenet_graph"}
"""Module of each architecture that can be compiled."""

TOLERANCES: Final[dict[Precision, float]] = {"f32": 1e-5, "bf16": 0.5}
"""Largest difference between the probabilities of a compiled engine and torch's. With bfloat16 it
was 0.12 on random windows; what computes something else differs by about 1."""


def precision_of(engine: EngineName) -> Precision:
    """Precision that an engine computes in, if it is compiled."""
    return "bf16" if engine == "openvino-bf16" else "f32"


def why_not(name: str, precision: Precision = "f32") -> str | None:
    """Why an architecture can't be compiled here; None if it can."""
    if name not in GRAPHS:
        return f"only {', '.join(GRAPHS)} can be compiled"
    try:
        importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        return f"OpenVINO can't be imported ({error}); pip install openvino"
    if precision == "bf16":
        from ml_prediction.models.engines.openvino_engine import has_bfloat16

        if not has_bfloat16():
            return "this processor has no bfloat16"
    return None


def make_engine(
    spec: ModelSpec,
    arguments: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[Any]],
    threads: int | None,
    precision: Precision = "f32",
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
    precision
        What is multiplied.

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
        precision=precision,
    )
