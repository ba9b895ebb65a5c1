"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path

import pytest

from ml_prediction.models import Model, load_model
from ml_prediction.models.engines.export_cache import VARIABLE

with warnings.catch_warnings():  # ObsPy's own import uses a deprecated interface of Python 3.11
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("obspy")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of shared data and weights beside the repository; skips where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with data and weights is not here")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of exported models, one for all worker processes, instead of the user's own."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ml_prediction"
    os.environ[VARIABLE] = str(folder)
    return folder


@pytest.fixture(scope="session")
def eqt() -> Model:
    """The bundled EQTransformer, on the CPU."""
    return load_model(device="cpu")


@pytest.fixture(scope="session")
def phasenet(shared: Path) -> Model:
    """PhaseNet with its original weights, on the CPU."""
    return load_model("PhaseNet", shared / "models" / "phasenet" / "original", device="cpu")
