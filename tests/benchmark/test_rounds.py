"""Contenders take turns; who is too slow is left out, and who fails costs only itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from benchmark.samples import cell, entry

from ml_prediction.benchmark.messages import Round
from ml_prediction.benchmark.processes import ContenderFailedError
from ml_prediction.benchmark.rounds import ENOUGH, Cell, Entry, Limits, Status, play


class Course:
    """Runs rounds that take a known time, and keeps a clock."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.order: list[str] = []

    def run(self, board: Cell, item: Entry) -> None:
        key = item.entrant.key
        seconds = self.seconds[key]
        self.now += seconds
        self.order.append(key)
        if seconds > 500:
            raise ContenderFailedError("too much for it")
        item.rounds.append(Round(seconds, seconds, 1.0, {}))

    def clock(self) -> float:
        return self.now


def start(
    limits: Limits, boards: list[Cell], **seconds: float
) -> tuple[Course, Callable[[], None]]:
    course = Course({key.replace("_", "-"): value for key, value in seconds.items()})
    return course, lambda: play(boards, course.run, limits, course.clock)


ESSENTIAL = ["ours", "seisbench-classify"]


def test_they_take_turns_and_those_that_count_first_have_enough_rounds() -> None:
    board = cell(entry("ours"), entry("seisbench-classify"), entry("loop"))
    course, go = start(Limits(1e6, 1e6, 4), [board], ours=1, seisbench_classify=2, loop=3)
    go()
    assert course.order[:3] == [*ESSENTIAL, "loop"]
    assert course.order[3:7] == ESSENTIAL * (ENOUGH - 1)
    assert {key: course.order.count(key) for key in (*ESSENTIAL, "loop")} == {
        "ours": 4,
        "seisbench-classify": 4,
        "loop": 4,
    }


def test_every_cell_has_its_first_round_before_any_has_its_second() -> None:
    boards = [cell(entry("ours")), cell(entry("ours"), entry("loop"))]
    course, go = start(Limits(1e6, 1e6, 2), boards, ours=1, loop=2)
    go()
    assert course.order == ["ours", "ours", "loop", "ours", "ours", "loop"]


def test_no_round_begins_that_would_end_too_late_but_the_essential_ones_go_on() -> None:
    board = cell(entry("ours"), entry("seisbench-classify"), entry("loop"))
    course, go = start(Limits(24, 100, 9), [board], ours=1, seisbench_classify=2, loop=10)
    go()
    assert course.order == [*ESSENTIAL, "loop", *ESSENTIAL * 3]
    assert course.now <= 24


def test_a_slow_contender_is_left_out_where_it_would_take_too_long() -> None:
    small, large = cell(entry("loop")), cell(entry("loop"), entry("ours"), stations=50)
    course, go = start(Limits(1e6, 100, 1), [small, large], ours=1, loop=10)
    go()
    assert course.order == ["loop", "ours"]
    assert large.entries[0].status == "left out"
    assert large.entries[0].note == "a round would take about 500 s"


def test_what_is_known_beforehand_counts_for_the_first_cell() -> None:
    board = cell(entry("loop"))
    course, go = start(Limits(1e6, 100, 1, {"loop": 0.1}), [board], loop=190)
    go()
    assert course.order == []
    assert board.entries[0].note == "a round would take about 190 s"


def test_after_the_deadline_only_essential_contenders_run() -> None:
    boards = [cell(entry("ours"), entry("slipstream")) for _ in range(2)]
    course, go = start(Limits(2, 100, 5), boards, ours=3, slipstream=1)
    go()
    assert course.order == ["ours", "ours"]
    assert boards[1].entries[1].note == "there was no time left"


def test_whoever_fails_stops_and_the_others_go_on() -> None:
    board = cell(entry("ours"), entry("loop"))
    course, go = start(Limits(1e6, 1e6, 2), [board], ours=1, loop=501)
    go()
    assert course.order == ["ours", "loop", "ours"]
    assert board.entries[1].status == "failed"
    assert board.entries[1].note == "too much for it"


@pytest.mark.parametrize("status", ["missing", "failed"])
def test_whoever_could_not_start_does_not_run(status: Status) -> None:
    board = cell(entry("ours"), entry("loop"))
    board.entries[1].status = status
    course, go = start(Limits(1e6, 1e6, 2), [board], ours=1, loop=1)
    go()
    assert course.order == ["ours", "ours"]
    assert board.entries[1].status == status
