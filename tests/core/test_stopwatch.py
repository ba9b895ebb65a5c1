"""The stopwatch, with a clock turned by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ml_prediction.core.stopwatch import Stopwatch


class Hand:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def seconds() -> dict[str, float]:
    return {}


@pytest.fixture
def watch(seconds: dict[str, float], hand: Hand) -> Stopwatch:
    return Stopwatch(seconds, hand)


def test_stages_add_up_and_what_lies_between_is_not_counted(
    watch: Stopwatch, seconds: dict[str, float], hand: Hand
) -> None:
    for _ in range(3):
        with watch.stage("a"):
            hand.now += 2
        hand.now += 50
    with watch.stage("b"):
        hand.now += 1
    assert seconds == {"a": 6.0, "b": 1.0}


def test_an_inner_stage_is_not_counted_twice(
    watch: Stopwatch, seconds: dict[str, float], hand: Hand
) -> None:
    with watch.stage("outer"):
        hand.now += 1
        with watch.stage("inner"):
            hand.now += 10
            with watch.stage("outer"):
                hand.now += 100
        hand.now += 2
    assert seconds == {"outer": 103.0, "inner": 10.0}


def test_an_error_ends_its_stage(watch: Stopwatch, seconds: dict[str, float], hand: Hand) -> None:
    def fail() -> None:
        with watch.stage("inner"):
            hand.now += 1
            raise RuntimeError

    with watch.stage("outer"):
        with pytest.raises(RuntimeError):
            fail()
        hand.now += 5
    assert seconds == {"outer": 5.0, "inner": 1.0}


def test_items_cost_what_it_takes_to_get_them(
    watch: Stopwatch, seconds: dict[str, float], hand: Hand
) -> None:
    def source() -> Iterator[int]:
        for number in range(4):
            hand.now += 3
            yield number
        hand.now += 1

    taken = []
    for number in watch.each("source", source()):
        taken.append(number)
        hand.now += 1000
        with watch.stage("use"):
            hand.now += 7
    assert taken == [0, 1, 2, 3]
    assert seconds == {"source": 13.0, "use": 28.0}


def test_nothing_to_get_still_costs(
    watch: Stopwatch, seconds: dict[str, float], hand: Hand
) -> None:
    def source() -> Iterator[int]:
        hand.now += 3
        yield from ()

    assert list(watch.each("source", source())) == []
    assert seconds == {"source": 3.0}
