"""Filling, choosing and normalising: against brute force and against SeisBench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import signal

from ml_prediction.core.assembly import Assembled, Component, OneComponent, assemble
from ml_prediction.core.windows import Rooms, fill_gaps, normalise, together
from ml_prediction.models import Model, load_model
from ml_prediction.models.engines.torch_engine import TorchEngine
from ml_prediction.models.spec import Normalisation

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EQT = Normalisation("std", "window", taper=6)
PHASENET = Normalisation("std", "component")
LENGTH = 1000

flags = hnp.arrays(np.bool_, st.integers(1, 60))


# -- filling --------------------------------------------------------------------------------------


def mirrored(samples: Floats, valid: Flags) -> Floats:
    """The rule by brute force: walk from the edge into the run and back, as often as needed."""
    count = len(samples)
    result = samples.copy()

    def walk(edge: int, step: int) -> list[float]:
        """Values to and fro along the valid run that begins at ``edge`` and goes with ``step``."""
        inside = []
        at = edge
        while 0 <= at < count and valid[at]:
            inside.append(float(samples[at]))
            at += step
        endless: list[float] = []
        while len(endless) < count:
            endless += inside + inside[::-1]
        return endless

    n = 0
    while n < count:
        if valid[n]:
            n += 1
            continue
        start = n
        while n < count and not valid[n]:
            n += 1
        gap = n - start
        from_left = walk(start - 1, -1)[:gap] if start > 0 else None
        from_right = walk(n, 1)[:gap][::-1] if n < count else None
        if from_left is None:
            result[start:n] = from_right
        elif from_right is None:
            result[start:n] = from_left
        else:
            half = (gap + 1) // 2
            result[start:n] = from_left[:half] + from_right[half:]
    return result


@settings(derandomize=True, deadline=None, max_examples=300)
@given(flags)
def test_gaps_are_filled_as_the_rule_says(valid: Flags) -> None:
    assume(valid.any())
    samples = np.arange(1.0, len(valid) + 1)
    np.testing.assert_array_equal(fill_gaps(samples, valid), mirrored(samples, valid))


def test_an_example_that_can_be_read() -> None:
    samples = np.array([0, 1, 2, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0], dtype=np.float64)
    valid = np.array([0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], dtype=np.bool_)
    assert fill_gaps(samples, valid).tolist() == [1, 1, 2, 2, 1, 8, 7, 7, 8, 8, 7, 7, 8, 8]


@settings(derandomize=True, deadline=None)
@given(flags)
def test_mirroring_is_symmetric_in_time_for_even_gaps(valid: Flags) -> None:
    assume(valid.any())
    valid = np.repeat(valid, 2)
    samples = np.random.default_rng(len(valid)).normal(size=len(valid))
    there = fill_gaps(samples, valid)
    back = fill_gaps(samples[::-1].copy(), valid[::-1].copy())[::-1]
    np.testing.assert_array_equal(there, back)


def test_filling_leaves_its_input_alone_and_needs_no_gap() -> None:
    samples = np.arange(10.0)
    valid = np.arange(10) < 5
    fill_gaps(samples, valid)
    np.testing.assert_array_equal(samples, np.arange(10.0))
    np.testing.assert_array_equal(fill_gaps(samples, np.ones(10, dtype=np.bool_)), samples)


# -- normalisation --------------------------------------------------------------------------------


def windows(count: int, length: int, seed: int = 0) -> Floats:
    """Counts with offsets and very different amplitudes; one component absent, one faint."""
    generator = np.random.default_rng(seed)
    batch = generator.normal(size=(count, 3, length)) * generator.lognormal(5, 3, (count, 3, 1))
    batch += generator.normal(0, 1e4, (count, 3, 1))
    batch[0, 1] = 0.0
    if count > 1:
        batch[1, 2] *= 1e-6
    return batch


def seisbench_preprocessed(model: Model, batch: Floats) -> Floats:
    assert isinstance(model.engine, TorchEngine)
    module: Any = model.engine.module
    args = {**module.default_args} if hasattr(module, "default_args") else {}
    prepared = module.annotate_batch_pre(torch.tensor(batch, dtype=torch.float64), args)
    return np.asarray(prepared.numpy(), dtype=np.float64)


def test_normalises_as_seisbenchs_eqtransformer() -> None:
    eqt = load_model(device="cpu", engine="torch")
    batch = windows(8, eqt.spec.in_samples)
    found = [normalised(window, eqt.spec.normalisation) for window in batch]
    np.testing.assert_allclose(found, seisbench_preprocessed(eqt, batch), rtol=0, atol=1e-6)


def test_normalises_as_seisbenchs_phasenet(shared: Path) -> None:
    weights = shared / "models" / "phasenet" / "original"
    phasenet = load_model("PhaseNet", weights, device="cpu", engine="torch")
    batch = windows(8, phasenet.spec.in_samples)
    found = [normalised(window, phasenet.spec.normalisation) for window in batch]
    np.testing.assert_allclose(found, seisbench_preprocessed(phasenet, batch), rtol=0, atol=1e-6)


ALL = [
    Normalisation(method, scope, detrend, taper)
    for method in ("std", "peak")
    for scope in ("component", "window", "mean")
    for detrend, taper in ((False, 0), (True, 6))
]


def normalised(window: Floats, how: Normalisation) -> npt.NDArray[np.float32]:
    made = np.empty(window.shape, dtype=np.float32)
    normalise(list(window), how, made)
    return made


def by_steps(window: Floats, how: Normalisation) -> Floats:
    """The rule with a NumPy or SciPy call for each step."""
    window = signal.detrend(window) if how.detrend else window
    window = window - window.mean(axis=1, keepdims=True)
    if how.method == "model":
        return window
    over = None if how.scope == "window" else 1
    if how.method == "peak":
        size = np.abs(window).max(axis=over, keepdims=True)
    else:
        size = window.std(axis=over, ddof=1, keepdims=True)
        if how.scope == "window":  # components have lost their own means
            size = np.sqrt(np.square(window).sum(keepdims=True) / (window.size - 1))
    size = size.mean(keepdims=True) if how.scope == "mean" else size
    window = window / (size + how.epsilon)
    if how.taper:
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(how.taper) / (how.taper - 1))
        window[:, : how.taper] *= ramp
        window[:, -how.taper :] *= ramp[::-1]
    return window


@pytest.mark.parametrize("how", [*ALL, Normalisation("model")], ids=str)
@pytest.mark.parametrize("length", [13, 16, 64, 3001])
def test_normalises_as_the_same_steps_in_numpy(how: Normalisation, length: int) -> None:
    for window in windows(3, length):
        before = window.copy()
        expected = by_steps(window, how)
        tolerance = 1e-6 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(normalised(window, how), expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(window, before)


@pytest.mark.parametrize("how", [*ALL, Normalisation("model")], ids=str)
def test_no_bit_depends_on_where_the_samples_lie(how: Normalisation) -> None:
    window = windows(2, 3001)[1]
    expected = normalised(window, how)
    room = np.empty(window.size + 5)
    moved = room[5:].reshape(window.shape)
    moved[:] = window
    assert normalised(moved, how).tobytes() == expected.tobytes()


@pytest.mark.parametrize("how", ALL, ids=str)
def test_silence_stays_silence(how: Normalisation) -> None:
    assert not normalised(np.zeros((3, 500)), how).any()


def test_windows_made_one_after_the_other_are_a_batch_without_a_copy() -> None:
    rooms = Rooms(3, 50, 4)
    windows = [rooms.take() for _ in range(6)]
    for number, window in enumerate(windows):
        window[:] = number
    for part in (windows[:4], windows[1:3], windows[4:]):
        assert together(part).base is part[0].base
        np.testing.assert_array_equal(together(part), np.stack(part))


@pytest.mark.parametrize("order", [(1, 0), (0, 2), (3, 4), (0, 0)])
def test_windows_that_lie_otherwise_are_copied_into_a_batch(order: tuple[int, int]) -> None:
    rooms = Rooms(3, 50, 4)
    windows = [rooms.take() for _ in range(6)]
    for number, window in enumerate(windows):
        window[:] = number
    batch = together([windows[number] for number in order])
    assert batch[:, 0, 0].tolist() == list(order)
    assert not any(np.shares_memory(batch, window) for window in windows)


def test_a_window_from_elsewhere_is_copied_too() -> None:
    alone = np.ones((3, 50), dtype=np.float32)
    flat = np.arange(150, dtype=np.float32).reshape(3, 50)  # as NumPy 2 reads it from a file
    large = np.arange(300, dtype=np.float32).reshape(1, 3, 100)
    for window in (alone, flat, large[0][:, :50]):
        np.testing.assert_array_equal(together([window]), [window])
    np.testing.assert_array_equal(together([alone, alone * 2]), [alone, alone * 2])


# -- which components are used --------------------------------------------------------------------


def component(count: int = LENGTH, start: int = 0, seed: int = 0, scale: float = 1.0) -> Component:
    samples = np.zeros(LENGTH)
    valid = np.zeros(LENGTH, dtype=np.bool_)
    valid[start : start + count] = True
    samples[valid] = scale * np.random.default_rng(seed).normal(5, 1, count)
    return Component(samples, samples.copy(), valid)


def constant(value: float, count: int = LENGTH) -> Component:
    valid = np.arange(LENGTH) < count
    samples = np.where(valid, value, 0.0)
    return Component(samples, samples.copy(), valid)


def assembled(
    *parts: Component | None, one_component: OneComponent = "zero", letters: str = "ENZ"
) -> Assembled:
    return assemble(parts, letters, LENGTH, one_component)


def used(made: Assembled) -> list[int]:
    return [row for row, mask in enumerate(made.mask) if mask.any()]


@pytest.mark.parametrize(("count", "usable"), [(200, True), (199, False), (1, False)])
def test_a_fifth_of_the_window_must_be_valid_on_some_component(count: int, usable: bool) -> None:
    made = assembled(component(count, 300), component(count, 500), component(count, 700))
    assert (made.reason is None) is usable
    assert made.reason in {None, "too few samples"}


@pytest.mark.parametrize(("count", "rows"), [(400, [0, 1, 2]), (399, [0, 2])])
def test_a_component_with_less_than_half_of_the_best_is_absent(count: int, rows: list[int]) -> None:
    made = assembled(component(800), component(count), component(700))
    assert used(made) == rows
    assert made.reason is None
    for row in range(3):
        assert made.data[row].any() == (row in rows)


def test_used_components_are_filled_and_the_mask_tells_what_was_recorded() -> None:
    parts = (component(), component(600, 100, 1), component(700, 300, 2))
    made = assembled(*parts)
    for row, part in enumerate(parts):
        np.testing.assert_array_equal(made.data[row], mirrored(part.samples, part.valid))
        np.testing.assert_array_equal(made.mask[row], part.valid)


@pytest.mark.parametrize("value", [0.0, 1.0, -8e6])
def test_a_constant_component_is_absent_and_told(value: float) -> None:
    made = assembled(component(), constant(value), component())
    assert made.flat == (1,)
    assert used(made) == [0, 2]
    assert not made.data[1].any()
    assert made.reason is None


def test_a_constant_component_does_not_set_the_standard_for_the_others() -> None:
    made = assembled(constant(3.0), component(300), component(250))
    assert used(made) == [1, 2]
    assert made.reason is None


def test_a_window_of_constants_is_skipped_as_flat() -> None:
    made = assembled(constant(1.0), constant(2.0), constant(3.0))
    assert made.reason == "flat"
    assert made.flat == (0, 1, 2)


def test_a_digit_of_noise_on_a_large_offset_is_not_flat() -> None:
    samples = np.full(LENGTH, 8_000_000.0)
    samples[500] += 1
    part = Component(samples, samples, np.ones(LENGTH, dtype=np.bool_))
    assert assembled(part, part, part).flat == ()


def test_flatness_is_judged_without_the_models_filter() -> None:
    noise = component()
    filtered_to_nothing = Component(np.zeros(LENGTH), noise.unfiltered, noise.valid)
    rounding = Component(noise.samples * 1e-12, np.full(LENGTH, 7.0), noise.valid)
    assert assembled(filtered_to_nothing, noise, rounding).flat == (2,)


def test_a_constant_of_which_little_is_there_is_flat_too() -> None:
    """15 % of a window: constant over all that is known of it."""
    made = assembled(constant(4.0, 150), None, component(250))
    assert made.flat == (0,)


@pytest.mark.parametrize("count", [1, 100])
def test_a_constant_of_which_too_little_is_there_is_not_called_flat(count: int) -> None:
    """One sample is always constant: that says nothing about the sensor."""
    made = assembled(constant(4.0, count), None, component(250))
    assert made.flat == ()
    assert used(made) == [2]


def test_vertical_only_zero_clone_and_skip() -> None:
    vertical = component(700, 100)
    filled = mirrored(vertical.samples, vertical.valid)
    zero = assembled(None, None, vertical)
    assert used(zero) == [2]
    assert not zero.data[:2].any()
    np.testing.assert_array_equal(zero.data[2], filled)
    clone = assembled(None, None, vertical, one_component="clone")
    np.testing.assert_array_equal(clone.data, [filled] * 3)
    skip = assembled(None, None, vertical, one_component="skip")
    assert skip.reason == "vertical only"


@pytest.mark.parametrize("rest", [component(349), constant(1.0)])
def test_vertical_only_is_judged_in_each_window(rest: Component) -> None:
    made = assembled(rest, None, component(700), one_component="skip")
    assert made.reason == "vertical only"


@pytest.mark.parametrize("how", ["zero", "clone", "skip"])
def test_without_a_vertical_the_rest_is_zero(how: OneComponent) -> None:
    made = assembled(component(), component(seed=1), None, one_component=how)
    assert made.reason is None
    assert used(made) == [0, 1]
    assert not made.data[2].any()


@pytest.mark.parametrize("how", ["zero", "clone", "skip"])
def test_a_model_of_one_component_is_never_vertical_only(how: OneComponent) -> None:
    made = assembled(component(), one_component=how, letters="Z")
    assert made.reason is None


def test_nothing_at_all() -> None:
    made = assembled(None, None, None)
    assert made.reason == "too few samples"
    assert not made.mask.any()
