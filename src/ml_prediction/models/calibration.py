"""Calibrations: what sigma is made of, for each weights and phase, as JSON.

::

    {"<SHA-256 of the weights>": {"P": 0.389, "S": {"k": 0.31, "width_power": -0.4}}}

A number is k of ``sigma = k x width``; an object is a `SigmaMap`, and may say under ``measured``
how it was found. The one in the package and those of ``--calibration`` are read alike.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import Model
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.models.sigma import SigmaMap, SigmaScale
from ml_prediction.util.digests import sha256
from ml_prediction.util.files import write_whole

AnyModel = TypeVar("AnyModel", bound=Model | Ensemble)
_OPTIONAL = ("width_power", "odds_power")


def parse_calibrations(text: str | bytes, name: str) -> dict[str, dict[str, SigmaScale]]:
    """Calibrations by SHA-256 of the weights and phase.

    Parameters
    ----------
    text
        JSON.
    name
        Of the file, for complaints.

    Raises
    ------
    ConfigurationError
        If it is not of this form, or a value is out of range.
    """
    try:
        document = json.loads(text)
    except ValueError as error:  # also what is no UTF-8
        raise ConfigurationError(f"Calibration {name} is not JSON: {error}.") from error
    if not isinstance(document, dict) or not all(isinstance(v, dict) for v in document.values()):
        raise ConfigurationError(
            f"Calibration {name}: the form is {{weights' SHA-256: {{phase: k or map}}}}; "
            "`ml-prediction calibrate` writes it."
        )
    return {
        digest: {phase: _scale(value, f"{name}, {phase}") for phase, value in phases.items()}
        for digest, phases in document.items()
    }


def write_calibration(
    path: str | os.PathLike[str],
    weights_sha256: str,
    scales: Mapping[str, SigmaScale],
    measured: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write calibrations of one weights; those of other weights in the file are kept.

    Parameters
    ----------
    path
        File; it is replaced whole.
    weights_sha256
        Of the weights.
    scales, measured
        By phase: the map, and how it was found (plain JSON values).

    Raises
    ------
    ConfigurationError
        If the file exists and is no calibration.
    OSError
        If it can't be written.
    """
    path = Path(path)
    document: dict[str, Any] = {}
    if path.exists():
        text = path.read_bytes()
        parse_calibrations(text, str(path))
        document = json.loads(text)
    document[weights_sha256] = {
        phase: {**_as_object(scale), "measured": dict(measured.get(phase, {}))}
        for phase, scale in scales.items()
    }
    write_whole(path, f"{json.dumps(document, indent=2, allow_nan=False)}\n".encode())


def calibrated(model: AnyModel, path: str | os.PathLike[str]) -> AnyModel:
    """Return a model, or an ensemble, with sigma as a calibration file says.

    Its picks name the file's hash.

    Raises
    ------
    ConfigurationError
        If the file can't be read, or has nothing about these weights.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Can't read calibration {os.fspath(path)!r}: {error}.") from error
    table = parse_calibrations(text, os.fspath(path))
    spec = model.spec
    scales = table.get(spec.weights_sha256)
    if not scales:
        known = ", ".join(digest[:12] for digest in sorted(table)) or "none"
        raise ConfigurationError(
            f"Calibration {os.fspath(path)!r} has nothing about {spec.id} (weights "
            f"{spec.weights_sha256[:12]}), only about {known}: make one of picks by these weights "
            "with `ml-prediction calibrate`."
        )
    versions = {**spec.versions, "calibration": sha256(text)[:12]}
    return replace(
        model,
        spec=replace(spec, sigma_scale={**spec.sigma_scale, **scales}, versions=versions),
    )


def _scale(value: object, where: str) -> SigmaScale:
    if isinstance(value, dict):
        numbers = {name: value.get(name, 0.0) for name in _OPTIONAL}
        unknown = value.keys() - {"k", "measured", *_OPTIONAL}
        if unknown:
            raise ConfigurationError(f"Calibration {where}: unknown {', '.join(sorted(unknown))}.")
        return SigmaMap(
            _number(value.get("k"), where, positive=True),
            *(_number(number, where) for number in numbers.values()),
        )
    return _number(value, where, positive=True)


def _number(value: object, where: str, positive: bool = False) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    number = float(value) if is_number and isinstance(value, int | float) else math.nan
    if math.isfinite(number) and (number > 0 or not positive):
        return number
    what = "a positive number" if positive else "a finite number"
    raise ConfigurationError(f"Calibration {where}: {value!r} must be {what}.")


def _as_object(scale: SigmaScale) -> dict[str, float]:
    scale = scale if isinstance(scale, SigmaMap) else SigmaMap(scale)
    return {name: round(number, 4) for name, number in scale._asdict().items()}
