"""Compiled graphs compute what SeisBench's models compute, whatever their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_prediction.models import from_seisbench, load_model
from ml_prediction.models.engine import Model
from ml_prediction.models.engines.openvino_engine import OpenVinoEngine
from ml_prediction.models.seisbench_home import find_class

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("EQTransformer", {}),
    ("EQTransformer", {"original_compatible": "conservative"}),
    ("EQTransformer", {"original_compatible": "non-conservative", "lstm_blocks": 2}),
    ("EQTransformer", {"in_samples": 3001, "classes": 3, "phases": "PSX", "lstm_blocks": 1}),
    ("EQTransformer", {"in_samples": 4096, "classes": 1, "phases": "P"}),
    ("EQTransformer", {"in_samples": 6002, "component_order": "ZNE"}),
    ("PhaseNet", {}),
    ("PhaseNet", {"filter_factor": 2, "classes": 4, "phases": "PSNX"}),
    ("PhaseNet", {"norm": "peak", "in_channels": 1, "component_order": "Z"}),
]


def randomised(name: str, arguments: dict[str, Any]) -> Any:
    """A model that has learnt nothing, with batch statistics that are not trivial."""
    torch.manual_seed(7)
    module = find_class(name)(**arguments)
    for key, tensor in module.state_dict().items():
        if key.endswith("running_mean"):
            tensor.normal_(0.0, 0.3)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.1 * torch.randn_like(tensor))
    return module


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
def test_same_output_as_torch(name: str, arguments: dict[str, Any]) -> None:
    module = randomised(name, arguments)
    compiled = from_seisbench(module, device="cpu", engine="openvino", threads=1)
    reference = from_seisbench(module, device="cpu", engine="torch")
    assert isinstance(compiled.engine, OpenVinoEngine)
    shape = (5, len(compiled.spec.components), compiled.spec.in_samples)
    windows = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expected = reference.engine(windows)
    assert np.ptp(expected) > 1e-3
    assert np.abs(compiled.engine(windows) - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("EQTransformer", "original"),
        ("EQTransformer", "original_nonconservative"),
        ("PhaseNet", "original"),
    ],
)
def test_trained_weights_on_earthquakes(shared: Path, name: str, weights: str) -> None:
    path = shared / "models" / name.lower() / weights
    compiled, reference = (
        load_model(name, path, device="cpu", engine=engine) for engine in ("openvino", "torch")
    )
    windows = labelled_windows(shared, compiled)
    expected = reference.engine(windows)
    assert expected.max(axis=(0, 2))[compiled.spec.labels.index("P")] > 0.5
    assert np.abs(compiled.engine(windows) - expected).max() < 1e-5


def labelled_windows(shared: Path, model: Model) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Real earthquakes, demeaned and scaled, shape (window, component, sample)."""
    samples = model.spec.in_samples
    files = sorted((shared / "data" / "labelled_windows").rglob("*.npz"))
    assert files
    found = [np.load(file)["data"][1500 : 1500 + samples].T for file in files[:40]]
    batch = np.stack(found).astype(np.float64)
    batch -= batch.mean(axis=-1, keepdims=True)
    batch /= batch.std(axis=(1, 2), keepdims=True) + 1e-10
    return np.asarray(batch, dtype=np.float32)
