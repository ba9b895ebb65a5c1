"""Models by name or by path: bundled, from SeisBench's cache, from its server, from files.

A compiled engine computes where there is one; what it needs of a model is exported once, checked
against torch, and kept. Then neither torch nor SeisBench is imported.
"""

from __future__ import annotations

import copy
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files, seisbench_home, weight_files
from ml_prediction.models.calibration import calibrated
from ml_prediction.models.engine import EngineName, Model
from ml_prediction.models.engines import comparison, compiled, export_cache
from ml_prediction.models.engines.export_cache import Export
from ml_prediction.models.reference import Reference, Source, load_reference, wrap

if TYPE_CHECKING:
    from ml_prediction.models.engines.openvino_engine import Precision

LATEST: Final = "latest"
_LOG = logging.getLogger(__name__)
_LOGGERS: Final = ("ml_prediction", "seisbench")


def load_model(
    name: str = "EQTransformer",
    weights: str | os.PathLike[str] = "original",
    *,
    version: str = LATEST,
    device: str = "auto",
    threads: int | None = None,
    engine: EngineName = "auto",
    calibration: str | os.PathLike[str] | None = None,
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
        ``auto`` (a GPU, else the CPU), or a torch device such as ``cpu`` or ``cuda:1``.
    threads
        CPU threads. By default OpenVINO takes one for each core, up to 16, and torch is left as
        it is.
    engine
        ``torch``, ``openvino`` (compiled, on the CPU), ``openvino-bf16`` (the same with bfloat16,
        less exact), or ``auto``: the fastest in float32 for the model and the device.
    calibration
        File that `ml-prediction calibrate` wrote: what sigma is made of, instead of the package's.

    Returns
    -------
    Model
        What it is, and what computes it.

    Raises
    ------
    ConfigurationError
        If the model is unknown or can't be run, the weights can't be found or read, the engine
        can't compute the model here, or the calibration is not of these weights.
    """
    model = _load(name, weights, version, device, threads, engine)
    return model if calibration is None else calibrated(model, calibration)


def _load(
    name: str,
    weights: str | os.PathLike[str],
    version: str,
    device: str,
    threads: int | None,
    engine: EngineName,
) -> Model:
    compile_it = _is_compiled(name, device, engine)
    source = _find(name, os.fspath(weights), not isinstance(weights, str), version)
    if not compile_it:
        return load_reference(source, device, threads).model
    key = _key(source, compiled.precision_of(engine))
    export = export_cache.read(key) if key else None
    if export is not None:
        for logger, sentence in export.warnings:
            logging.getLogger(logger).warning("%s", sentence)
        if export.difference <= compiled.TOLERANCES[compiled.precision_of(engine)]:
            spec = replace(export.spec, weights=source.label, origin=source.origin)
            return _compiled_model(replace(export, spec=spec), threads, engine)
        reference = load_reference(source, "cpu", threads)
        return _fallen_back(reference, export.difference, engine)
    with _heard() as warnings:
        reference = load_reference(source, "cpu", threads)
    return _compile(reference, threads, engine, tuple(warnings), key)


def from_seisbench(
    model: Any,
    weights: str = "custom",
    *,
    device: str = "auto",
    threads: int | None = None,
    licence: str = "",
    origin: str = "SeisBench model object",
    engine: EngineName = "auto",
) -> Model:
    """Wrap a copy of a SeisBench model object that you already have, ready to run.

    Parameters
    ----------
    model
        ``seisbench.models.WaveformModel``.
    weights
        Name to report for its weights.
    device, threads, engine
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
        If the model can't be run, or the engine can't compute it here.
    """
    if not hasattr(model, "state_dict"):
        raise ConfigurationError(f"{type(model).__name__} is not a SeisBench WaveformModel.")
    name = type(model).__name__
    own_class = type(model).__module__.startswith("seisbench.models.")
    compile_it = _is_compiled(name if own_class else "", device, engine)
    chosen = "cpu" if compile_it else device
    reference = wrap(copy.deepcopy(model), weights, licence, origin, chosen, threads)
    return _compile(reference, threads, engine) if compile_it else reference.model


def _find(name: str, text: str, is_path: bool, version: str) -> Source:
    """Where the weights are; they are downloaded if need be."""
    if is_path or weight_files.looks_like_path(text):
        files = weight_files.find_path(text, version)
        return Source(name, files.base.name, str(files.weights), files)
    stem = bundled_files.STEMS.get((name, text))
    if stem is not None and version in {LATEST, "1"}:
        return Source(name, text, bundled_files.read_metadata(stem)["origin"], stem=stem)
    folder = seisbench_home.weights_folder(name)
    found = weight_files.find_named(folder, text, version)
    if found is None:
        seisbench_home.download(name, text, version)
        found = weight_files.find_named(folder, text, version)
    if found is None:
        raise ConfigurationError(f"SeisBench downloaded no weights {text!r} of {name} to {folder}.")
    return Source(name, text, f"SeisBench, {found.weights.name}", found)


# -- engines ----------------------------------------------------------------------------------


def _is_compiled(name: str, device: str, engine: EngineName) -> bool:
    """Whether the compiled engine is to compute the model.

    Raises
    ------
    ConfigurationError
        If that was asked for and is impossible, or the engine is unknown.
    """
    if engine not in get_args(EngineName):
        known = ", ".join(get_args(EngineName))
        raise ConfigurationError(f"Unknown engine {engine!r}; known are: {known}.")
    if engine == "torch":
        return False
    reason = compiled.why_not(name, compiled.precision_of(engine))
    if engine != "auto":
        if device not in {"auto", "cpu"}:
            reason = f"it computes on the CPU, not on {device!r}"
        if reason is not None:
            raise ConfigurationError(
                f"Engine {engine!r} can't be used: {reason}. Use the engine 'auto' or 'torch'."
            )
        return True
    return reason is None and (device == "cpu" or (device == "auto" and not _has_accelerator()))


def _has_accelerator() -> bool:
    """Whether torch would find a GPU; torch is imported only where there may be one."""
    devices = Path("/dev")
    signs = (
        shutil.which("nvidia-smi") is not None,
        any(devices.glob("nvidia[0-9]*")),
        (devices / "kfd").exists(),  # AMD's
        sys.platform == "darwin" and platform.machine() == "arm64",
    )
    if not any(signs):
        return False
    from ml_prediction.models.engines.torch_engine import choose_device

    return choose_device("auto") != "cpu"


def _key(source: Source, precision: Precision) -> str:
    """Name of the export of a source; empty where its files can't be read, which torch explains."""
    from ml_prediction.models.engines.openvino_engine import runtime_name

    try:
        return export_cache.key_of(source.name, source.contents(), runtime_name(precision))
    except OSError:
        return ""


def _compile(
    reference: Reference,
    threads: int | None,
    engine: EngineName,
    warnings: tuple[tuple[str, str], ...] = (),
    key: str = "",
) -> Model:
    """Compiled engine of a model, if it does what torch does; kept under its key."""
    spec = reference.model.spec
    precision = compiled.precision_of(engine)
    version = export_cache.version_of("openvino")
    if precision != "f32":
        version += f" {precision}"
    spec = replace(spec, versions={**spec.versions, "openvino": version})
    weights = reference.state()
    _LOG.info("%s is compiled for this machine, and compared with torch.", spec.id)
    made = compiled.make_engine(spec, reference.arguments, weights, threads)
    difference = comparison.difference(made, reference.model.engine, spec)
    if precision != "f32":
        right = difference <= compiled.TOLERANCES["f32"]  # of less precision can't be told
        made = compiled.make_engine(spec, reference.arguments, weights, threads, precision)
        drift = comparison.difference(made, reference.model.engine, spec)
        _LOG.info("%s: %s changes probabilities by up to %.2g.", spec.id, precision, drift)
        difference = drift if right else float("inf")
    if key:
        export = Export(spec, reference.arguments, difference, warnings, weights)
        export_cache.write(key, export)
    if difference <= compiled.TOLERANCES[precision]:  # NaN is not
        return Model(spec, made)
    return _fallen_back(reference, difference, engine)


def _compiled_model(export: Export, threads: int | None, engine: EngineName) -> Model:
    precision = compiled.precision_of(engine)
    made = compiled.make_engine(export.spec, export.arguments, export.weights, threads, precision)
    return Model(export.spec, made)


def _fallen_back(reference: Reference, difference: float, engine: EngineName) -> Model:
    """Torch, because the compiled engine was found to differ from it."""
    allowed = compiled.TOLERANCES[compiled.precision_of(engine)]
    complaint = (
        f"{reference.model.spec.id}: compiled by OpenVINO for this processor, its probabilities "
        f"differ from torch's by {difference:.1e} (allowed {allowed:.0e})"
    )
    if engine != "auto":
        raise ConfigurationError(f"{complaint}. Use the engine 'torch', and report this.")
    _LOG.warning("%s; torch computes instead, more slowly. Please report this.", complaint)
    return reference.model


class _Ear(logging.Handler):
    """Collects warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.name, record.getMessage()))


@contextmanager
def _heard() -> Iterator[list[tuple[str, str]]]:
    """What is logged as a warning in this context: (logger, sentence)."""
    ear = _Ear()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(ear)
    try:
        yield ear.found
    finally:
        for logger in loggers:
            logger.removeHandler(ear)
