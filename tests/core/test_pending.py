"""Pieces that wait: their order, and what becomes of overlaps."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.grid import index_of, time_of
from ml_prediction.core.pending import Overlap, Pending, Piece, split_valid
from ml_prediction.core.state import from_bytes, to_bytes

RATE = Fraction(100)
BEGIN = 170_000_000_000  # index
RECORDING = np.random.default_rng(1).integers(-1000, 1000, 400)


def piece(start: int, values: npt.ArrayLike, rate: Fraction = RATE) -> Piece:
    """Values from sample ``BEGIN + start`` on."""
    return Piece(time_of(BEGIN * rate.numerator // 100 + start, rate), rate, np.asarray(values))


def recorded(start: int, stop: int) -> Piece:
    return piece(start, RECORDING[start:stop])


def pending(*pieces: Piece) -> Pending:
    result = Pending()
    for item in pieces:
        result.add(item)
    return result


def drain(waiting: Pending) -> tuple[list[tuple[int, int, bool]], list[Overlap]]:
    """Every sample as (index, value, bad), free of overlaps, and the overlaps met."""
    samples: list[tuple[int, int, bool]] = []
    overlaps: list[Overlap] = []
    while waiting:
        found = waiting.untangle(0)
        if found is not None:
            overlaps.append(found)
            continue
        head = waiting.take()
        start = index_of(head.start_ns, RATE, 0) - BEGIN
        bad = np.zeros(len(head), dtype=np.bool_) if head.bad is None else head.bad
        samples += [
            (start + n, int(value), bool(flag))
            for n, (value, flag) in enumerate(zip(head.samples, bad, strict=True))
        ]
    return samples, overlaps


@settings(derandomize=True, deadline=None)
@given(st.permutations(range(0, 40, 4)))
def test_pieces_come_out_in_order_of_time(starts: list[int]) -> None:
    waiting = pending(*(recorded(start, start + 4) for start in starts))
    taken = [waiting.take().start_ns for _ in starts]
    assert taken == sorted(taken)
    assert not waiting


spans = st.lists(st.tuples(st.integers(0, 380), st.integers(1, 20)), min_size=1, max_size=25)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(spans)
def test_agreeing_pieces_give_each_sample_once(given_spans: list[tuple[int, int]]) -> None:
    stops = [(start, min(start + length, 400)) for start, length in given_spans]
    samples, overlaps = drain(pending(*(recorded(*span) for span in stops)))
    union = sorted({n for start, stop in stops for n in range(start, stop)})
    assert samples == [(n, int(RECORDING[n]), False) for n in union]
    total = sum(stop - start for start, stop in stops)
    assert sum(overlap.duplicates for overlap in overlaps) == total - len(union)
    assert not any(overlap.disagreements or overlap.slips for overlap in overlaps)


def test_no_overlap_is_none() -> None:
    assert pending(recorded(0, 10)).untangle(0) is None
    assert pending(recorded(0, 10), recorded(10, 20)).untangle(0) is None
    assert pending(recorded(0, 10), recorded(200, 210)).untangle(0) is None


def test_differing_samples_become_bad_and_only_these() -> None:
    other = RECORDING[50:90].copy()
    other[10:20] += 1
    samples, overlaps = drain(pending(recorded(0, 100), piece(50, other)))
    assert [n for n, _, bad in samples if bad] == list(range(60, 70))
    assert [n for n, _, _ in samples] == list(range(100))
    assert overlaps == [Overlap(duplicates=30, disagreements=10)]


@pytest.mark.parametrize("start", [10, 20, 30])  # of the piece that agrees
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_third_opinion_does_not_heal_a_bad_sample(order: tuple[int, ...], start: int) -> None:
    pieces = [recorded(0, 100), piece(20, RECORDING[20:40] + 1), recorded(start, 60)]
    samples, _ = drain(pending(*(pieces[n] for n in order)))
    assert [n for n, _, bad in samples if bad] == list(range(20, 40))
    assert [n for n, _, _ in samples] == list(range(100))
    assert all(value == RECORDING[n] for n, value, bad in samples if not bad)


def test_one_differing_sample_at_a_joint_is_a_slip_and_goes_to_the_earlier_piece() -> None:
    later = RECORDING[99:150].copy()
    later[0] += 7
    samples, overlaps = drain(pending(recorded(0, 100), piece(99, later)))
    assert samples == [(n, int(RECORDING[n]), False) for n in range(150)]
    assert overlaps == [Overlap(slips=1)]


def test_one_agreeing_sample_at_a_joint_is_a_duplicate() -> None:
    assert drain(pending(recorded(0, 100), recorded(99, 150)))[1] == [Overlap(duplicates=1)]


def test_one_differing_sample_in_the_middle_is_a_disagreement() -> None:
    samples, overlaps = drain(pending(recorded(0, 100), piece(50, RECORDING[50:51] + 1)))
    assert [n for n, _, bad in samples if bad] == [50]
    assert overlaps == [Overlap(disagreements=1)]


def test_headers_a_fraction_of_a_sample_apart_are_the_same_samples() -> None:
    other = recorded(40, 120)
    shifted = Piece(other.start_ns + 3_000_000, RATE, other.samples)
    samples, overlaps = drain(pending(recorded(0, 100), shifted))
    assert samples == [(n, int(RECORDING[n]), False) for n in range(120)]
    assert overlaps == [Overlap(duplicates=60)]


def test_of_two_rates_at_once_the_earlier_piece_keeps_its_span() -> None:
    half = Fraction(50)
    waiting = pending(recorded(0, 100), piece(25, np.arange(50), half))
    found = waiting.untangle(0)
    assert found == Overlap(disagreements=25)
    first, second = waiting.take(), waiting.take()
    assert (len(first), len(second)) == (100, 25)
    assert second.start_ns == first.stop_ns
    assert second.samples.tolist() == list(range(25, 50))


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 400), st.sampled_from([Fraction(100), Fraction(125, 2), Fraction(128)]))
def test_cutting_a_piece_keeps_times_exact(at: int, rate: Fraction) -> None:
    whole = piece(0, RECORDING, rate)
    left, right = whole.cut(0, at), whole.cut(at)
    assert left.stop_ns == right.start_ns
    exact = whole.start_ns + Fraction(at, 1) / rate * 10**9
    assert abs(right.start_ns - exact) <= Fraction(1, 2)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_split_valid_walks_through_the_good_runs(flags: list[bool]) -> None:
    bad = np.array(flags)
    rest: Piece | None = Piece(0, RATE, np.arange(len(bad)), bad)
    found: list[int] = []
    skipped = 0
    while rest is not None:
        good, before, rest = split_valid(rest)
        found += good.samples.tolist()
        skipped += before
        assert good.bad is None or not len(good)
    assert found == np.flatnonzero(~bad).tolist()
    assert skipped <= int(bad.sum())


def test_a_snapshot_brings_everything_back() -> None:
    waiting = pending(recorded(0, 100), piece(50, RECORDING[50:90] + 1), recorded(200, 210))
    waiting.untangle(0)
    other = Pending()
    other.restore(from_bytes(to_bytes(waiting.snapshot())))
    assert drain(other) == drain(waiting)
