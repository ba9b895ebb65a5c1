"""Architectures, weights and inference engines.

Importing this package is cheap: torch and SeisBench are imported when a model is loaded.
"""

from ml_prediction.models.calibration import calibrated
from ml_prediction.models.choice import load_models
from ml_prediction.models.engine import Engine, Model
from ml_prediction.models.ensemble import Ensemble, combine
from ml_prediction.models.loading import from_seisbench, load_model
from ml_prediction.models.registry import (
    ModelInfo,
    VerificationResult,
    list_models,
    verify_bundled,
)
from ml_prediction.models.spec import FilterSpec, ModelSpec, Normalisation

__all__ = [
    "Engine",
    "Ensemble",
    "FilterSpec",
    "Model",
    "ModelInfo",
    "ModelSpec",
    "Normalisation",
    "VerificationResult",
    "calibrated",
    "combine",
    "from_seisbench",
    "list_models",
    "load_model",
    "load_models",
    "verify_bundled",
]
