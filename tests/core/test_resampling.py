"""Resampling: what it computes, whatever the block, and what it does to a signal."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from ml_prediction.core.grid import grid_rate
from ml_prediction.core.resampling import LONGEST_HALF, Phase, Resampler, make_resampler

Floats = npt.NDArray[np.float64]

MODEL_RATE = Fraction(100)
FAR = 170_000_000_000  # an output's index today: 1.7e9 s at 100 Hz
HEADERS = (20.0, 40.0, 50.0, 62.5, 125.0, 128.0, 200.0, 250.0, 500.0, 512.0, 1000.0, 77.7, 133.3333)
PHASES: tuple[Phase, ...] = ("linear", "minimum")


def resampler_for(header: float, phase: Phase = "linear") -> Resampler:
    rate = grid_rate(header, float(MODEL_RATE))
    assert rate is not None
    return make_resampler(rate, MODEL_RATE, phase)


def covering(resampler: Resampler, start: int, stop: int) -> tuple[int, int]:
    """First input, and input after the last, that the outputs need."""
    first = resampler.first_input(start)
    return first, (stop - 1) * resampler.down // resampler.up + resampler.after + 1


def noise(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1000, count)


def prototype(resampler: Resampler) -> tuple[Floats, int]:
    """The taps as one filter at the common multiple of both rates, and where its centre is."""
    up = resampler.up
    rows, columns = np.indices(resampler.taps.shape)
    lags = rows + (resampler.before - columns) * up
    taps = np.zeros(int(lags.max() - lags.min()) + 1)
    taps[lags - lags.min()] = resampler.taps
    return taps, -int(lags.min())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("header", [header for header in HEADERS if header != 77.7])
def test_equals_scipys_upfirdn_with_the_same_taps(header: float, phase: Phase) -> None:
    resampler = resampler_for(header, phase)
    start, stop = 1000, 1300
    first, end = 0, covering(resampler, start, stop)[1]
    samples = noise(end)
    taps, centre = prototype(resampler)
    padded = np.concatenate([taps, np.zeros(-len(taps) % resampler.down)])
    # delay by a whole number of outputs, so that upfirdn's grid is ours
    shift = -centre % resampler.down
    expected = signal.upfirdn(
        np.concatenate([np.zeros(shift), padded]), samples, resampler.up, resampler.down
    )
    delay = (centre + shift) // resampler.down
    found = resampler(samples, first, start, stop)
    np.testing.assert_allclose(found, expected[start + delay : stop + delay], rtol=0, atol=1e-8)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("header", HEADERS)
def test_equals_the_sum_written_out(header: float, phase: Phase) -> None:
    resampler = resampler_for(header, phase)
    start, stop = FAR, FAR + 40
    first, end = covering(resampler, start, stop)
    samples = noise(end - first)
    found = resampler(samples, first, start, stop)
    for output, value in zip(range(start, stop), found, strict=True):
        base, row = divmod(output * resampler.down, resampler.up)
        lowest = base - resampler.before - first
        block = samples[lowest : base + resampler.after + 1 - first]
        assert value == pytest.approx(float(np.dot(resampler.taps[row], block)), abs=1e-8)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    header=st.sampled_from(HEADERS),
    start=st.integers(0, FAR),
    count=st.integers(1, 200),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    more=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_no_bit_depends_on_how_the_output_is_cut(
    header: float, start: int, count: int, cuts: list[int], more: tuple[int, int]
) -> None:
    resampler = resampler_for(header)
    stop = start + count
    first, end = covering(resampler, start, stop)
    samples = noise(end - first, seed=count)
    whole = resampler(samples, first, start, stop)
    edges = sorted({start, stop, *(start + cut for cut in cuts if cut < count)})
    parts = []
    for low, high in pairwise(edges):
        begin, after = covering(resampler, low, high)
        begin, after = max(begin - more[0], first), min(after + more[1], end)
        parts.append(resampler(samples[begin - first : after - first], begin, low, high))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(HEADERS), st.integers(-FAR, FAR))
def test_ready_and_first_agree_with_what_an_output_needs(header: float, end: int) -> None:
    resampler = resampler_for(header)
    ready = resampler.ready(end)
    assert covering(resampler, ready - 1, ready)[1] <= end
    output = resampler.first(end)
    position = Fraction(output * resampler.down, resampler.up)
    assert end <= position < end + Fraction(resampler.down, resampler.up)


def test_the_same_rate_is_left_alone() -> None:
    resampler = make_resampler(MODEL_RATE, MODEL_RATE, "linear")
    samples = noise(50)
    assert resampler(samples, FAR, FAR + 5, FAR + 45).tobytes() == samples[5:45].tobytes()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("header", [20.0, 62.5, 128.0, 250.0, 1000.0])
def test_a_constant_stays_constant(header: float, phase: Phase) -> None:
    resampler = resampler_for(header, phase)
    first, end = covering(resampler, 0, 500)
    found = resampler(np.full(end - first, 123_456.0), first, 0, 500)
    np.testing.assert_allclose(found, 123_456.0, rtol=1e-13)


def gain(resampler: Resampler, rate: float, frequency: float) -> npt.NDArray[np.complex128]:
    """Output over the same sine sampled at the model's rate, sample by sample."""
    first, end = covering(resampler, 0, 400)
    wave = np.exp(2j * np.pi * frequency * np.arange(first, end) / rate)
    real, imaginary = (resampler(part, first, 0, 400) for part in (wave.real, wave.imag))
    reference = np.exp(2j * np.pi * frequency * np.arange(400) / float(MODEL_RATE))
    return np.asarray((real + 1j * imaginary) / reference)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize("header", HEADERS)
def test_sines_in_the_pass_band_keep_amplitude_and_phase(header: float, share: float) -> None:
    nyquist = min(header, float(MODEL_RATE)) / 2
    # at the lowest rates a filter of half a second leaves little room between pass and stop band
    tolerance = 3e-2 if header < 25 else 1e-3
    assert np.abs(gain(resampler_for(header), header, share * nyquist) - 1).max() < tolerance


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize("header", [40.0, 50.0, 62.5, 125.0, 128.0, 200.0, 250.0, 500.0, 1000.0])
def test_minimum_phase_has_the_same_amplitude(header: float, share: float) -> None:
    frequency = share * min(header, float(MODEL_RATE)) / 2
    found = np.abs(gain(resampler_for(header, "minimum"), header, frequency))
    assert np.abs(found - 1).max() < 1e-3


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("header", [200.0, 250.0, 500.0, 1000.0])
def test_aliases_are_60_db_down(header: float, phase: Phase) -> None:
    resampler = resampler_for(header, phase)
    frequencies = np.linspace(50.0, header / 2, 60)
    worst = max(np.abs(gain(resampler, header, float(f))).max() for f in frequencies)
    assert 20 * np.log10(worst) <= -60


@pytest.mark.parametrize("header", HEADERS)
def test_half_the_filter_is_at_most_a_quarter_second(header: float) -> None:
    resampler = resampler_for(header)
    taps, centre = prototype(resampler)
    inside = np.flatnonzero(taps)
    fine = header * resampler.up
    assert (centre - inside[0]) / fine <= LONGEST_HALF + 1e-6
    assert (inside[-1] - centre) / fine <= LONGEST_HALF + 1e-6
    assert LONGEST_HALF == 0.25


def around_onset(
    header: int, phase: Phase, frequency: float | None, onset: int, smooth: bool = False
) -> tuple[Floats, Floats]:
    """Times from the onset and output, for a damped sine or (None) a step at input ``onset``.

    The sine starts with a kink, or smoothly: rising over its first half period.
    """
    resampler = resampler_for(header, phase)
    first, end = covering(resampler, -100, 200)
    times = (np.arange(first, end) - onset) / header
    wave = np.ones(len(times))
    if frequency is not None:
        wave = np.sin(2 * np.pi * frequency * times) * np.exp(-5 * times.clip(0))
        if smooth:
            wave *= np.sin(np.pi / 2 * (2 * frequency * times).clip(0, 1)) ** 2
    samples = np.where(times >= 0, wave, 0.0)
    return np.arange(-100, 200) / 100 - onset / header, resampler(samples, first, -100, 200)


@pytest.mark.parametrize("frequency", [5.0, 7.0, 10.0, None])
@pytest.mark.parametrize("header", [200, 500])
def test_linear_phase_rings_no_earlier_than_half_a_filter(
    header: int, frequency: float | None
) -> None:
    for onset in range(header // 100):
        times, found = around_onset(header, "linear", frequency, onset)
        assert times[np.flatnonzero(found)[0]] >= -LONGEST_HALF


@pytest.mark.parametrize("frequency", [5.0, 7.0, 10.0])
@pytest.mark.parametrize("header", [200, 500, 1000])
def test_linear_phase_rings_at_most_one_per_cent_before_a_smooth_onset(
    header: int, frequency: float
) -> None:
    for onset in range(header // 100):
        times, found = around_onset(header, "linear", frequency, onset, smooth=True)
        before = found[times < -1e-9]
        assert np.abs(before).max() <= 0.01 * np.abs(found).max()


@pytest.mark.parametrize("frequency", [5.0, 7.0, 10.0])
@pytest.mark.parametrize("header", [200, 500, 1000])
def test_linear_phase_rings_little_before_a_kink_and_its_smear(
    header: int, frequency: float
) -> None:
    # within one period of the Nyquist frequency any linear-phase low-pass smears a kink
    for onset in range(header // 100):
        times, found = around_onset(header, "linear", frequency, onset)
        before = found[times < -0.02]
        assert np.abs(before).max() <= 0.015 * np.abs(found).max()


@pytest.mark.parametrize("frequency", [5.0, 7.0, 10.0, None])
@pytest.mark.parametrize("header", [200, 250, 500, 1000])
def test_minimum_phase_shows_nothing_before_an_onset(header: int, frequency: float | None) -> None:
    for onset in range(header // 50):
        times, found = around_onset(header, "minimum", frequency, onset)
        assert not found[times < -1e-9].any()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.timeout(5)
def test_designing_a_filter_is_quick(phase: Phase) -> None:
    """One packet with an odd header must not hold up the run."""
    rate = grid_rate(333.37, float(MODEL_RATE))
    assert rate is not None
    make_resampler(rate, MODEL_RATE, phase)
