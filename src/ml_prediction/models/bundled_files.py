"""The files that ship in the package: weights, their description, calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.calibration import parse_calibrations
from ml_prediction.models.sigma import SigmaScale
from ml_prediction.util.digests import sha256

STEMS: Final[Mapping[tuple[str, str], str]] = {
    ("EQTransformer", "original"): "eqtransformer_original"
}
"""File stem of each bundled (architecture, weights)."""

_FOLDER: Final = files("ml_prediction.models") / "bundled"


def read_bytes(name: str) -> bytes:
    """Read a bundled file.

    Raises
    ------
    ConfigurationError
        If the file is missing from the installation.
    """
    try:
        return (_FOLDER / name).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{name} is missing from this installation of ml_prediction; reinstall the package."
        ) from error


def read_metadata(stem: str) -> dict[str, Any]:
    """Return the description of bundled weights: SeisBench's fields and provenance."""
    metadata: dict[str, Any] = json.loads(read_bytes(f"{stem}.json"))
    return metadata


def read_weights(stem: str) -> bytes:
    """Read a bundled safetensors file, checked against the hash in its description.

    Raises
    ------
    ConfigurationError
        If the file is missing or damaged.
    """
    weights = read_bytes(f"{stem}.safetensors")
    if sha256(weights) != read_metadata(stem)["sha256"]:
        raise ConfigurationError(
            f"{stem}.safetensors in this installation of ml_prediction is damaged; "
            "reinstall the package."
        )
    return weights


def read_sigma_scale(weights_sha256: str) -> dict[str, SigmaScale]:
    """Read what sigma is made of, by phase, for these weights; empty if unmeasured."""
    name = "calibration.json"
    return parse_calibrations(read_bytes(name), name).get(weights_sha256, {})
