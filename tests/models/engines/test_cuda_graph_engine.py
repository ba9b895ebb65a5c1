"""Recorded forward passes: what they give is what steps launched one by one give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import from_seisbench, load_model
from ml_prediction.models.engine import Engine, Model
from ml_prediction.models.engines import cuda_graph_engine
from ml_prediction.models.engines.cuda_graph_engine import CudaGraphEngine, faster
from ml_prediction.models.engines.torch_engine import GPU_BATCH, TorchEngine
from ml_prediction.models.seisbench_home import find_class

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU on this machine"
)


def windows(model: Model, count: int) -> npt.NDArray[np.float32]:
    shape = (count, len(model.spec.components), model.spec.in_samples)
    return np.random.default_rng(count).standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def on_gpu() -> Model:
    return load_model(device="cuda")


@needs_gpu
def test_recording_gives_what_torch_gives_on_the_cpu(on_gpu: Model) -> None:
    assert isinstance(on_gpu.engine, CudaGraphEngine)
    batch = windows(on_gpu, 20)
    expected = load_model(device="cpu", engine="torch").engine(batch)
    found = on_gpu.engine(batch)
    assert found.flags.c_contiguous
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5


@needs_gpu
@pytest.mark.parametrize("count", [0, 1, GPU_BATCH - 1, GPU_BATCH, 2 * GPU_BATCH + 3])
def test_outputs_of_a_window_do_not_depend_on_its_batch(on_gpu: Model, count: int) -> None:
    batch = windows(on_gpu, count)
    together = on_gpu.engine(batch)
    assert together.shape == (count, len(on_gpu.spec.labels), on_gpu.spec.in_samples)
    for index in {0, count // 2, count - 1} if count else ():
        assert np.array_equal(on_gpu.engine(batch[index : index + 1])[0], together[index])


@needs_gpu
def test_passes_under_way_keep_their_own_outputs(on_gpu: Model) -> None:
    engine = on_gpu.engine
    assert isinstance(engine, CudaGraphEngine)
    batches = [windows(on_gpu, count) for count in (5, 256, 17, 1, 30)]
    expected = [engine(batch) for batch in batches]
    tickets = [engine.start(batch) for batch in batches]
    for ticket, outputs in zip(tickets, expected, strict=True):
        assert np.array_equal(ticket.result(), outputs)


@needs_gpu
def test_wrong_shape_is_refused(on_gpu: Model) -> None:
    with pytest.raises(ConfigurationError, match=r"\(windows, 3, 6000\)"):
        on_gpu.engine(np.zeros((2, 3, 3001), dtype=np.float32))


@needs_gpu
@pytest.mark.parametrize("name", ["EQCCTP", "PhaseNet"])
def test_other_architectures_give_what_they_give_on_the_cpu(name: str) -> None:
    module = find_class(name)()
    reference = from_seisbench(module, device="cpu", engine="torch")
    model = from_seisbench(module, device="cuda")
    batch = windows(model, 3)
    assert np.abs(model.engine(batch) - reference.engine(batch)).max() < 1e-5


@needs_gpu
def test_what_can_not_be_recorded_runs_step_by_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    phasenet: Any = find_class("PhaseNet")
    forward = phasenet.forward

    def asks(module: Any, x: Any, *arguments: Any, **options: Any) -> Any:
        assert float(x.abs().max()) >= 0  # the host waits for the GPU: no recording can
        return forward(module, x, *arguments, **options)

    monkeypatch.setattr(phasenet, "forward", asks)
    module = phasenet()
    reference = from_seisbench(module, device="cpu", engine="torch")
    model = from_seisbench(module, device="cuda")
    assert isinstance(model.engine, TorchEngine)
    assert "step by step" in caplog.text
    batch = windows(model, 3)
    assert np.abs(model.engine(batch) - reference.engine(batch)).max() < 1e-5


def steps_of_phasenet() -> tuple[TorchEngine, Model]:
    model = from_seisbench(find_class("PhaseNet")(), device="cpu", engine="torch")
    assert isinstance(model.engine, TorchEngine)
    return model.engine, model


def test_nothing_is_recorded_on_the_cpu() -> None:
    steps, model = steps_of_phasenet()
    assert faster(steps, model.spec) is steps


def test_a_recording_that_fails_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steps, model = steps_of_phasenet()
    steps = replace(steps, device="cuda")

    def fails(*_: object) -> Engine:
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(cuda_graph_engine, "_record", fails)
    assert faster(steps, model.spec) is steps
    assert "step by step on the GPU, more slowly: out of memory" in caplog.text


@pytest.mark.parametrize("error", [1e-4, float("nan")])
def test_a_recording_that_computes_something_else_is_not_used(
    error: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steps, model = steps_of_phasenet()
    differing = replace(steps, device="cuda")
    monkeypatch.setattr(TorchEngine, "_full_precision", lambda *_: torch.inference_mode())
    monkeypatch.setattr(TorchEngine, "_to_device", lambda _, batch: torch.tensor(batch))

    def record(*_: object) -> Engine:
        return lambda batch: steps(batch) + np.float32(error)

    monkeypatch.setattr(cuda_graph_engine, "_record", record)
    assert faster(differing, model.spec) is differing
    assert "Please report this" in caplog.text


def test_a_recording_that_computes_the_same_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, model = steps_of_phasenet()
    on_gpu = replace(steps, device="cuda")
    monkeypatch.setattr(TorchEngine, "_full_precision", lambda *_: torch.inference_mode())
    monkeypatch.setattr(TorchEngine, "_to_device", lambda _, batch: torch.tensor(batch))
    monkeypatch.setattr(cuda_graph_engine, "_record", lambda *_: steps.__call__)
    assert faster(on_gpu, model.spec) is not on_gpu
