"""SeisBench's models as torch engines: the reference, and what other engines are made from."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files, seisbench_home
from ml_prediction.models.engine import Model
from ml_prediction.models.weight_files import WeightFiles
from ml_prediction.util.digests import sha256


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's weights are.

    Attributes
    ----------
    name
        Architecture.
    label
        Name of the weights.
    origin
        For people.
    files
        Weights and description; None for bundled ones.
    stem
        File stem of bundled weights; empty for others.
    """

    name: str
    label: str
    origin: str
    files: WeightFiles | None = None
    stem: str = ""

    def contents(self) -> tuple[bytes, bytes]:
        """Bytes of the weights and of the description.

        Raises
        ------
        ConfigurationError
            If bundled weights are damaged.
        OSError
            If a file can't be read.
        """
        if self.files is None:
            weights = bundled_files.read_weights(self.stem)
            return weights, bundled_files.read_bytes(f"{self.stem}.json")
        return self.files.weights.read_bytes(), self.files.description.read_bytes()


@dataclass(frozen=True, slots=True)
class Reference:
    """A SeisBench model with a torch engine.

    Attributes
    ----------
    model
        Ready to run.
    module
        SeisBench model object in it.
    """

    model: Model
    module: Any

    @property
    def arguments(self) -> dict[str, Any]:
        """``model_args`` of the description."""
        return dict(self.module.get_model_args())

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """State dictionary: the floating-point tensors, by name."""
        tensors = self.module.state_dict()
        return {
            name: tensor.detach().cpu().numpy()
            for name, tensor in tensors.items()
            if tensor.is_floating_point()
        }


def load_reference(source: Source, device: str, threads: int | None) -> Reference:
    """Load a model with torch, after a trial run on silence.

    Raises
    ------
    ConfigurationError
        If the model can't be run, or its weights or description can't be read.
    """
    if source.files is None:
        return _load_bundled(source, device, threads)
    return _load_files(source, source.files, device, threads)


def wrap(
    module: Any, label: str, licence: str, origin: str, device: str, threads: int | None
) -> Reference:
    """Engine of a SeisBench model object, which it takes over; the hash is that of the tensors.

    Raises
    ------
    ConfigurationError
        If the model can't be run.
    """
    return _assemble(module, label, _tensors_sha256(module), licence, origin, device, threads)


def _load_bundled(source: Source, device: str, threads: int | None) -> Reference:
    """Bundled weights: no network, nothing written."""
    from safetensors.torch import load

    content = bundled_files.read_weights(source.stem)
    metadata = bundled_files.read_metadata(source.stem)
    module = _instance(source.name, metadata, source.stem)
    _fill(module, load(content), source.stem)
    digest = sha256(content)
    licence = metadata["licence"]
    return _assemble(module, source.label, digest, licence, source.origin, device, threads)


def _load_files(source: Source, files: WeightFiles, device: str, threads: int | None) -> Reference:
    """Weights of a pair of files."""
    metadata = seisbench_home.read_description(files.description)
    module = _instance(source.name, metadata, str(files.description))
    _fill(module, _read_tensors(files), str(files.weights))
    module._version_warnings(files.base.name, files.version or str(metadata.get("version", "1")))
    digest = sha256(files.weights.read_bytes())
    licence = str(metadata.get("licence") or metadata.get("license") or "")
    return _assemble(module, source.label, digest, licence, source.origin, device, threads)


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
) -> Reference:
    """Spec and engine of a SeisBench model, after a trial run on silence."""
    from ml_prediction.models.engines.cuda_graph_engine import faster
    from ml_prediction.models.engines.torch_engine import TorchEngine
    from ml_prediction.models.seisbench_spec import Origin, blinded_output, spec_of

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
    spec = dataclasses.replace(spec, blinding=blinding)
    return Reference(Model(spec, faster(engine, spec)), module)


def _tensors_sha256(model: Any) -> str:
    """Hash of a model's tensors: name, type, shape and bytes of each, in the model's order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
