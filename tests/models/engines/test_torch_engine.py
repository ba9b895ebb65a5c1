"""The reference engine: a frozen SeisBench model on a device of torch's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import from_seisbench, load_model
from ml_prediction.models.engines.torch_engine import TorchEngine, choose_device
from ml_prediction.models.seisbench_home import find_class


def test_model_is_frozen() -> None:
    engine: Any = load_model(device="cpu", engine="torch").engine
    assert isinstance(engine, TorchEngine)
    assert not engine.module.training
    assert not any(parameter.requires_grad for parameter in engine.module.parameters())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(engine, "device", "cuda")  # noqa: B010 (mypy sees the frozen field)


def test_own_preprocessing_is_used() -> None:
    module = find_class("EQCCTP")()
    model = from_seisbench(module, device="cpu", engine="torch")
    assert model.spec.normalisation.method == "model"
    raw = np.random.default_rng(1).normal(5.0, 100.0, (2, 3, 6000)).astype(np.float32)
    module.eval()
    with torch.no_grad():
        prepared = module.annotate_batch_pre(torch.from_numpy(raw.copy()), argdict={})
        expected = module.annotate_batch_post(module(prepared), None, {"blinding": (0, 0)})
    assert np.allclose(model.engine(raw), expected.numpy().transpose(0, 2, 1), atol=1e-6)


def test_threads_are_set_on_purpose() -> None:
    before = torch.get_num_threads()
    try:
        model = from_seisbench(find_class("PhaseNet")(), device="cpu", threads=1, engine="torch")
        torch.set_num_threads(2)
        model.engine(np.zeros((1, 3, 3001), dtype=np.float32))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ConfigurationError, match="threads"):
        from_seisbench(find_class("PhaseNet")(), threads=0, engine="torch")


def test_devices() -> None:
    assert choose_device() in {"cuda", "mps", "cpu"}
    assert choose_device("cpu") == "cpu"
    for wrong in ("abacus", "cuda:99"):
        with pytest.raises(ConfigurationError, match="can't be used"):
            choose_device(wrong)
