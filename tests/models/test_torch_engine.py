"""The reference engine: shapes, purity, agreement with SeisBench."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, from_seisbench, golden
from ml_prediction.models.seisbench_home import find_class
from ml_prediction.models.torch_engine import TorchEngine, choose_device


def test_output_has_one_trace_per_label(eqt: Model) -> None:
    outputs = eqt.engine(golden.golden_input())
    assert outputs.shape == (2, 3, 6000)
    assert outputs.dtype == np.float32
    assert outputs.flags.c_contiguous
    assert np.isfinite(outputs).all()


def test_same_input_same_output(eqt: Model) -> None:
    windows = golden.golden_input()
    before = windows.copy()
    first, second = eqt.engine(windows), eqt.engine(windows)
    assert np.array_equal(first, second)
    assert np.array_equal(windows, before)


def test_batch_changes_next_to_nothing(eqt: Model) -> None:
    windows = golden.golden_input()
    alone = np.concatenate([eqt.engine(windows[:1]), eqt.engine(windows[1:])])
    assert np.abs(eqt.engine(windows) - alone).max() < 1e-5


def test_read_only_and_strided_input(eqt: Model) -> None:
    windows = golden.golden_input()
    expected = eqt.engine(windows)
    strided = np.repeat(windows, 2, axis=2)[:, :, ::2]
    windows.setflags(write=False)
    assert np.array_equal(eqt.engine(windows), expected)
    assert np.array_equal(eqt.engine(strided), expected)


def test_no_windows(eqt: Model) -> None:
    assert eqt.engine(np.zeros((0, 3, 6000), dtype=np.float32)).shape == (0, 3, 6000)


@pytest.mark.parametrize("shape", [(3, 6000), (1, 2, 6000), (1, 3, 5999)])
def test_wrong_shape_is_refused(eqt: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="must have shape"):
        eqt.engine(np.zeros(shape, dtype=np.float32))


def test_model_is_frozen(eqt: Model) -> None:
    engine: Any = eqt.engine
    assert isinstance(engine, TorchEngine)
    assert not engine.module.training
    assert not any(parameter.requires_grad for parameter in engine.module.parameters())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(engine, "device", "cuda")  # noqa: B010 (mypy sees the frozen field)


def test_own_preprocessing_is_used() -> None:
    module = find_class("EQCCTP")()
    model = from_seisbench(module, device="cpu")
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
        model = from_seisbench(find_class("PhaseNet")(), device="cpu", threads=1)
        torch.set_num_threads(2)
        model.engine(np.zeros((1, 3, 3001), dtype=np.float32))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ConfigurationError, match="threads"):
        from_seisbench(find_class("PhaseNet")(), threads=0)


def test_devices() -> None:
    assert choose_device() in {"cuda", "mps", "cpu"}
    assert choose_device("cpu") == "cpu"
    for wrong in ("abacus", "cuda:99"):
        with pytest.raises(ConfigurationError, match="can't be used"):
            choose_device(wrong)
