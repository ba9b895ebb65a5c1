"""Triggers, against ObsPy's trigger_onset."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy.signal.trigger import trigger_onset

from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.core.triggers import Trigger, TriggerTrack

Values = npt.NDArray[np.float32]

NEVER = 10**9
CONTEXT = 7
START = 170_000_000_000


def random_trace(seed: int, count: int = 600) -> Values:
    """Wanders across both thresholds, with flat tops, never exactly at a threshold."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, 0.12, count).cumsum()
    return np.asarray(np.round(np.abs(np.mod(steps, 2) - 1) * 64) / 64 + 1 / 128, dtype=np.float32)


def found_in(
    values: Values,
    cuts: list[int] | None = None,
    *,
    threshold: float = 0.625,
    longest: int = NEVER,
    snapshot_at: int | None = None,
) -> list[Trigger]:
    track = TriggerTrack(threshold, longest, CONTEXT)
    edges = sorted({0, len(values), *(cut for cut in cuts or [] if cut < len(values))})
    found = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        found += track.add(START + low, values[low:high])
        if number == snapshot_at:
            state = from_bytes(to_bytes(track.snapshot()))
            track = TriggerTrack(threshold, longest, CONTEXT)
            track.restore(state)
    return found + track.finish()


def plain(triggers: list[Trigger]) -> list[tuple[int, int, int, bool, bytes]]:
    return [(t.onset, t.end, t.peak, t.cut, t.around.tobytes()) for t in triggers]


def by_obspy(values: Values, threshold: float) -> list[tuple[int, int, int]]:
    """Onset, end and first highest sample; NaN is as good as silence."""
    clean = np.nan_to_num(values, nan=-1.0)
    if not (clean > threshold).any():
        return []
    pairs = trigger_onset(clean, threshold, threshold / 2)
    return [(a + START, b + START, START + a + int(clean[a : b + 1].argmax())) for a, b in pairs]


seeds = st.integers(0, 10_000)
cut_lists = st.lists(st.integers(1, 599), max_size=12)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(seeds, cut_lists, st.sampled_from([0.125, 0.25, 0.625, 0.875]))
def test_equals_obspy_however_cut(seed: int, cuts: list[int], threshold: float) -> None:
    values = random_trace(seed)
    found = found_in(values, cuts, threshold=threshold)
    assert [(t.onset, t.end, t.peak) for t in found] == by_obspy(values, threshold)
    assert not any(t.cut for t in found)


def test_at_the_threshold_is_on_and_at_half_of_it_not_yet_off() -> None:
    values = np.array([0, 0.3, 0.5, 0.25, 0.2, 0.5, 0, 0.6, 0.25, 0.25, 0.1], dtype=np.float32)
    found = found_in(values, threshold=0.5)
    assert [(t.onset, t.end, t.peak) for t in found] == by_obspy(values, 0.5)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(seeds, cut_lists, st.lists(st.tuples(st.integers(0, 599), st.integers(1, 40)), max_size=5))
def test_nan_ends_a_trigger_and_begins_none(
    seed: int, cuts: list[int], holes: list[tuple[int, int]]
) -> None:
    values = random_trace(seed)
    for start, length in holes:
        values[start : start + length] = np.nan
    found = found_in(values, cuts)
    assert [(t.onset, t.end, t.peak) for t in found] == by_obspy(values, 0.625)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(seeds, cut_lists, st.integers(1, 60), st.integers(0, 12))
def test_no_cut_and_no_snapshot_changes_anything(
    seed: int, cuts: list[int], longest: int, at: int
) -> None:
    values = random_trace(seed)
    whole = found_in(values, longest=longest)
    assert plain(found_in(values, cuts, longest=longest)) == plain(whole)
    assert plain(found_in(values, cuts, longest=longest, snapshot_at=at)) == plain(whole)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(seeds, cut_lists, st.integers(1, 60), st.integers(0, 12))
def test_passing_over_quiet_pieces_changes_nothing(
    seed: int, cuts: list[int], longest: int, at: int
) -> None:
    values = random_trace(seed) ** 4  # quiet most of the time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TriggerTrack, "_is_quiet", lambda *_: False)
        expected = plain(found_in(values, cuts, longest=longest))
    assert plain(found_in(values, cuts, longest=longest, snapshot_at=at)) == expected


def test_sample_by_sample() -> None:
    values = random_trace(3)
    assert plain(found_in(values, list(range(600)), longest=20)) == plain(
        found_in(values, longest=20)
    )


@settings(derandomize=True, deadline=None, max_examples=150)
@given(seeds, st.integers(1, 60))
def test_a_long_excursion_is_cut_once_and_the_rest_ignored(seed: int, longest: int) -> None:
    values = random_trace(seed)
    expected = []
    for onset, end, _ in by_obspy(values, 0.625):
        stop = min(end + 1, onset + longest)
        peak = onset + int(values[onset - START : stop - START].argmax())
        expected.append((onset, stop - 1, peak, end + 1 > onset + longest))
    found = found_in(values, longest=longest)
    assert [(t.onset, t.end, t.peak, t.cut) for t in found] == expected


def test_a_cut_trigger_does_not_wait_for_its_excursion_to_end() -> None:
    track = TriggerTrack(0.5, 100, CONTEXT)
    values = np.full(1000, 0.9, dtype=np.float32)
    found = track.add(0, values[:200])
    assert [(t.onset, t.end, t.cut) for t in found] == [(0, 99, True)]
    assert track.add(200, values[200:]) == []
    assert track.finish() == []


def test_the_surroundings_of_a_peak_come_along() -> None:
    values = np.zeros(100, dtype=np.float32)
    values[48:53] = [0.5, 0.7, 0.9, 0.8, 0.4]
    (trigger,) = found_in(values)
    np.testing.assert_array_equal(trigger.around, values[43:58])
    assert trigger.probability == np.float32(0.9)


@settings(derandomize=True, deadline=None)
@given(seeds, cut_lists)
def test_surroundings_are_those_of_the_trace_and_nan_beyond_it(seed: int, cuts: list[int]) -> None:
    values = random_trace(seed)
    padded = np.concatenate([np.full(CONTEXT, np.nan), values, np.full(CONTEXT, np.nan)])
    for trigger in found_in(values, cuts):
        at = trigger.peak - START
        np.testing.assert_array_equal(
            trigger.around, padded.astype(np.float32)[at : at + 2 * CONTEXT + 1]
        )


def test_a_jump_in_time_ends_what_was_open() -> None:
    track = TriggerTrack(0.5, NEVER, CONTEXT)
    high = np.full(20, 0.9, dtype=np.float32)
    assert track.add(0, high) == []
    (first,) = track.add(50, high)
    (second,) = track.finish()
    assert (first.onset, first.end, second.onset, second.end) == (0, 19, 50, 69)
    assert np.isnan(second.around[:CONTEXT]).all()


@pytest.mark.parametrize("count", [0, 1])
def test_next_to_nothing(count: int) -> None:
    track = TriggerTrack(0.5, NEVER, CONTEXT)
    assert track.add(5, np.full(count, 0.9, dtype=np.float32)) == []
    assert len(track.finish()) == count


def test_memory_stays_small() -> None:
    track = TriggerTrack(0.5, 100, CONTEXT)
    for block in range(200):
        track.add(block * 500, np.full(500, 0.9 if block % 3 else 0.1, dtype=np.float32))
        assert len(to_bytes(track.snapshot())) < 4000
