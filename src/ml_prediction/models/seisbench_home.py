"""SeisBench's import, its cache folder and its server, kept in check.

Importing SeisBench creates its cache folder, in the home directory by default. Bundled weights
don't need it, and a home may be read-only, so nothing is created before a download.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.weight_files import version_key

ARCHITECTURES: Final = (
    "BasicPhaseAE",
    "EQCCTP",
    "EQCCTS",
    "EQTP",
    "EQTransformer",
    "LFEDetect",
    "OBSTransformer",
    "PhaseNet",
    "PhaseNetLight",
    "Skynet",
    "VariableLengthPhaseNet",
)
"""SeisBench's architectures that can be run."""

_VARIABLE: Final = "SEISBENCH_CACHE_ROOT"


def cache_root() -> Path:
    """SeisBench's cache folder, which need not exist.

    Source: SeisBench 0.12.6, ``seisbench/__init__.py``.
    """
    loaded = sys.modules.get("seisbench")
    if loaded is not None:
        return Path(loaded.cache_root)
    return Path(os.environ.get(_VARIABLE) or Path("~").expanduser() / ".seisbench")


def weights_folder(architecture: str) -> Path:
    """Folder of the cached weights of an architecture, which need not exist."""
    return cache_root() / "models" / "v3" / architecture.lower()


def import_seisbench() -> ModuleType:
    """Import ``seisbench.models`` without creating SeisBench's cache folder."""
    root = cache_root()
    if "seisbench" in sys.modules or (root / "config.json").is_file():
        return importlib.import_module("seisbench.models")
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = folder
        try:
            seisbench: Any = importlib.import_module("seisbench")
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before
    seisbench.cache_root = root
    seisbench.cache_data_root = root / "datasets"
    seisbench.cache_model_root = root / "models" / "v3"
    seisbench.cache_aux_root = root / "auxiliary"
    return importlib.import_module("seisbench.models")


def find_class(architecture: str) -> Any:
    """SeisBench's class of an architecture.

    Raises
    ------
    ConfigurationError
        If there is none, or it is not a model of waveforms.
    """
    models = import_seisbench()
    found = getattr(models, architecture, None)
    if not (isinstance(found, type) and issubclass(found, models.WaveformModel)):
        raise ConfigurationError(
            f"there is no model {architecture!r}; known are {', '.join(ARCHITECTURES)}."
        )
    return found


@cache
def instance_citation(architecture: str) -> str:
    """Citation of an architecture, which SeisBench keeps on its instances."""
    return str(find_class(architecture)().citation or "")


def download(architecture: str, weights: str, version: str) -> None:
    """Fetch weights from SeisBench's server into its cache.

    Parameters
    ----------
    architecture, weights
        Names, e.g. PhaseNet and stead.
    version
        Version of the weights, or ``latest``.

    Raises
    ------
    ConfigurationError
        If the server can't be reached, doesn't have the weights, or the cache can't be written.
    """
    model_class = find_class(architecture)
    folder = weights_folder(architecture)
    _require_server(architecture, weights)
    try:
        if version == "latest":
            versions = model_class.list_versions(weights, remote=True)
            if not versions:
                available = ", ".join(model_class.list_pretrained(remote=True))
                raise ConfigurationError(
                    f"SeisBench has no weights {weights!r} of {architecture}; "
                    f"it has {available or 'none'}."
                )
            version = max(versions, key=version_key)
        paths = model_class._pretrained_path(weights, version)
        model_class._ensure_weight_files(weights, version, *paths, force=True, wait_for_file=False)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        if getattr(error, "filename", None) is None:
            raise _unavailable(architecture, weights, str(error)) from error
        raise ConfigurationError(
            f"the weights {weights!r} of {architecture} can't be stored in {folder} ({error}); "
            f"set {_VARIABLE} to a folder that can be written."
        ) from error


def _unavailable(architecture: str, weights: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the weights {weights!r} of {architecture} are neither in the package nor in "
        f"{weights_folder(architecture)}, and can't be had from SeisBench's server ({reason}): "
        "connect to the network once, copy their .pt and .json files into that folder, or give "
        "the path of such a pair."
    )


def _require_server(architecture: str, weights: str) -> None:
    """Fail at once where SeisBench's server is out of reach: SeisBench itself may wait minutes."""
    seisbench: Any = importlib.import_module("seisbench")
    request = urllib.request.Request(seisbench.remote_model_root, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=5.0).close()
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        if "CERTIFICATE" in str(error).upper():
            return  # it answers; SeisBench brings its own certificates
        raise _unavailable(architecture, weights, _reason(error)) from error


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", "") or error)


def read_description(path: Path) -> dict[str, Any]:
    """Content of one of SeisBench's .json files.

    Raises
    ------
    ConfigurationError
        If it is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} is not a description of weights: it is no JSON object.")
    return content
