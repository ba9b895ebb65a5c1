"""What holds for every engine: shapes, purity, independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, golden, load_model
from ml_prediction.models.engine import ConcurrentEngine


@pytest.fixture(scope="module", params=["torch", "openvino"])
def eqt(request: pytest.FixtureRequest) -> Model:
    """The bundled EQTransformer, computed by each engine."""
    return load_model(device="cpu", engine=request.param)


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


def test_passes_under_way_do_not_mix(eqt: Model) -> None:
    engine = eqt.engine
    assert isinstance(engine, ConcurrentEngine)
    assert engine.batch_size >= 1
    assert engine.under_way >= 1
    windows = np.random.default_rng(3).standard_normal((24, 3, 6000)).astype(np.float32)
    batches = [windows[:7], windows[7:8], windows[8:24], windows[3:6]]
    tickets = [engine.start(batch) for batch in batches]
    for batch, ticket in reversed(list(zip(batches, tickets, strict=True))):
        assert np.abs(ticket.result() - engine(batch)).max() < 1e-6


def test_any_number_of_windows(eqt: Model) -> None:
    windows = np.random.default_rng(4).standard_normal((37, 3, 6000)).astype(np.float32)
    whole = eqt.engine(windows)
    one_by_one = np.concatenate([eqt.engine(window[None]) for window in windows])
    assert whole.shape == (37, 3, 6000)
    assert np.abs(whole - one_by_one).max() < 1e-6
