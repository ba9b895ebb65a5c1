"""Probability traces as ObsPy sees them."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.traces import Fragment, data_runs, to_stream
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

WHO = Instrument("UW", "GNW", "", "HH")
START = 170_000_000_000
START_NS = 1_700_000_000 * 10**9
EQT = ("Detection", "P", "S")


def fragment(
    start: int,
    stop: int,
    *,
    offset_ns: int = 0,
    instrument: Instrument = WHO,
    labels: tuple[str, ...] = EQT,
    model: str = "EQTransformer:original",
    rate: float = 100.0,
) -> Fragment:
    values = np.arange(start, stop, dtype=np.float32) + 1000 * np.arange(len(labels))[:, None]
    time_ns = START_NS + round(start * 10**9 / rate) + offset_ns
    return Fragment(
        instrument, model, labels, rate, START + start, time_ns, values.astype(np.float32)
    )


def test_codes_letters_and_times() -> None:
    stream = to_stream([fragment(0, 10)])
    assert [trace.id for trace in stream] == ["UW.GNW..HHD", "UW.GNW..HHP", "UW.GNW..HHS"]
    for row, trace in enumerate(stream):
        assert to_ns(trace.stats.starttime) == START_NS
        assert trace.stats.sampling_rate == 100.0
        assert trace.data.dtype == np.float32
        np.testing.assert_array_equal(trace.data, 1000 * row + np.arange(10))


@pytest.mark.parametrize("label", ["N", "Noise"])
def test_noise_on_request_only_and_never_as_the_north_component(label: str) -> None:
    given_fragment = fragment(0, 10, labels=(label, "P", "S"))
    assert [trace.stats.channel for trace in to_stream([given_fragment])] == ["HHP", "HHS"]
    with_noise = to_stream([given_fragment], noise=True)
    assert [trace.stats.channel for trace in with_noise] == ["HHX", "HHP", "HHS"]


def test_labels_without_a_letter_share_nobody_elses_code() -> None:
    """EQTP gives the probability of each polarity beside that of P."""
    stream = to_stream([fragment(0, 10, labels=("Polarity_U", "Polarity_D", "P", "S"))])
    assert [trace.stats.channel for trace in stream] == ["HHP", "HHS"]
    assert stream[0].data[0] == 2000


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 299), unique=True), st.randoms(use_true_random=False))
def test_fragments_join_in_any_order(cuts: list[int], random: object) -> None:
    edges = sorted({0, 300, *cuts})
    parts = [fragment(a, b) for a, b in itertools.pairwise(edges)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    stream = to_stream(parts)
    assert len(stream) == 3
    np.testing.assert_array_equal(stream[0].data, np.arange(300))


def test_a_gap_and_a_change_of_offset_begin_new_traces() -> None:
    parts = [fragment(0, 10), fragment(20, 30), fragment(30, 40, offset_ns=5_000_000)]
    detection = to_stream(parts).select(channel="HHD")
    assert [(to_ns(trace.stats.starttime) - START_NS) // 10**6 for trace in detection] == [
        *(0, 200, 305)
    ]
    assert [trace.stats.npts for trace in detection] == [10, 10, 10]


@pytest.mark.parametrize("rate", [50.0, 66.667, 100.0, 125.0])
def test_rounding_of_times_breaks_no_trace(rate: float) -> None:
    parts = [fragment(a, a + 7, rate=rate) for a in range(0, 7000, 7)]
    assert len(to_stream(parts)) == 3


def test_instruments_and_models_stay_apart() -> None:
    other = Instrument("UW", "GNW", "", "EN")
    parts = [fragment(0, 10), fragment(10, 20, instrument=other)]
    parts.append(fragment(10, 20, model="PhaseNet:original", labels=("N", "P", "S")))
    stream = to_stream(parts)
    assert len(stream.select(channel="HHP")) == 2
    assert len(stream.select(channel="ENP")) == 1
    assert len(to_stream([])) == 0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_data_runs_are_those_of_the_valid_samples(flags: list[bool]) -> None:
    valid: npt.NDArray[np.bool_] = np.array(flags)
    chunk = Chunk(WHO, 100, np.zeros((2, len(flags)), dtype=np.float32), valid)
    covered = [n for a, b in data_runs(chunk) for n in range(a, b)]
    assert covered == (100 + np.flatnonzero(valid)).tolist()
