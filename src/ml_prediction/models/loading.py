"""Models by name or by path: bundled, from SeisBench's cache, from its server, from files."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import pickle
from typing import Any, Final

import numpy as np

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files, seisbench_home, weight_files
from ml_prediction.models.engine import Model
from ml_prediction.models.weight_files import WeightFiles

LATEST: Final = "latest"


def load_model(
    name: str = "EQTransformer",
    weights: str | os.PathLike[str] = "original",
    *,
    version: str = LATEST,
    device: str = "auto",
    threads: int | None = None,
) -> Model:
    """Load a model with trained weights, ready to run.

    Parameters
    ----------
    name
        Architecture: the name of one of SeisBench's classes, e.g. EQTransformer or PhaseNet.
    weights
        Name, or path of a .pt/.json pair as SeisBench writes it, with or without ending. A name is
        looked up in this package, then in SeisBench's cache, then on SeisBench's server.
    version
        Version of the weights; the newest by default.
    device
        ``auto``, or a torch device such as ``cpu`` or ``cuda:1``.
    threads
        CPU threads of torch for the whole process; left alone by default.

    Returns
    -------
    Model
        What it is, and what computes it.

    Raises
    ------
    ConfigurationError
        If the model is unknown or can't be run, or the weights can't be found or read.
    """
    text = os.fspath(weights)
    if not isinstance(weights, str) or weight_files.looks_like_path(text):
        files = weight_files.find_path(text, version)
        origin = str(files.weights)
        return _load_files(name, files, files.base.name, origin, device, threads)
    stem = bundled_files.STEMS.get((name, text))
    if stem is not None and version in {LATEST, "1"}:
        return _load_bundled(name, text, stem, device, threads)
    folder = seisbench_home.weights_folder(name)
    found = weight_files.find_named(folder, text, version)
    if found is None:
        seisbench_home.download(name, text, version)
        found = weight_files.find_named(folder, text, version)
    if found is None:
        raise ConfigurationError(f"SeisBench downloaded no weights {text!r} of {name} to {folder}.")
    origin = f"SeisBench, {found.weights.name}"
    return _load_files(name, found, text, origin, device, threads)


def from_seisbench(
    model: Any,
    weights: str = "custom",
    *,
    device: str = "auto",
    threads: int | None = None,
    licence: str = "",
    origin: str = "SeisBench model object",
) -> Model:
    """Wrap a copy of a SeisBench model object that you already have, ready to run.

    Parameters
    ----------
    model
        ``seisbench.models.WaveformModel``.
    weights
        Name to report for its weights.
    device, threads
        As in `load_model`.
    licence, origin
        Provenance to report.

    Returns
    -------
    Model
        Its ``weights_sha256`` is that of the tensors, names included.

    Raises
    ------
    ConfigurationError
        If the model can't be run.
    """
    if not hasattr(model, "state_dict"):
        raise ConfigurationError(f"{type(model).__name__} is not a SeisBench WaveformModel.")
    digest = _tensors_sha256(model)
    return _assemble(copy.deepcopy(model), weights, digest, licence, origin, device, threads)


def _load_bundled(name: str, weights: str, stem: str, device: str, threads: int | None) -> Model:
    """Bundled weights: no network, no cache, nothing written."""
    from safetensors.torch import load

    content = bundled_files.read_weights(stem)
    metadata = bundled_files.read_metadata(stem)
    module = _instance(name, metadata, stem)
    _fill(module, load(content), stem)
    digest = hashlib.sha256(content).hexdigest()
    licence, origin = metadata["licence"], metadata["origin"]
    return _assemble(module, weights, digest, licence, origin, device, threads)


def _load_files(
    name: str, files: WeightFiles, label: str, origin: str, device: str, threads: int | None
) -> Model:
    """Weights of a pair of files."""
    metadata = seisbench_home.read_description(files.description)
    module = _instance(name, metadata, str(files.description))
    _fill(module, _read_tensors(files), str(files.weights))
    module._version_warnings(files.base.name, files.version or str(metadata.get("version", "1")))
    digest = hashlib.sha256(files.weights.read_bytes()).hexdigest()
    licence = str(metadata.get("licence") or metadata.get("license") or "")
    return _assemble(module, label, digest, licence, origin, device, threads)


def _read_tensors(files: WeightFiles) -> Any:
    import torch

    try:
        return torch.load(files.weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ConfigurationError(
            f"{files.weights} is not a file of plain PyTorch weights; save it again with "
            "SeisBench's model.save, or get another copy."
        ) from error


def _instance(name: str, metadata: dict[str, Any], where: str) -> Any:
    """Make an untrained SeisBench model with the arguments of a description."""
    model_class = seisbench_home.find_class(name)
    try:
        model_class._check_version_requirement(metadata)
        module = model_class(**metadata.get("model_args", {}))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{where} doesn't describe a {name} ({error}).") from error
    module._weights_metadata = metadata
    module._parse_metadata()
    return module


def _fill(module: Any, tensors: Any, where: str) -> None:
    """Put weights into a model."""
    try:
        module.load_state_dict(tensors)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"the weights in {where} don't fit a {module.name}: give the architecture they were "
            f"trained with ({reason})"
        ) from error


def _assemble(
    module: Any,
    weights: str,
    digest: str,
    licence: str,
    origin: str,
    device: str,
    threads: int | None,
) -> Model:
    """Spec and engine of a SeisBench model, after a trial run on silence."""
    from ml_prediction.models.seisbench_spec import Origin, blinded_output, spec_of
    from ml_prediction.models.torch_engine import TorchEngine

    spec = spec_of(module, Origin(weights, digest, licence, origin))
    preprocess = spec.normalisation.method == "model"
    engine = TorchEngine.build(
        module, labels=len(spec.labels), device=device, preprocess=preprocess, threads=threads
    )
    silence = np.zeros((1, len(spec.components), spec.in_samples), dtype=np.float32)
    expected = (1, len(spec.labels), spec.in_samples)
    try:
        outputs = engine(silence)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ConfigurationError(
            f"{spec.name} can't be run here: it doesn't take windows of {spec.in_samples} samples "
            f"of {spec.components} ({str(error) or type(error).__name__})."
        ) from error
    if outputs.shape != expected:
        raise ConfigurationError(
            f"{spec.name} can't be run here: its output has shape {outputs.shape}, not {expected}."
        )
    own = blinded_output(outputs, spec.name)
    blinding = (max(spec.blinding[0], own[0]), max(spec.blinding[1], own[1]))
    return Model(dataclasses.replace(spec, blinding=blinding), engine)


def _tensors_sha256(model: Any) -> str:
    """Hash of a model's tensors: name, type, shape and bytes of each, in the model's order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
