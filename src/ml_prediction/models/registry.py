"""What models there are, and whether the bundled ones are intact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import bundled_files, golden, seisbench_home, weight_files
from ml_prediction.util.digests import sha256

TOLERANCE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that can be loaded.

    Attributes
    ----------
    name, weights
        Architecture and weights; the weights are empty for a ``known`` architecture, whose weights
        are on SeisBench's server.
    status
        ``bundled`` in this package, ``cached`` by SeisBench, or ``known``.
    version
        Version of the weights; empty if unknown.
    sha256
        Hash of the weights' file, hexadecimal; empty if there is none here.
    citation, licence, origin, docstring
        Provenance; empty where unknown.
    """

    name: str
    weights: str
    status: Literal["bundled", "cached", "known"]
    version: str = ""
    sha256: str = ""
    citation: str = ""
    licence: str = ""
    origin: str = ""
    docstring: str = ""


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """Outcome of a check of bundled weights.

    Attributes
    ----------
    name, weights
        What was checked.
    sha256, sha256_expected
        Hash of the file, and what it should be.
    max_difference
        Largest difference between the outputs and the golden ones; infinite if they could not be
        computed.
    tolerance
        Largest difference that is allowed.
    """

    name: str
    weights: str
    sha256: str
    sha256_expected: str
    max_difference: float
    tolerance: float = TOLERANCE

    @property
    def ok(self) -> bool:
        """Whether the file is the right one and gives the right outputs."""
        return self.sha256 == self.sha256_expected and self.max_difference <= self.tolerance

    def __str__(self) -> str:
        state = "ok" if self.ok else "DAMAGED: reinstall the package"
        return (
            f"{self.name} {self.weights}: {state} (sha256 {self.sha256[:12]}, largest difference "
            f"{self.max_difference:.1e}, allowed {self.tolerance:.0e})"
        )


def list_models() -> list[ModelInfo]:
    """Models that can be loaded; the network is not asked.

    Returns
    -------
    list of ModelInfo
        Bundled, then cached, then known.
    """
    bundled = [_bundled(name, stem) for (name, _), stem in bundled_files.STEMS.items()]
    cached = [info for name in seisbench_home.ARCHITECTURES for info in _cached(name)]
    known = [
        ModelInfo(
            name,
            "",
            "known",
            citation=seisbench_home.instance_citation(name),
            origin="SeisBench's server",
        )
        for name in seisbench_home.ARCHITECTURES
    ]
    return bundled + cached + known


def verify_bundled(device: str = "cpu") -> VerificationResult:
    """Check the bundled EQTransformer: hash of the file, and outputs on a fixed input.

    Parameters
    ----------
    device
        As in `load_model`.

    Returns
    -------
    VerificationResult
        Damaged weights are a result, not an error.

    Raises
    ------
    ConfigurationError
        If a file is missing from the installation.
    """
    from ml_prediction.models.loading import load_model

    (name, weights), stem = next(iter(bundled_files.STEMS.items()))
    expected = golden.from_document(bundled_files.read_bytes(f"{stem}_golden.json").decode())
    found_sha = sha256(bundled_files.read_bytes(f"{stem}.safetensors"))
    expected_sha = str(bundled_files.read_metadata(stem)["sha256"])
    difference = float("inf")
    if found_sha == expected_sha:
        engine = load_model(name, weights, device=device).engine
        found = golden.summarise(engine(golden.golden_input()))
        if found.shape == expected.shape and np.isfinite(found).all():
            difference = float(np.max(np.abs(found - expected)))
    return VerificationResult(name, weights, found_sha, expected_sha, difference)


def _bundled(name: str, stem: str) -> ModelInfo:
    metadata = bundled_files.read_metadata(stem)
    return ModelInfo(
        name=name,
        weights=metadata["weights"],
        status="bundled",
        version=metadata["version"],
        sha256=sha256(bundled_files.read_bytes(f"{stem}.safetensors")),
        citation=metadata["citation"],
        licence=metadata["licence"],
        origin=metadata["origin"],
        docstring=metadata["docstring"],
    )


def _cached(name: str) -> list[ModelInfo]:
    """Weights in SeisBench's cache; a pair whose description can't be read is left out."""
    infos = []
    for files in weight_files.find_all(seisbench_home.weights_folder(name)):
        try:
            metadata = seisbench_home.read_description(files.description)
        except ConfigurationError:
            continue
        infos.append(
            ModelInfo(
                name=name,
                weights=files.base.name,
                status="cached",
                version=files.version or str(metadata.get("version", "1")),
                sha256=sha256(files.weights.read_bytes()),
                citation=str(metadata.get("citation") or seisbench_home.instance_citation(name)),
                licence=str(metadata.get("licence") or metadata.get("license") or ""),
                origin=str(files.weights),
                docstring=str(metadata.get("docstring") or ""),
            )
        )
    return infos
