"""Picks are matched by station, phase and time; whose are different is not believed."""

from __future__ import annotations

from benchmark.samples import PICK, SPAN, cell, entry

from ml_prediction.benchmark.check import check
from ml_prediction.benchmark.contenders.base import Found
from ml_prediction.benchmark.datasets import Span
from ml_prediction.benchmark.picks import Agreement, comparable, compare

LIMITS = {"XX.A.": (0, 10**12)}
THRESHOLDS = {"P": 0.1, "S": 0.1}
SAMPLE = 10_000_000


def found(time_ns: int, phase: str = "P", probability: float = 0.5, station: str = "A") -> Found:
    return Found(f"XX.{station}.", phase, time_ns, probability)


def test_the_same_picks_agree_whatever_their_order() -> None:
    picks = [found(5 * SAMPLE), found(900 * SAMPLE), found(5 * SAMPLE, "S")]
    agreement = compare(picks, picks[::-1], LIMITS, THRESHOLDS)
    assert agreement == Agreement(3, 3, 0, 0, 0)
    assert agreement.agrees
    assert agreement.share == 1


def test_one_sample_is_the_same_time_and_two_are_not() -> None:
    reference = [found(500 * SAMPLE)]
    assert compare(reference, [found(501 * SAMPLE)], LIMITS, THRESHOLDS).agrees
    other = compare(reference, [found(502 * SAMPLE)], LIMITS, THRESHOLDS)
    assert (other.missing, other.extra) == (1, 1)
    assert not other.agrees


def test_phase_and_station_count() -> None:
    reference = [found(500 * SAMPLE)]
    assert not compare(reference, [found(500 * SAMPLE, "S")], LIMITS, THRESHOLDS).agrees
    elsewhere = compare(reference, [found(500 * SAMPLE, station="B")], LIMITS, THRESHOLDS)
    assert (elsewhere.missing, elsewhere.extra) == (1, 0)  # B is not compared at all


def test_each_pick_has_one_partner() -> None:
    twice = [found(500 * SAMPLE), found(501 * SAMPLE)]
    assert compare([found(500 * SAMPLE)], twice, LIMITS, THRESHOLDS).extra == 1


def test_picks_near_the_threshold_may_be_missing() -> None:
    reference = [found(500 * SAMPLE), found(700 * SAMPLE, probability=0.1004)]
    agreement = compare(reference, reference[:1], LIMITS, THRESHOLDS)
    assert (agreement.missing, agreement.near_threshold) == (0, 1)


def test_what_lies_outside_is_not_compared_but_may_be_a_partner() -> None:
    limits = {"XX.A.": (500 * SAMPLE, 600 * SAMPLE)}
    agreement = compare([found(500 * SAMPLE)], [found(499 * SAMPLE)], limits, THRESHOLDS)
    assert agreement == Agreement(1, 0, 0, 0, 0)
    assert compare([found(1)], [], limits, THRESHOLDS) == Agreement(0, 0, 0, 0, 0)


def test_without_picks_there_is_no_agreement() -> None:
    assert not compare([], [], LIMITS, THRESHOLDS).agrees


def test_one_in_two_hundred_may_differ() -> None:
    picks = [found(100 * number * SAMPLE) for number in range(1, 101)]
    assert compare(picks, picks[1:], LIMITS, THRESHOLDS).agrees
    assert not compare(picks, picks[5:], LIMITS, THRESHOLDS).agrees


def test_windows_that_only_ours_has_are_left_out() -> None:
    low, high = comparable(SPAN, 6000, 3000)
    assert (low - SPAN.start_ns, high - SPAN.start_ns) == (60 * 10**9, 570 * 10**9)
    alone = Span("XX.A.", 0, 6000)
    assert comparable(alone, 6000, 5000) == (10 * 10**9, 60 * 10**9)


def test_whoever_finds_other_picks_is_marked() -> None:
    other = PICK._replace(phase="S")
    board = cell(
        entry("ours", 1.0),
        entry("seisbench-annotate", 2.0),
        entry("slipstream", 3.0, found=[other]),
        entry("loop"),
    )
    board.entries[3].status = "left out"
    check(board)
    assert [item.status for item in board.entries] == ["valid", "valid", "differs", "left out"]
    assert "of 1 1 are missing, and 1 are extra" in board.entries[2].note


def test_without_seisbench_nothing_is_checked() -> None:
    board = cell(entry("ours", 1.0))
    check(board)
    assert board.entries[0].status == "unchecked"


def test_a_reference_without_picks_makes_nothing_valid() -> None:
    board = cell(entry("ours", 1.0, found=[]), entry("seisbench-annotate", 2.0, found=[]))
    check(board)
    assert {item.status for item in board.entries} == {"differs"}
    assert board.entries[0].note == "SeisBench found no picks to compare with"
