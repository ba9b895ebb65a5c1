"""The same weights for everyone: a .pt/.json pair in a cache folder as SeisBench keeps it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files, weight_files

NAME: Final = "original"


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """Weights laid out for all contenders.

    Attributes
    ----------
    cache
        For SEISBENCH_CACHE_ROOT.
    base
        Path of the pair without endings; its version is 1.
    for_ours
        What `load_model` is given: the name of bundled weights, or the path above.
    """

    cache: Path
    base: Path
    for_ours: str


def lay_out(model: str, weights: Path | None, cache: Path) -> SharedWeights:
    """Put weights where SeisBench looks for them by name, so that no network is needed.

    Parameters
    ----------
    model
        Architecture.
    weights
        Path of a pair; None for the bundled ones.
    cache
        Folder to make.

    Raises
    ------
    ConfigurationError
        If there are no such weights.
    """
    folder = cache / "models" / "v3" / model.lower()
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / NAME
    pair = folder / f"{NAME}.pt.v1", folder / f"{NAME}.json.v1"
    if weights is not None:
        files = weight_files.find_path(str(weights))
        shutil.copyfile(files.weights, pair[0])
        shutil.copyfile(files.description, pair[1])
        return SharedWeights(cache, base, str(pair[1]))
    stem = bundled_files.STEMS.get((model, NAME))
    if stem is None:
        raise ConfigurationError(f"{model} has no bundled weights: give a path with --weights.")
    import torch  # seconds, and only here
    from safetensors.torch import load

    torch.save(load(bundled_files.read_weights(stem)), pair[0])
    pair[1].write_text(json.dumps(bundled_files.read_metadata(stem)), encoding="utf-8")
    return SharedWeights(cache, base, NAME)


def phasenet_weights(given: Path | None, shared: Path | None) -> Path | None:
    """Path of PhaseNet's weights: the one that was given, or the shared ones if they are there.

    Raises
    ------
    ConfigurationError
        If a path was given that has none.
    """
    if given is not None:
        weight_files.find_path(str(given))
        return given
    if shared is not None and weight_files.find_named(shared / "models" / "phasenet", NAME):
        return shared / "models" / "phasenet" / NAME
    return None
