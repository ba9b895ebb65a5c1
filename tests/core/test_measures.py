"""Signal-to-noise ratio, amplitude and first motion of synthetic onsets."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.measures import NOTHING, measure_level, measure_polarity

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RATE = 100.0
PICK = 1000
OFFSET = 5000.0


def all_valid() -> Flags:
    return np.ones(2000, dtype=np.bool_)


def onset(size: float, seed: int = 0, frequency: float = 4.0) -> Floats:
    """Noise of deviation 1 on an offset, and from PICK on a decaying sine."""
    samples = np.random.default_rng(seed).normal(0, 1, 2000)
    times = np.arange(1000) / RATE
    samples[PICK:] += size * np.sin(2 * np.pi * frequency * times) * np.exp(-times)
    return samples + OFFSET


def test_level_by_hand() -> None:
    samples = onset(80.0)
    level = measure_level(samples, all_valid(), PICK, RATE)
    noise, signal = samples[PICK - 500 : PICK - 49], samples[PICK : PICK + 101]
    assert level.mean == pytest.approx(noise.mean())
    assert level.deviation == pytest.approx(noise.std())
    assert level.snr == pytest.approx(signal.std() / noise.std())
    assert level.amplitude == pytest.approx(np.abs(signal - noise.mean()).max())


@settings(derandomize=True, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0.1, 1e4))
def test_an_offset_changes_nothing_and_a_factor_only_the_amplitude(
    offset: float, factor: float
) -> None:
    plain = measure_level(onset(50.0), all_valid(), PICK, RATE)
    other = measure_level(onset(50.0) * factor + offset, all_valid(), PICK, RATE)
    assert other.snr == pytest.approx(plain.snr, rel=1e-4)
    assert other.amplitude == pytest.approx(plain.amplitude * factor, rel=1e-4, abs=1e-6)


def test_what_lies_just_before_the_pick_is_neither_noise_nor_signal() -> None:
    samples = onset(50.0)
    loud = samples.copy()
    loud[PICK - 49 : PICK] += 1e6
    loud[PICK + 101 :] += 1e6
    assert measure_level(loud, all_valid(), PICK, RATE) == measure_level(
        samples, all_valid(), PICK, RATE
    )


@pytest.mark.parametrize(("begin", "count"), [(-500, 91), (0, 21), (-200, 91), (50, 21)])
def test_nan_with_less_than_four_fifths_of_noise_or_signal(begin: int, count: int) -> None:
    valid = all_valid()
    valid[PICK + begin : PICK + begin + count] = False
    level = measure_level(onset(50.0), valid, PICK, RATE)
    assert all(math.isnan(value) for value in (level.snr, level.amplitude))
    valid[PICK + begin] = True
    assert math.isfinite(measure_level(onset(50.0), valid, PICK, RATE).snr)


def test_missing_samples_are_not_measured() -> None:
    samples, valid = onset(50.0), all_valid()
    valid[PICK - 300 : PICK - 250] = valid[PICK + 60 : PICK + 70] = False
    spoiled = np.where(valid, samples, 1e9)
    level = measure_level(spoiled, valid, PICK, RATE)
    assert level.amplitude < 100
    assert level.deviation < 2


@pytest.mark.parametrize("pick", [0, 100, 400, 1950, 1999, 2500])
def test_nan_where_the_samples_do_not_reach_far_enough(pick: int) -> None:
    level = measure_level(onset(50.0), all_valid(), pick, RATE)
    assert math.isnan(level.snr)
    assert math.isnan(level.amplitude)


def test_dead_silence_before_has_an_amplitude_and_no_ratio() -> None:
    samples = np.zeros(2000)
    samples[PICK:] = 7.0
    level = measure_level(samples, all_valid(), PICK, RATE)
    assert level.amplitude == 7.0
    assert math.isnan(level.snr)


# -- polarity -------------------------------------------------------------------------------------


def polarity(samples: Floats, pick: int = PICK, spread: int = 3) -> tuple[str, float]:
    level = measure_level(samples, all_valid(), pick, RATE)
    return measure_polarity(samples, level, pick, spread, RATE)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("size", "expected"), [(60.0, "up"), (-60.0, "down")])
def test_a_clear_onset_has_its_sign(size: float, expected: str, seed: int) -> None:
    found, confidence = polarity(onset(size, seed))
    assert found == expected
    assert 1 / 3 <= confidence <= 1


@settings(derandomize=True, deadline=None)
@given(st.floats(-100, 100), st.integers(0, 50), st.integers(1, 10))
def test_turning_the_trace_turns_the_polarity(size: float, seed: int, spread: int) -> None:
    found, confidence = polarity(onset(size, seed), spread=spread)
    turned, same = polarity(-onset(size, seed), spread=spread)
    assert turned == {"up": "down", "down": "up", "unknown": "unknown"}[found]
    assert same == pytest.approx(confidence, abs=1e-6)
    assert 0 <= confidence <= 1


def test_noise_has_no_polarity() -> None:
    found = [polarity(onset(0.0, seed))[0] for seed in range(100)]
    assert found.count("unknown") >= 95


def test_a_larger_onset_is_surer() -> None:
    confidences = [polarity(onset(size))[1] for size in (5.0, 20.0, 100.0, 1000.0)]
    assert confidences == sorted(confidences)
    assert confidences[-1] > 0.9


def test_nothing_is_known_without_a_level() -> None:
    assert measure_polarity(onset(50.0), NOTHING, PICK, 3, RATE) == ("unknown", 0.0)


def test_nothing_is_known_after_dead_silence() -> None:
    samples = np.zeros(2000)
    samples[PICK:] = 1.0
    assert polarity(samples) == ("unknown", 0.0)
