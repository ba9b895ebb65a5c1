"""Checked exports of models in the user's cache: with one of them, no torch is needed.

An export is one safetensors file: the weights, and in its header what else a compiled engine
needs, with the outcome of the check against torch. Its name is a hash of everything that the
outcome depends on: weights, versions, this package's own code, and the processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import platformdirs
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ml_prediction.models.spec import ModelSpec

VARIABLE: Final = "ML_PREDICTION_CACHE"
"""Environment variable that names another cache folder."""

_HEADER: Final = "export"
_LOG = logging.getLogger(__name__)

Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Export:
    """What a compiled engine is made of.

    Attributes
    ----------
    spec
        Of the model.
    arguments
        ``model_args`` of SeisBench's description.
    difference
        Largest difference from torch that the check found.
    warnings
        (Logger, sentence) of what there was to be said about the weights.
    weights
        State dictionary.
    """

    spec: ModelSpec
    arguments: dict[str, Any]
    difference: float
    warnings: tuple[tuple[str, str], ...]
    weights: Weights


def folder() -> Path:
    """Where exports are, which need not exist."""
    given = os.environ.get(VARIABLE)
    root = Path(given).expanduser() if given else platformdirs.user_cache_path("ml_prediction")
    return root / "engines"


def key_of(name: str, contents: Iterable[bytes], processor: str) -> str:
    """Name of an export.

    Parameters
    ----------
    name
        Architecture.
    contents
        Files that the model is made of.
    processor
        What the engine is compiled for.
    """
    packages = ("ml_prediction", "numpy", "openvino", "safetensors", "seisbench", "torch")
    parts = [name, processor, _code(), *(f"{p} {version_of(p)}" for p in packages)]
    digest = hashlib.sha256("\n".join(parts).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def read(key: str) -> Export | None:
    """Export of a key; None where there is none that is whole."""
    path = _path(key)
    try:
        with safe_open(path, framework="numpy") as handle:
            names = handle.keys()
            weights = {name: handle.get_tensor(name) for name in names}
            header = json.loads((handle.metadata() or {})[_HEADER])
        if header["digest"] != _digest(weights):
            raise ValueError("its tensors have changed")
        return Export(
            TypeAdapter(ModelSpec).validate_python(header["spec"]),
            header["arguments"],
            float(header["difference"]),
            tuple((logger, sentence) for logger, sentence in header["warnings"]),
            weights,
        )
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ValidationError) as error:
        _LOG.info("%s can't be used and is made anew (%s).", path, error)
        return None


def write(key: str, export: Export) -> None:
    """Keep an export, where the folder can be written."""
    header = {
        "spec": asdict(export.spec),
        "arguments": export.arguments,
        "difference": export.difference,
        "warnings": export.warnings,
        "digest": _digest(export.weights),
    }
    metadata = {_HEADER: json.dumps(header, default=dict)}
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(dict(export.weights), name, metadata=metadata)
            Path(name).replace(path)  # whole or not at all, whoever else writes the same
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        _LOG.info(
            "%s can't be written (%s): every start takes some seconds longer. Name another folder "
            "with the variable %s.",
            path,
            error,
            VARIABLE,
        )


def _path(key: str) -> Path:
    return folder() / f"{key[:32]}.safetensors"


def _digest(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@cache
def version_of(package: str) -> str:
    """Version of an installed package; a question mark where it is not installed."""
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "?"


@cache
def _code() -> str:
    """Hash of the code that makes exports and engines, and of the calibration that goes in."""
    digest = hashlib.sha256()
    package = files("ml_prediction.models")
    for place in (package, package / "engines"):
        for item in sorted(place.iterdir(), key=lambda entry: entry.name):
            if item.name.endswith(".py"):
                digest.update(item.read_bytes())
    digest.update((package / "bundled" / "calibration.json").read_bytes())
    return digest.hexdigest()
