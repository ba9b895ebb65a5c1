"""Whether this process is to end: flags of rings, and the flag ring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from earthworm.conftest import FORMS, HandRing, Segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ring_keeper import KeptRing, make_ring, set_flag

from ml_prediction.earthworm.flags import told_to_end
from ml_prediction.earthworm.layout import LAYOUT_32, LAYOUT_64, TERMINATE
from ml_prediction.earthworm.ring import Ring, RingName

BITS = pytest.mark.parametrize("bits", [64, 32])
US, ANOTHER = 4321, 1234


@pytest.fixture
def no_flag_ring(ring_keys: Iterator[int]) -> int:
    """A key that stands for nothing."""
    return next(ring_keys)


def attached(kept: KeptRing) -> Ring:
    return Ring(RingName("A_RING", kept.key))


def flag_ring(
    keys: Iterator[int], doomed: Sequence[int], others: Sequence[int] = (), bits: int = 64
) -> int:
    """Key of a flag ring, laid out by hand."""
    form = FORMS[bits]
    pids = [*doomed, *others]
    body = form.flag_ring.pack(len(doomed), len(pids), *pids, *[0] * (255 - len(pids)))
    size = form.head.size + len(body)
    segment = Segment(next(keys), size)
    segment.bytes[:] = form.head.pack(size, len(body), 0, 0, 0) + body
    return segment.key


# -- flags of rings -------------------------------------------------------------------------------


@BITS
def test_the_flag_of_any_ring_for_everybody_or_for_us_ends_us(
    ring_keys: Iterator[int], no_flag_ring: int, bits: int
) -> None:
    layout = {64: LAYOUT_64, 32: LAYOUT_32}[bits]
    kept = [make_ring(next(ring_keys), 1, layout) for _ in range(3)]
    rings = [attached(each) for each in kept]
    for each in kept:
        for flag, ends in ((0, False), (ANOTHER, False), (US, True), (TERMINATE, True)):
            set_flag(each, flag, layout)
            assert told_to_end(rings, no_flag_ring, US) == ends
            without_everybody = told_to_end(rings, no_flag_ring, US, everybody=False)
            assert without_everybody == (flag == US)
        set_flag(each, 0, layout)
    for ring in rings:
        ring.close()


def test_our_number_that_was_there_before_us_was_another_process(
    ring_keys: Iterator[int], no_flag_ring: int
) -> None:
    kept = make_ring(next(ring_keys), 1)
    set_flag(kept, US)
    ring = attached(kept)
    assert not told_to_end([ring], no_flag_ring, US)
    set_flag(kept, TERMINATE)
    assert told_to_end([ring], no_flag_ring, US)
    ring.close()


def test_a_flag_for_everybody_that_was_there_before_us_counts(
    ring_keys: Iterator[int], no_flag_ring: int
) -> None:
    kept = make_ring(next(ring_keys), 1)
    set_flag(kept, TERMINATE)
    ring = attached(kept)
    assert told_to_end([ring], no_flag_ring, US)
    ring.close()


def test_a_ring_destroyed_after_its_flag_was_set_still_ends_us(
    ring_keys: Iterator[int], no_flag_ring: int
) -> None:
    kept = make_ring(next(ring_keys), 1)
    ring = attached(kept)
    set_flag(kept, TERMINATE)
    kept.destroy()
    assert told_to_end([ring], no_flag_ring, US)
    ring.close()
    assert not told_to_end([ring], no_flag_ring, US)


# -- the flag ring --------------------------------------------------------------------------------


def test_without_flag_ring_nobody_is_told(no_flag_ring: int) -> None:
    assert not told_to_end([], no_flag_ring, US)


@BITS
def test_everybody_is_meant_where_the_first_number_says_so(
    ring_keys: Iterator[int], bits: int
) -> None:
    key = flag_ring(ring_keys, [TERMINATE], [ANOTHER], bits)
    assert told_to_end([], key, US)
    assert not told_to_end([], key, US, everybody=False)


@BITS
def test_only_those_that_are_to_end_are_told(ring_keys: Iterator[int], bits: int) -> None:
    for doomed, others, ends in (
        ([], [], False),
        ([], [US], False),
        ([], [TERMINATE], False),
        ([ANOTHER], [US], False),
        ([US], [ANOTHER], True),
        ([ANOTHER, US], [], True),
    ):
        key = flag_ring(ring_keys, doomed, others, bits)
        assert told_to_end([], key, US) == ends
        assert told_to_end([], key, US, everybody=False) == ends


def test_our_number_counts_also_after_everybody_was_told(ring_keys: Iterator[int]) -> None:
    key = flag_ring(ring_keys, [TERMINATE, US])
    assert told_to_end([], key, US, everybody=False)


@given(pids=st.lists(st.integers(2, 300), min_size=255, max_size=255), split=st.integers(0, 255))
@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_full_flag_ring_is_read_to_its_end(
    ring_keys: Iterator[int], pids: list[int], split: int
) -> None:
    key = flag_ring(ring_keys, pids[:split], pids[split:])
    for pid in {pids[0], pids[-1], *pids[max(0, split - 1) : split + 1], 400}:
        assert told_to_end([], key, pid) == (pid in pids[:split])


@pytest.mark.parametrize("count", [-1, 256, 2**31 - 1])
def test_a_count_that_cannot_be_is_cut(ring_keys: Iterator[int], count: int) -> None:
    form = FORMS[64]
    segment = Segment(next(ring_keys), 1072)
    segment.bytes[:] = form.head.pack(1072, 1032, 0, 0, 0) + form.flag_ring.pack(
        count, 255, *[ANOTHER] * 254, US
    )
    assert told_to_end([], segment.key, US) == (count > 0)
    assert not told_to_end([], segment.key, 999)


@pytest.mark.parametrize("size", [1, 1024, 1071, 1073])
def test_other_memory_under_the_key_of_the_flag_ring_tells_nothing(
    ring_keys: Iterator[int], size: int
) -> None:
    segment = Segment(next(ring_keys), size)
    segment.bytes[:] = (FORMS[64].flag_ring.pack(*[1] * 257) * 2)[:size]
    assert not told_to_end([], segment.key, 1)


def test_an_ordinary_ring_under_that_key_tells_nothing(ring_keys: Iterator[int]) -> None:
    segment = Segment(next(ring_keys), 1024)
    HandRing(64, 984, 0).lie_in(segment)
    assert not told_to_end([], segment.key, 0)


def test_looking_changes_nothing(ring_keys: Iterator[int]) -> None:
    segment = Segment(next(ring_keys), 1072)
    before = bytes(segment.bytes)
    told_to_end([], segment.key, US)
    assert bytes(segment.bytes) == before
    assert segment.kept.lock_value() == 1
