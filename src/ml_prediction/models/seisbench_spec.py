"""What a SeisBench model object says of itself, as a ModelSpec.

Source of every rule: SeisBench 0.12.6, ``seisbench/models``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files
from ml_prediction.models.seisbench_filters import filters_of
from ml_prediction.models.seisbench_home import import_seisbench
from ml_prediction.models.spec import USUAL_SIGMA_SCALE, ModelSpec, Normalisation

_LOG = logging.getLogger(__name__)

_NOISE: Final = frozenset({"N", "NOISE"})
_STACKING: Final[dict[str, Literal["max", "mean"]]] = {"max": "max", "avg": "mean"}
# A model that changes one of these sees other input than plain windows of its components.
_STREAM_METHODS: Final = (
    "annotate",
    "annotate_async",
    "annotate_stream_pre",
    "stream_to_array",
    "_cut_fragments_array",
    "_predict_windows",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the weights come from: what the model object can't know.

    Attributes
    ----------
    weights
        Name, without folder.
    sha256
        Hash of the weights' file, hexadecimal.
    licence, origin
        For people.
    """

    weights: str
    sha256: str
    licence: str = ""
    origin: str = ""


def spec_of(model: Any, origin: Origin) -> ModelSpec:
    """Derive the ModelSpec of a SeisBench model.

    Parameters
    ----------
    model
        ``seisbench.models.WaveformModel``.
    origin
        Provenance of its weights.

    Raises
    ------
    ConfigurationError
        If the model can't be run on windows of one instrument, or its filter is not supported.
    """
    name = type(model).__name__
    in_samples = _require_runnable(model, name)
    filters, zerophase = filters_of(model, name)
    if zerophase:
        _warn_zerophase(name, origin.weights)
    blinding = _blinding(model)
    k = {**USUAL_SIGMA_SCALE, **bundled_files.read_sigma_scale(origin.sha256)}
    return ModelSpec(
        name=name,
        weights=origin.weights,
        weights_sha256=origin.sha256,
        sampling_rate=float(model.sampling_rate),
        in_samples=in_samples,
        components="".join(model.component_order),
        labels=tuple(model.labels),
        blinding=blinding,
        stacking=_stacking(model, name),
        stride=_stride(model, in_samples, blinding),
        thresholds=_thresholds(model),
        normalisation=normalisation_of(model),
        filters=filters,
        sigma_scale=k,
        citation=str(model.citation or ""),
        licence=origin.licence,
        origin=origin.origin,
        docstring=str(model.weights_docstring or ""),
        versions=_versions(),
    )


def blinded_output(outputs: npt.NDArray[np.float32], name: str) -> tuple[int, int]:
    """Count the samples at both ends that a model itself throws away, whatever it is asked for.

    Parameters
    ----------
    outputs
        Outputs of one window or more, shape (window, label, sample); NaN where thrown away.
    name
        Name of the model, for messages.

    Raises
    ------
    ConfigurationError
        If nothing is left.
    """
    missing = np.isnan(outputs).any(axis=(0, 1))
    half = len(missing) // 2
    left, right = np.flatnonzero(missing[:half]), np.flatnonzero(missing[half:])
    before = int(left[-1]) + 1 if len(left) else 0
    after = half + len(missing) % 2 - int(right[0]) if len(right) else 0
    if before + after >= len(missing):
        raise ConfigurationError(f"{name} can't be run here: its output is not a number.")
    return before, after


def normalisation_of(model: Any) -> Normalisation:
    """How a SeisBench model scales its windows, read from the function that it does it with.

    Parameters
    ----------
    model
        ``seisbench.models.WaveformModel``.

    Returns
    -------
    Normalisation
        Method ``model`` where the function is not one that this package does itself.
    """
    models = import_seisbench()
    function = getattr(type(model), "annotate_batch_pre", None)
    own = Normalisation("model")
    norm = getattr(model, "norm", None)
    if "annotate_batch_pre" in vars(model) or norm not in {"std", "peak"}:
        return own
    detrend = bool(getattr(model, "norm_detrend", False))
    per_component = bool(getattr(model, "norm_amp_per_comp", False))
    if function is models.EQTransformer.annotate_batch_pre:
        if norm == "std" and not per_component:
            return Normalisation("std", "window", detrend=detrend, taper=6)
        return Normalisation("peak", "component", detrend=detrend, taper=6)
    if function is models.PhaseNet.annotate_batch_pre:
        return Normalisation("peak" if per_component else norm, "component", detrend=detrend)
    if function is models.VariableLengthPhaseNet.annotate_batch_pre:
        axes = {axis % 3 for axis in model.norm_axis}
        if axes in ({2}, {1, 2}):
            return Normalisation(norm, "component" if axes == {2} else "window", detrend=detrend)
        return own
    if function is models.Skynet.annotate_batch_pre:
        return Normalisation(norm, "mean" if norm == "std" else "window")
    return own


def _require_runnable(model: Any, name: str) -> int:
    """Refuse models that see more, less or else than windows of one instrument.

    Returns
    -------
    int
        Window length in samples.
    """
    waveform_model = import_seisbench().WaveformModel
    if not isinstance(model, waveform_model):
        raise ConfigurationError(f"{name} is not a SeisBench WaveformModel.")
    reason = ""
    changed = [
        method
        for method in _STREAM_METHODS
        if getattr(type(model), method, None) is not getattr(waveform_model, method, None)
    ]
    if model.output_type != "array":
        reason = f"its output is of type {model.output_type!r}, not one value per sample"
    elif model._grouping.grouping != "instrument":
        reason = f"it works on groups of type {model._grouping.grouping!r}, not on instruments"
    elif not model.in_samples:
        reason = "it has no window length"
    elif not model.sampling_rate:
        reason = "it has no sampling rate"
    elif tuple(model.pred_sample) != (0, model.in_samples):
        reason = "its output doesn't cover its window sample by sample"
    elif model.labels is None or callable(model.labels):
        reason = "its outputs have no fixed labels"
    elif changed:
        reason = f"it prepares its input in its own way ({changed[0]})"
    if reason:
        raise ConfigurationError(f"{name} can't be run here: {reason}.")
    return int(model.in_samples)


def _setting(model: Any, key: str) -> Any:
    """Default of an option: the weights' own, else the architecture's, else None."""
    if key in model.default_args:
        return model.default_args[key]
    return model._annotate_args.get(key, (None, None))[1]


def _blinding(model: Any) -> tuple[int, int]:
    before, after = _setting(model, "blinding") or (0, 0)
    return int(before), int(after)


def _stacking(model: Any, name: str) -> Literal["max", "mean"]:
    value = str(_setting(model, "stacking")).lower()
    if value not in _STACKING:
        raise ConfigurationError(f"{name} stacks windows by {value!r}; only max and avg are known.")
    return _STACKING[value]


def _stride(model: Any, in_samples: int, blinding: tuple[int, int]) -> int:
    """Default stride: window less overlap, half a window where there is none."""
    half = in_samples // 2
    overlap = _setting(model, "overlap") or 0
    overlap = int(overlap * in_samples) if overlap < 1 else int(overlap)
    stride = in_samples - overlap if 0 < overlap < in_samples else half
    if stride == half + 1:  # PhaseNet: 3001 - 1500; an even stride keeps the grid on whole seconds
        stride = half
    return max(1, min(stride, in_samples - sum(blinding)))


def _thresholds(model: Any) -> dict[str, float]:
    """Trigger threshold of each label but noise and polarity, which are not picked."""
    thresholds = {}
    for label in model.labels:
        if label.upper() in _NOISE or label.startswith("Polarity"):
            continue
        keys = (f"{label}_threshold", f"{label.lower()}_threshold", "*_threshold")
        values = [_setting(model, key) for key in keys]
        thresholds[label] = float(next((value for value in values if value is not None), 0.3))
    return thresholds


@cache
def _warn_zerophase(name: str, weights: str) -> None:
    """Once for each model of a process."""
    _LOG.warning(
        "%s %s asks for a zero-phase filter; it is applied causally, because data arrive in time.",
        name,
        weights,
    )


@cache
def _versions() -> Mapping[str, str]:
    return {package: version(package) for package in ("seisbench", "torch")}
