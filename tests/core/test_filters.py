"""The model's filter, against ObsPy's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace
from scipy import signal

from ml_prediction.core import filters
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.spec import FilterSpec

Floats = npt.NDArray[np.float64]

BAND = FilterSpec("bandpass", 1.0, 45.0, 4)
HIGH = FilterSpec("highpass", 1.0, None, 4)
LOW = FilterSpec("lowpass", None, 20.0, 2)
RATE = 100.0


def noise(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1000, count).cumsum()


def filtered(spec: FilterSpec, samples: Floats, rate: float = RATE) -> Floats:
    sections = filters.design(spec, rate)
    return run(sections, samples, filters.steady_state(sections, float(samples[0])))


def run(sections: Floats, samples: Floats, state: Floats) -> Floats:
    out = np.empty_like(samples)
    filters.run(sections, samples, state, out)
    return out


def obspy_filtered(samples: Floats, rate: float, kind: str, **options: float) -> Floats:
    stream = Stream([Trace(samples.copy(), {"sampling_rate": rate})])
    stream.filter(kind, zerophase=False, **options)
    return np.asarray(stream[0].data)


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (BAND, {"freqmin": 1.0, "freqmax": 45.0, "corners": 4}),
        (FilterSpec("bandpass", 1.0, 45.0, 2), {"freqmin": 1.0, "freqmax": 45.0, "corners": 2}),
        (HIGH, {"freq": 1.0, "corners": 4}),
        (LOW, {"freq": 20.0, "corners": 2}),
    ],
)
def test_equals_obspy_after_the_transient(spec: FilterSpec, options: dict[str, float]) -> None:
    samples = noise(6000)
    samples -= samples[0]
    found = filtered(spec, samples)
    expected = obspy_filtered(samples, RATE, spec.kind, **options)
    np.testing.assert_allclose(found[1000:], expected[1000:], atol=1e-6 * np.abs(expected).max())


def test_equals_obspy_on_an_offset_ten_seconds_later() -> None:
    samples = noise(6000) + 1e5
    expected = obspy_filtered(samples, RATE, "bandpass", freqmin=1.0, freqmax=45.0, corners=4)
    np.testing.assert_allclose(
        filtered(BAND, samples)[1000:], expected[1000:], atol=1e-5 * np.abs(expected[1000:]).max()
    )


@pytest.mark.parametrize("spec", [BAND, HIGH])
@pytest.mark.parametrize("offset", [1.0, -12_345.0, 8e6])
def test_an_offset_does_not_ring(spec: FilterSpec, offset: float) -> None:
    assert np.abs(filtered(spec, np.full(1000, offset))).max() <= 1e-9 * abs(offset)


def test_a_low_pass_keeps_an_offset_from_the_first_sample_on() -> None:
    np.testing.assert_allclose(filtered(LOW, np.full(1000, 5e5)), 5e5, rtol=1e-12)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from([BAND, HIGH, LOW]), st.lists(st.integers(1, 299), max_size=8))
def test_no_bit_depends_on_how_the_samples_are_cut(spec: FilterSpec, cuts: list[int]) -> None:
    samples = noise(300)
    sections = filters.design(spec, RATE)
    state = filters.steady_state(sections, float(samples[0]))
    last_state = state.copy()
    whole = run(sections, samples, last_state)
    parts = [run(sections, samples[a:b], state) for a, b in pairwise(sorted({0, 300, *cuts}))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert state.tobytes() == last_state.tobytes()


@pytest.mark.parametrize("spec", [BAND, HIGH, LOW])
def test_every_bit_is_scipys(spec: FilterSpec) -> None:
    samples = noise(3000)
    sections = filters.design(spec, RATE)
    state = filters.steady_state(sections, float(samples[0]))
    expected, after = signal.sosfilt(sections, samples, zi=state)
    assert run(sections, samples, state).tobytes() == expected.tobytes()
    assert state.tobytes() == after.tobytes()


@pytest.mark.parametrize("high", [45.0, 50.0, 100.0])
def test_a_corner_from_nyquist_on_does_not_limit(high: float) -> None:
    spec = FilterSpec("bandpass", 1.0, high, 4)
    np.testing.assert_array_equal(
        filters.design(spec, 90.0), filters.design(FilterSpec("highpass", 1.0, None, 4), 90.0)
    )


def test_a_band_pass_beyond_nyquist_equals_obspys_high_pass() -> None:
    samples = noise(3000) / 1000
    samples -= samples[0]
    expected = obspy_filtered(samples, 50.0, "highpass", freq=1.0, corners=4)
    found = filtered(BAND, samples, 50.0)
    np.testing.assert_allclose(found[1000:], expected[1000:], atol=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        FilterSpec("bandpass", 60.0, 70.0),
        FilterSpec("bandpass", 10.0, 5.0),
        FilterSpec("highpass", 50.0, None),
        FilterSpec("lowpass", None, 50.0),
    ],
)
def test_a_filter_that_leaves_nothing_or_everything_is_refused(spec: FilterSpec) -> None:
    with pytest.raises(ConfigurationError, match="passes nothing"):
        filters.design(spec, RATE)
