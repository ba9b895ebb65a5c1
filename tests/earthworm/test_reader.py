"""Reading a ring: every message once and in order, and a true account of what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import pytest
from earthworm.conftest import HandRing, Put, Segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.reader import Batch, Loss, Message, RingReader, messages_now
from ml_prediction.earthworm.ring import Ring

PROPERTY = settings(  # every example makes and destroys its own ring
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BITS = pytest.mark.parametrize("bits", [64, 32])
A, B = Logo(19, 1, 255), Logo(19, 2, 255)
Seen: TypeAlias = tuple[Logo, int, bytes]

bits_of = st.sampled_from([64, 32])
begins = st.integers(0, 600)
puts_of = st.tuples(st.sampled_from([A, B]), st.binary(max_size=40))
during_of = st.lists(  # none with the start byte of messages, which only luck can tell from a start
    st.binary(max_size=60).map(lambda payload: payload.replace(b"o", b"0")), max_size=12
)
portions = st.sampled_from([1, 30, 64, 100, 1 << 20])


class Both:
    """A ring by hand, ours attached to it, and a reader."""

    def __init__(
        self, keys: Iterator[int], bits: int = 64, keymax: int = 200, begin: int = 0
    ) -> None:
        self.hand = HandRing(bits, keymax, begin)
        self.segment = Segment(next(keys), self.hand.size)
        self.hand.lie_in(self.segment)
        self.ring = Ring(self.segment.name)
        self.reader = RingReader(self.ring)

    def __enter__(self) -> Both:
        return self

    def __exit__(self, *error: object) -> None:
        self.ring.close()
        self.segment.__exit__(None, None, None)

    def put(self, *payloads: bytes, logo: Logo = A, sequence: int | None = None) -> None:
        for payload in payloads:
            self.hand.put(logo, payload, sequence)

    def drain(self, most: int = 1 << 20, reader: RingReader | None = None) -> Drained:
        """Read until there is nothing more."""
        reader = reader or self.reader
        all_of_it = Drained()
        for _ in range(1000):
            batch = reader.read(most)
            all_of_it.messages += map(as_seen, batch.messages)
            all_of_it.losses += batch.losses
            all_of_it.lapped |= batch.lapped
            all_of_it.broken |= batch.broken
            if reader.position == self.ring.keyin and not batch.messages:
                return all_of_it
        raise AssertionError("the reader gets nowhere")


class Drained:
    """What several batches gave."""

    def __init__(self) -> None:
        self.messages: list[Seen] = []
        self.losses: list[Loss] = []
        self.lapped = self.broken = False

    @property
    def payloads(self) -> list[bytes]:
        return [payload for *_, payload in self.messages]


def as_seen(message: Message | Put) -> Seen:
    return message.logo, message.sequence, message.payload


@pytest.fixture
def both(ring_keys: Iterator[int]) -> Iterator[Both]:
    """Of 64 bits, with 200 bytes."""
    with Both(ring_keys) as both:
        yield both


# -- all, once, in order --------------------------------------------------------------------------


@given(
    bits=bits_of,
    begin=st.one_of(begins, st.integers(2**32 - 600, 2**32 - 100)),
    keymax=st.integers(70, 250),
    rounds=st.lists(st.tuples(st.lists(puts_of, max_size=12), portions), max_size=8),
)
@PROPERTY
def test_every_message_comes_once_and_in_order_and_every_loss_is_counted(
    ring_keys: Iterator[int],
    bits: int,
    begin: int,
    keymax: int,
    rounds: list[tuple[list[tuple[Logo, bytes]], int]],
) -> None:
    with Both(ring_keys, bits, keymax, begin) as both:
        waiting: list[Put] = []
        seen: dict[Logo, int] = {}
        for puts, most in rounds:
            for logo, payload in puts:
                both.put(payload, logo=logo)
                waiting.append(both.hand.messages[-1])
            there = [m for m in waiting if any(m is other for other in both.hand.messages)]
            losses = []
            for message in there:
                expected = seen.get(message.logo, message.sequence)
                if message.sequence != expected:
                    losses.append((message.logo, (message.sequence - expected) % 256))
                seen[message.logo] = (message.sequence + 1) % 256
            got = both.drain(most)
            assert got.messages == [as_seen(m) for m in there]
            assert [(loss.logo, loss.missing) for loss in got.losses] == losses
            assert got.lapped == (len(there) < len(waiting))
            assert not got.broken
            waiting = []


@given(
    puts=st.lists(puts_of, max_size=12), most=portions, bits=bits_of, begin=begins, data=st.data()
)
@PROPERTY
def test_a_later_reader_resumes_where_the_first_one_stopped(
    ring_keys: Iterator[int],
    puts: list[tuple[Logo, bytes]],
    most: int,
    bits: int,
    begin: int,
    data: st.DataObject,
) -> None:
    with Both(ring_keys, bits, 800, begin) as both:
        for logo, payload in puts:
            both.put(payload, logo=logo)
        everything = [as_seen(m) for m in both.hand.messages]
        first = both.reader.read(most)
        later = RingReader(both.ring, position=both.reader.position)
        assert list(map(as_seen, first.messages)) + both.drain(most, later).messages == everything


def test_a_position_that_is_gone_begins_with_the_oldest_message(both: Both) -> None:
    position = both.reader.position
    both.put(*(b"%d" % n for n in range(20)))
    later = RingReader(both.ring, position=position)
    batch = later.read()
    assert batch.lapped
    assert list(map(as_seen, batch.messages)) == [as_seen(m) for m in both.hand.messages]
    assert batch.losses == []  # it knows of none before


@BITS
def test_nothing_new_is_an_empty_batch(ring_keys: Iterator[int], bits: int) -> None:
    with Both(ring_keys, bits, begin=77) as both:
        both.put(b"one")
        both.reader.read()
        for _ in range(2):
            batch = both.reader.read()
            assert (batch.messages, batch.losses) == ([], [])
            assert not batch.lapped
            assert not batch.broken


def test_what_was_there_can_be_left_out(both: Both) -> None:
    both.put(b"old", b"older")
    both.reader.skip_to_end()
    both.put(b"new")
    batch = both.reader.read()
    assert [m.payload for m in batch.messages] == [b"new"]
    assert batch.losses == []
    assert not batch.lapped


def test_what_is_left_out_on_purpose_is_not_reported_as_lost(both: Both) -> None:
    both.put(b"read")
    both.reader.read()
    both.put(b"left out")
    both.reader.skip_to_end()
    both.put(b"read again")
    assert both.reader.read().losses == []


@given(
    wanted=st.lists(st.builds(Logo, *(st.sampled_from([0, 1, 2]),) * 3), max_size=3),
    puts=st.lists(st.builds(Logo, *(st.integers(1, 3),) * 3), max_size=12),
)
@PROPERTY
def test_only_wanted_messages_come(
    ring_keys: Iterator[int], wanted: list[Logo], puts: list[Logo]
) -> None:
    with Both(ring_keys, keymax=1000) as both:
        for logo in puts:
            both.put(b"!", logo=logo)
        got = both.drain(reader=RingReader(both.ring, iter(wanted), 0))

    def is_wanted(logo: Logo) -> bool:
        return any(
            t in (0, logo.type) and m in (0, logo.module) and i in (0, logo.installation)
            for t, m, i in wanted
        )

    assert [logo for logo, *_ in got.messages] == [logo for logo in puts if is_wanted(logo)]
    assert got.losses == []


# -- losses ---------------------------------------------------------------------------------------


@given(first=st.integers(0, 255), second=st.integers(0, 255))
@PROPERTY
def test_a_jump_of_the_numbers_is_a_gap(ring_keys: Iterator[int], first: int, second: int) -> None:
    with Both(ring_keys) as both:
        both.put(b"", sequence=first)
        both.put(b"", logo=B, sequence=9)
        both.put(b"", sequence=second)
        missing = (second - first - 1) % 256
        batch = both.reader.read()
        assert len(batch.messages) == 3
        assert batch.losses == ([Loss(A, missing, "gap")] if missing else [])
        assert not batch.lapped


def test_messages_that_nobody_wants_have_no_gaps(both: Both) -> None:
    reader = RingReader(both.ring, [B])
    for sequence in (3, 99):
        both.put(b"", sequence=sequence)
    assert reader.read().losses == []


@given(lost=st.integers(17, 300), most=portions, bits=bits_of)
@PROPERTY
def test_a_lap_is_reported_with_what_it_cost(
    ring_keys: Iterator[int], lost: int, most: int, bits: int
) -> None:
    with Both(ring_keys, bits, keymax=200) as both:
        both.put(b"first")
        both.drain()
        both.put(*(b"" for _ in range(lost)))  # far more than the ring holds
        missing = (lost - len(both.hand.messages)) % 256
        got = both.drain(most)
        assert got.lapped
        assert got.messages == [as_seen(m) for m in both.hand.messages]
        assert got.losses == ([Loss(A, missing, "lapped")] if missing else [])
        both.put(b"", sequence=(lost + 50) % 256)  # the next one would be lost + 1
        after = both.drain(most)
        assert not after.lapped
        assert [loss.reason for loss in after.losses] == ["gap"]


def lapped_with_two_senders(both: Both) -> None:
    both.put(b"", logo=A)
    both.put(b"", logo=B)
    both.drain()
    both.put(*(b"" for _ in range(20)), logo=B)
    both.put(*(b"" for _ in range(20)), logo=A)
    both.put(b"", logo=B)


def test_a_lap_is_the_reason_for_the_loss_of_every_sender(both: Both) -> None:
    lapped_with_two_senders(both)
    missing = 20 - (len(both.hand.messages) - 1)
    assert both.drain().losses == [Loss(A, missing, "lapped"), Loss(B, 20, "lapped")]


def test_a_lap_is_the_reason_also_where_a_sender_comes_in_a_later_batch(both: Both) -> None:
    lapped_with_two_senders(both)
    assert [loss.reason for loss in both.drain(1).losses] == ["lapped", "lapped"]


@pytest.mark.parametrize("most", [1, 1 << 20])
def test_a_gap_after_a_lap_is_a_gap(both: Both, most: int) -> None:
    both.put(b"")
    both.drain()
    both.put(*(b"" for _ in range(20)))
    both.put(b"", sequence=100)
    assert [loss.reason for loss in both.drain(most).losses] == ["lapped", "gap"]


# -- while a writer goes on -----------------------------------------------------------------------


def once(action: Callable[[], None], after: int = 0) -> Callable[[], None]:
    """Do it at one call only, when it has been called so many times before."""
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            action()

    return call


@given(
    bits=bits_of,
    begin=begins,
    before=st.integers(1, 8),
    during=during_of,
    copies=st.integers(0, 1),
    share=st.floats(0, 1),
    most=portions,
)
@PROPERTY
def test_of_what_is_overwritten_while_it_is_copied_only_the_safe_part_is_used(
    ring_keys: Iterator[int],
    bits: int,
    begin: int,
    before: int,
    during: list[bytes],
    copies: int,
    share: float,
    most: int,
) -> None:
    with Both(ring_keys, bits, 250, begin) as both:
        everything, got = overwritten_while_copied(both, before, during, copies, share, most)
        assert [m for m in map(as_seen, both.hand.messages) if m not in got.messages] == []
        assert got.lapped or got.messages == everything


def overwritten_while_copied(
    both: Both, before: int, during: list[bytes], copies: int, share: float, most: int
) -> tuple[list[Seen], Drained]:
    """One copy is taken in two parts, and others put messages between them: all, and what came."""
    both.put(*(b"BEFORE %d" % n for n in range(before)))
    everything = [as_seen(m) for m in both.hand.messages]
    whole = both.ring.copy

    def put() -> None:
        for payload in during:
            both.put(payload)
            everything.append(as_seen(both.hand.messages[-1]))

    disturb = once(put, copies)

    def torn(start: int, stop: int) -> bytes:
        split = start + int((stop - start) * share)
        first = whole(start, split)
        disturb()
        return first + whole(split, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(both.ring, "copy", torn)
        got = both.drain(most)
    assert not got.broken
    assert got.messages == [m for m in everything if m in got.messages]
    return everything, got


@given(
    during=during_of,
    copies=st.integers(0, 1),
    share=st.floats(0, 1),
    most=portions,
    short=st.integers(1, 150),
)
@PROPERTY
def test_nothing_false_is_read_while_the_counters_of_32_bits_begin_anew(
    ring_keys: Iterator[int],
    during: list[bytes],
    copies: int,
    share: float,
    most: int,
    short: int,
) -> None:
    with Both(ring_keys, 32, 250, 2**32 - short - 6 * 20) as both:
        both.put(b"READ NOW")
        both.drain()
        everything, got = overwritten_while_copied(both, 5, during, copies, share, most)
        everything = [m for m in everything if m[2] != b"READ NOW"]
        lost = len(everything) - len(got.messages)  # a lap that fits by chance looks like a gap
        assert sum(loss.missing for loss in got.losses) == lost


@given(
    bits=bits_of,
    begin=begins,
    before=st.integers(0, 8),
    during=during_of,
    loads=st.integers(0, 2),
    most=portions,
)
@PROPERTY
def test_writers_may_go_on_between_any_two_looks_at_the_counters(
    ring_keys: Iterator[int],
    bits: int,
    begin: int,
    before: int,
    during: list[bytes],
    loads: int,
    most: int,
) -> None:
    with Both(ring_keys, bits, 250, begin) as both:
        both.put(*(b"BEFORE %d" % n for n in range(before)))
        everything = [as_seen(m) for m in both.hand.messages]

        def put() -> None:
            for payload in during:
                both.put(payload)
                everything.append(as_seen(both.hand.messages[-1]))

        disturb = once(put, loads)

        def then_disturbed(name: str) -> property:
            load = getattr(Ring, name).fget

            def counter(ring: Ring) -> int:
                value: int = load(ring)
                disturb()
                return value

            return property(counter)

        with pytest.MonkeyPatch.context() as patch:
            for name in ("keyin", "keyold"):
                patch.setattr(Ring, name, then_disturbed(name))
            got = both.drain(most)
        rest = both.drain(most)
        assert not got.broken
        assert not rest.broken
        read = got.messages + rest.messages
        assert read == [m for m in everything if m in read]
        assert [as_seen(m) for m in both.hand.messages if as_seen(m) not in read] == []


@pytest.mark.timeout(20)
def test_what_is_there_now_has_an_end_though_counters_of_32_bits_begin_anew(
    ring_keys: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Both(ring_keys, 32, 200, 2**32 - 40) as both:
        both.put(b"before")
        meanwhile = once(lambda: both.put(b"meanwhile", b"and then"))
        read = RingReader.read

        def disturbed(reader: RingReader, most: int = 1 << 20) -> Batch:
            meanwhile()
            return read(reader, most)

        monkeypatch.setattr(RingReader, "read", disturbed)
        found = [message.payload for message in messages_now(both.ring)]
        assert both.ring.keyin < 2**31
        assert found == [b"before", b"meanwhile", b"and then"]


# -- broken ---------------------------------------------------------------------------------------


@BITS
@pytest.mark.parametrize("most", [1, 1 << 20])
@pytest.mark.parametrize("fault", ["start", "negative", "huge", "beyond the end", "inside", "tail"])
def test_a_broken_ring_is_reported_and_reading_goes_on_with_what_is_new(
    ring_keys: Iterator[int], bits: int, most: int, fault: str
) -> None:
    with Both(ring_keys, bits, keymax=400, begin=5) as both:
        hand = both.hand
        both.put(b"good")
        at = hand.keyin
        both.put(b"broken", b"unreachable")
        sizes = {"negative": -1, "huge": 2**31 - 1, "beyond the end": 150, "inside": 6 + 10}
        sizes["tail"] = hand.keyin - at - hand.form.message.size - 10
        header = hand.form.message.pack(7 if fault == "start" else 111, sizes.get(fault, 6), *A, 1)
        hand.data[at : at + len(header)] = header
        hand.store()
        got = both.drain(most)
        assert got.payloads[:1] == [b"good"]
        assert got.broken
        assert b"unreachable" not in got.payloads
        assert both.reader.position == both.ring.keyin
        both.put(b"new")
        after = both.drain(most)
        assert after.payloads == [b"new"]
        assert not after.broken


@BITS
def test_counters_that_make_no_sense_end_in_broken(ring_keys: Iterator[int], bits: int) -> None:
    with Both(ring_keys, bits, keymax=200, begin=4000) as both:
        both.put(b"one")
        both.hand.keyold = 1000  # farther back than the ring is long
        both.hand.store()
        batch = both.reader.read()
        assert (batch.messages, batch.broken) == ([], True)
        assert both.reader.position == both.ring.keyin
        assert not both.reader.read().broken
        both.hand.keyold = both.hand.keyin
        both.put(b"new")
        assert both.drain().payloads == [b"new"]


def test_losses_know_their_logo_reason_and_count(both: Both) -> None:
    loss = Loss(A, 3, "gap")
    assert replace(loss, reason="lapped") != loss
    assert RingReader(both.ring, [EVERYTHING]).read().losses == []
