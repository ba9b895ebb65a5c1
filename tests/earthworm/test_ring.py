"""A ring that others made: attached to, put into, shared with other processes, destroyed."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from earthworm.conftest import FORMS, HandRing, Segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ring_keeper import KeptRing, make_ring

from ml_prediction.earthworm import ring as ring_module
from ml_prediction.earthworm.layout import LAYOUT_32, LAYOUT_64, layout_of
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingBusyError, RingError, RingName
from ml_prediction.errors import MLPredictionError

PROPERTY = settings(  # every example makes and destroys its own ring
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BITS = pytest.mark.parametrize("bits", [64, 32])
LOGO, OTHER = Logo(19, 3, 255), Logo(3, 4, 255)
MARGIN = 20.0  # seconds in which a process must have done its work on a busy machine

logos = st.sampled_from([LOGO, OTHER, Logo(255, 255, 1)])


def named(kept: KeptRing, name: str = "KEPT_RING") -> RingName:
    return RingName(name, kept.key)


@pytest.fixture
def kept(ring_keys: Iterator[int]) -> KeptRing:
    """A ring of 8 KB."""
    return make_ring(next(ring_keys), 8)


# -- attaching ------------------------------------------------------------------------------------


@BITS
def test_both_layouts_are_known_by_their_size_words(ring_keys: Iterator[int], bits: int) -> None:
    segment = Segment(next(ring_keys), 1024)
    hand = HandRing(bits, 1024 - FORMS[bits].head.size, 12345).lie_in(segment)
    ring = Ring(segment.name)
    assert ring.layout.bits == bits
    assert (ring.keymax, ring.keyin, ring.keyold, ring.flag) == (hand.keymax, 12345, 12345, 0)
    ring.close()


@given(bits=st.sampled_from([64, 32]), size=st.integers(200, 2**30), wrong=st.integers(-64, 64))
@settings(derandomize=True, deadline=None)
def test_a_head_whose_sizes_do_not_fit_is_no_ring(bits: int, size: int, wrong: int) -> None:
    form = FORMS[bits]
    layout = {64: LAYOUT_64, 32: LAYOUT_32}[bits]
    for total, usable in ((size + wrong, size), (size, size + wrong)):
        head = form.head.pack(total, usable - form.head.size, 0, 0, 0).ljust(40)
        assert layout_of(head, size) == (layout if wrong == 0 else None)


def test_a_missing_ring_is_named_with_its_key(ring_keys: Iterator[int]) -> None:
    key = next(ring_keys)
    with pytest.raises(RingError, match=rf"WAVE_RING \(key {key}\).*Earthworm running"):
        Ring(RingName("WAVE_RING", key))
    assert issubclass(RingError, MLPredictionError)


@pytest.mark.parametrize("size", [1, 20, 40, 41, 4096])
@pytest.mark.parametrize("content", ["zeros", "text"])
def test_foreign_and_half_made_memory_is_refused(
    ring_keys: Iterator[int], size: int, content: str
) -> None:
    segment = Segment(next(ring_keys), size)
    if content == "text":
        segment.bytes[:] = (b"What is this? " * size)[:size]
    with pytest.raises(RingError, match=rf"HAND_RING \(key {segment.key}\).*not a ring"):
        Ring(segment.name)


def test_a_ring_without_semaphore_is_refused(ring_keys: Iterator[int]) -> None:
    segment = Segment(next(ring_keys), 1024, lock=False)
    HandRing(64, 984, 0).lie_in(segment)
    with pytest.raises(RingError, match=rf"HAND_RING \(key {segment.key}\) has no semaphore"):
        Ring(segment.name)


def test_a_ring_that_is_not_for_us_is_refused(ring_keys: Iterator[int]) -> None:
    segment = Segment(next(ring_keys), 1024, rights=0)
    HandRing(64, 984, 0).lie_in(segment)
    us = os.geteuid()
    try:
        if us == 0:
            os.seteuid(65534)  # rights are not asked of the superuser
        with pytest.raises(RingError, match=rf"HAND_RING \(key {segment.key}\): .*[Pp]ermission"):
            Ring(segment.name)
    finally:
        os.seteuid(us)


# -- putting --------------------------------------------------------------------------------------


@given(
    bits=st.sampled_from([64, 32]),
    keymax=st.integers(40, 150),
    begin=st.one_of(st.integers(0, 400), st.integers(2**32 - 400, 2**32 - 150)),
    puts=st.lists(st.tuples(logos, st.binary(max_size=126)), max_size=20),
)
@PROPERTY
def test_what_is_put_is_to_the_byte_what_the_format_says(
    ring_keys: Iterator[int],
    bits: int,
    keymax: int,
    begin: int,
    puts: list[tuple[Logo, bytes]],
) -> None:
    model = HandRing(bits, keymax, begin)
    segment = Segment(next(ring_keys), model.size)
    with segment:
        segment.bytes[:] = model.image
        ring = Ring(segment.name)
        for logo, payload in puts:
            if model.length(payload) > keymax:
                with pytest.raises(RingError, match="does not fit into ring HAND_RING"):
                    ring.put(logo, payload)
            else:
                model.put(logo, payload)
                assert ring.put(logo, payload) == model.messages[-1].sequence
            assert bytes(segment.bytes) == model.image
        read = RingReader(ring).read()
        assert [tuple(m) for m in read.messages] == [
            (m.logo, m.sequence, m.payload) for m in model.messages
        ]
        assert not read.broken
        ring.close()


@BITS
def test_messages_wrap_at_every_byte_of_header_and_payload(
    ring_keys: Iterator[int], bits: int
) -> None:
    keymax, payload = 64, bytes(range(200, 220))
    segment = Segment(next(ring_keys), FORMS[bits].head.size + keymax)
    for begin in range(keymax):
        model = HandRing(bits, keymax, begin)
        segment.bytes[:] = model.image
        ring = Ring(segment.name)
        reader = RingReader(ring)
        model.put(LOGO, payload)
        ring.put(LOGO, payload)
        assert bytes(segment.bytes) == model.image
        assert [m.payload for m in reader.read().messages] == [payload]
        ring.close()


@BITS
def test_a_message_may_fill_the_ring_but_no_more(ring_keys: Iterator[int], bits: int) -> None:
    model = HandRing(bits, 100, 77)
    segment = Segment(next(ring_keys), model.size)
    model.lie_in(segment)
    ring = Ring(segment.name)
    longest = bytes(100 - model.form.message.size)
    for _ in range(3):
        ring.put(LOGO, longest)
        assert [m.payload for m in RingReader(ring).read().messages] == [longest]
    with pytest.raises(RingError, match=rf"{len(longest) + 1} bytes does not fit"):
        ring.put(LOGO, longest + b"!")
    assert ring.put(LOGO, b"") == 3
    ring.close()


def test_the_counters_of_32_bits_begin_anew_before_they_overflow(
    ring_keys: Iterator[int],
) -> None:
    kept = make_ring(next(ring_keys), 1, LAYOUT_32, counted=2**32 - 5000)
    ring = Ring(named(kept))
    reader = RingReader(ring)
    got = []
    for number in range(400):
        ring.put(LOGO, b"%d" % number)
        batch = reader.read()
        assert not batch.lapped
        assert not batch.broken
        assert batch.losses == []
        got += [int(m.payload) for m in batch.messages]
    assert got == list(range(400))
    assert ring.keyin < 10_000
    ring.close()


def test_full_rings_go_on_whichever_byte_is_number_two_to_the_32(
    ring_keys: Iterator[int],
) -> None:
    keymax, payload = 100, bytes(range(200, 213))  # four messages fill it to the last byte
    segment = Segment(next(ring_keys), FORMS[32].head.size + keymax)
    for short in range(100, 151):
        model = HandRing(32, keymax, 2**32 - short)
        segment.bytes[:] = model.image
        ring = Ring(segment.name)
        reader = RingReader(ring)
        for sequence in range(10):
            model.put(LOGO, payload)
            ring.put(LOGO, payload)
            assert bytes(segment.bytes) == model.image
            assert [m.sequence for m in reader.read().messages] == [sequence]
        assert ring.keyin < 1000
        ring.close()


def test_sequence_numbers_are_counted_by_logo_modulo_256(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    assert [ring.put(LOGO, b"") for _ in range(600)] == [n % 256 for n in range(600)]
    assert ring.put(OTHER, b"") == 0
    ring.close()


def test_a_refused_message_uses_up_no_number(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    with pytest.raises(RingError, match="does not fit"):
        ring.put(LOGO, bytes(9000))
    assert ring.put(LOGO, b"") == 0
    ring.close()


def test_nothing_is_put_after_closing(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    ring.close()
    ring.close()
    with pytest.raises(RingError, match=r"KEPT_RING .* is closed"):
        ring.put(LOGO, b"")
    assert ring.flag == 0


@BITS
@pytest.mark.parametrize("fault", ["start", "negative", "huge", "beyond"])
def test_a_broken_ring_is_not_put_into_and_its_lock_is_given_back(
    ring_keys: Iterator[int], bits: int, fault: str
) -> None:
    model = HandRing(bits, 200, 0)
    segment = Segment(next(ring_keys), model.size)
    model.put(LOGO, bytes(10))
    sizes = {"negative": -50, "huge": 2**30, "beyond": 150}
    start, size = (7, 10) if fault == "start" else (111, sizes[fault])
    header = model.form.message.pack(start, size, *LOGO, 0)
    model.data[: len(header)] = header
    segment.bytes[:] = model.image
    ring = Ring(segment.name)
    with pytest.raises(RingError, match=rf"HAND_RING \(key {segment.key}\) is broken"):
        ring.put(LOGO, bytes(170))
    assert ring.keyin == model.keyin
    assert segment.kept.lock_value() == 1
    ring.close()


# -- the lock, and other processes ----------------------------------------------------------------


def test_a_lock_that_nobody_gives_back_costs_a_bounded_wait(
    kept: KeptRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "LOCK_SECONDS", 0.2)
    ring = Ring(named(kept))
    kept.set_lock_value(0)
    begun = time.monotonic()
    with pytest.raises(RingBusyError, match=rf"KEPT_RING \(key {kept.key}\).* lock in 0.2 s"):
        ring.put(LOGO, b"")
    assert 0.19 < time.monotonic() - begun < MARGIN
    assert ring.keyin == 0
    kept.set_lock_value(1)
    assert ring.put(LOGO, b"") == 0
    ring.close()


def test_a_caller_may_wait_more_briefly(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    kept.set_lock_value(0)
    for wait in (0.0, 0.02):
        begun = time.monotonic()
        with pytest.raises(RingBusyError, match=rf"lock in {wait:g} s"):
            ring.put(LOGO, b"", wait)
        assert wait <= time.monotonic() - begun < 1.0
    kept.set_lock_value(1)
    assert ring.put(LOGO, b"", wait=0.0) == 0
    ring.close()


def test_signals_do_not_prolong_the_wait(kept: KeptRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "LOCK_SECONDS", 0.2)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    main, over = threading.get_ident(), threading.Event()
    sent: list[int] = []

    def interrupt() -> None:
        while not over.wait(0.05) and len(sent) < 30:
            signal.pthread_kill(main, signal.SIGUSR1)
            sent.append(main)

    ring = Ring(named(kept))
    kept.set_lock_value(0)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(RingBusyError):
            ring.put(LOGO, b"")
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert 0 < len(sent) < 30
    ring.close()


@pytest.mark.parametrize("lock", [True, False])
def test_a_destroyed_ring_is_not_current(kept: KeptRing, lock: bool) -> None:
    ring = Ring(named(kept))
    assert ring.is_current()
    kept.destroy(lock=lock)
    assert not ring.is_current()
    ring.close()


def test_nothing_is_put_into_a_destroyed_ring(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    kept.destroy()
    with pytest.raises(RingError, match=rf"KEPT_RING \(key {kept.key}\) was destroyed") as caught:
        ring.put(LOGO, b"")
    assert not isinstance(caught.value, RingBusyError)
    ring.close()


@pytest.mark.parametrize("anew", [True, False])
def test_nothing_is_put_into_memory_that_nobody_reads_any_more(kept: KeptRing, anew: bool) -> None:
    ring = Ring(named(kept))
    kept.destroy(lock=False)  # the next Earthworm uses the old lock again
    if anew:
        HandRing(64, 984, 0).lie_in(Segment(kept.key, 1024, lock=False))
    with pytest.raises(RingError, match=rf"KEPT_RING \(key {kept.key}\) was destroyed"):
        ring.put(LOGO, b"")
    assert kept.lock_value() == 1
    ring.close()


def test_a_ring_destroyed_while_we_wait_for_its_lock_ends_the_wait(kept: KeptRing) -> None:
    ring = Ring(named(kept))
    kept.set_lock_value(0)
    timer = threading.Timer(0.1, kept.destroy)
    timer.start()
    with pytest.raises(RingError, match="was destroyed"):
        ring.put(LOGO, b"")
    timer.join()
    ring.close()


def test_a_ring_made_anew_under_its_key_is_another_incarnation(kept: KeptRing) -> None:
    old = Ring(named(kept))
    kept.destroy()
    make_ring(kept.key, 8)
    new = Ring(named(kept))
    assert new.incarnation != old.incarnation
    assert new.is_current()
    assert not old.is_current()
    again = Ring(named(kept))
    assert again.incarnation == new.incarnation
    assert new.put(LOGO, b"") == 0
    for ring in (old, new, again):
        ring.close()


# -- logos ----------------------------------------------------------------------------------------

small = st.integers(0, 3)


@given(have=st.builds(Logo, small, small, small), wanted=st.builds(Logo, small, small, small))
@settings(derandomize=True, deadline=None)
def test_nought_in_a_wanted_logo_stands_for_anything(have: Logo, wanted: Logo) -> None:
    differs = [w for h, w in zip(have, wanted, strict=True) if w != h]
    assert have.matches(wanted) == (set(differs) <= {0})
    assert have.matches(EVERYTHING)
    assert have.matches_any([Logo(9, 9, 9), wanted]) == have.matches(wanted)
    assert not have.matches_any([])


def test_a_ring_is_named_as_people_know_it() -> None:
    assert re.fullmatch(r"WAVE_RING \(key 1000\)", str(RingName("WAVE_RING", 1000)))
