"""Seismic phase picks with honest uncertainties, from packets of waveforms.

::

    import ml_prediction as mlp

    model = mlp.load_model("EQTransformer")
    result = mlp.pick(stream, model)

Everything that is meant to be used from outside is here; it is imported when first touched, so
that ``import ml_prediction`` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ml_prediction.config import PipelineConfig
    from ml_prediction.core.outcome import Result
    from ml_prediction.core.packets import Packet
    from ml_prediction.core.pipeline import Pipeline
    from ml_prediction.core.results import Detection, Pick
    from ml_prediction.core.run import pick
    from ml_prediction.errors import (
        ConfigurationError,
        DataError,
        InternalError,
        MLPredictionError,
    )
    from ml_prediction.explore.bundle import EventBundle
    from ml_prediction.explore.catalog import BundleCatalog
    from ml_prediction.models import combine, load_model
    from ml_prediction.util.codes import NSLC, Instrument

__version__: Final = "0.1.0"

__all__ = [
    "NSLC",
    "BundleCatalog",
    "ConfigurationError",
    "DataError",
    "Detection",
    "EventBundle",
    "Instrument",
    "InternalError",
    "MLPredictionError",
    "Packet",
    "Pick",
    "Pipeline",
    "PipelineConfig",
    "Result",
    "__version__",
    "combine",
    "load_model",
    "pick",
]

_HOMES: Final = {
    "BundleCatalog": "explore.catalog",
    "ConfigurationError": "errors",
    "DataError": "errors",
    "Detection": "core.results",
    "EventBundle": "explore.bundle",
    "Instrument": "util.codes",
    "InternalError": "errors",
    "MLPredictionError": "errors",
    "NSLC": "util.codes",
    "Packet": "core.packets",
    "Pick": "core.results",
    "Pipeline": "core.pipeline",
    "PipelineConfig": "config",
    "Result": "core.outcome",
    "combine": "models",
    "load_model": "models",
    "pick": "core.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # once is enough
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
