"""The ring is drained in order, through laps, losses and new rings, and nothing goes in silence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest
from drivers.live.conftest import MakeRing

from ml_prediction.drivers.live import inlet as module
from ml_prediction.drivers.live.inlet import Delivery, Inlet, Place
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.ring import Incarnation, Ring, RingError, RingName

WANTED = Logo(19, 5, 141)
OTHER = Logo(8, 3, 141)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.005)


@pytest.fixture
def started() -> Iterator[Callable[..., Inlet]]:
    """Starts inlets, and ends them afterwards."""
    inlets: list[Inlet] = []

    def start(
        name: RingName, place: Place | None = None, wanted: tuple[Logo, ...] = (WANTED,)
    ) -> Inlet:
        inlets.append(Inlet(name, wanted, place))
        inlets[-1].start()
        return inlets[-1]

    yield start
    for each in inlets:
        each.end()
        assert not each.is_alive()


def put(ring: Ring, *numbers: int, logo: Logo = WANTED, size: int = 0) -> None:
    for number in numbers:
        ring.put(logo, f"{number}".encode().ljust(size, b" "))


def numbers_of(deliveries: list[Delivery]) -> list[int]:
    return [int(message.payload) for each in deliveries for message in each.messages]


def taken(inlet: Inlet) -> list[Delivery]:
    """Everything that waits."""
    found = []
    while (delivery := inlet.take()) is not None:
        found.append(delivery)
    return found


def until(inlet: Inlet, count: int) -> list[Delivery]:
    """Deliveries with so many messages."""
    found: list[Delivery] = []
    deadline = time.monotonic() + 10
    while len(numbers_of(found)) < count:
        assert time.monotonic() < deadline, f"only {numbers_of(found)}"
        inlet.wait(0.01)
        found += taken(inlet)
    return found


def happens(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


# -- one ring ---------------------------------------------------------------------------------


def test_messages_come_in_order_from_the_oldest_on(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    ring = Ring(new_ring()[1])
    put(ring, 0, 1, 2)
    inlet = started(ring.name)
    put(ring, 99, logo=OTHER)
    found = until(inlet, 3)
    put(ring, 3, 4)
    found += until(inlet, 2)
    assert numbers_of(found) == [0, 1, 2, 3, 4]
    assert not any(each.losses or each.lapped or each.broken or each.dropped for each in found)
    assert [each.seconds for each in found] == sorted(each.seconds for each in found)
    assert found[-1].place == Place(ring.incarnation, ring.keyin)
    assert inlet.waiting_bytes == 0
    ring.close()


def test_several_logos_can_be_wanted(new_ring: MakeRing, started: Callable[..., Inlet]) -> None:
    ring = Ring(new_ring()[1])
    put(ring, 0)
    put(ring, 1, logo=OTHER)
    put(ring, 2, logo=Logo(1, 1, 1))
    inlet = started(ring.name, wanted=(WANTED, OTHER))
    assert numbers_of(until(inlet, 2)) == [0, 1]
    everything = started(ring.name, wanted=(EVERYTHING,))
    assert numbers_of(until(everything, 3)) == [0, 1, 2]
    ring.close()


def test_without_a_ring_it_cannot_begin(ring_keys: Iterator[int]) -> None:
    with pytest.raises(RingError, match="NO_RING"):
        Inlet(RingName("NO_RING", next(ring_keys)), [WANTED], None)


def test_it_goes_on_at_the_place_where_an_earlier_one_stopped(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    ring = Ring(new_ring()[1])
    put(ring, 0, 1, 2)
    place = until(started(ring.name), 3)[-1].place
    put(ring, 3, 4)
    found = until(started(ring.name, place), 2)
    assert numbers_of(found) == [3, 4]
    assert not found[0].lapped
    ring.close()


def test_a_place_in_a_ring_that_is_gone_means_the_oldest_message(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    kept, name = new_ring()
    old = Ring(name)
    put(old, 0, 1, 2)
    place = Place(old.incarnation, old.keyin)
    old.close()
    kept.destroy()
    new_ring(key=name.key)
    ring = Ring(name)
    put(ring, 10, 11, 12, 13)
    assert numbers_of(until(started(name, place), 4)) == [10, 11, 12, 13]
    other = Place(Incarnation(place.incarnation.identifier, 1), 0)
    assert numbers_of(until(started(name, other), 4)) == [10, 11, 12, 13]
    ring.close()


def test_what_was_overwritten_before_it_was_read_is_reported(new_ring: MakeRing) -> None:
    ring = Ring(new_ring(8)[1])
    inlet = Inlet(ring.name, [WANTED], None)
    put(ring, *range(4), size=100)
    inlet._look()
    put(ring, *range(4, 200), size=100)
    while inlet._look():
        pass
    first, *rest = taken(inlet)
    assert numbers_of([first]) == [0, 1, 2, 3]
    assert rest[0].lapped
    (loss,) = [loss for each in rest for loss in each.losses]
    found = numbers_of(rest)
    assert found == list(range(200 - len(found), 200))
    assert (loss.logo, loss.reason) == (WANTED, "lapped")
    assert loss.missing % 256 == (found[0] - 4) % 256
    ring.close()


def test_a_place_that_was_overwritten_meanwhile_is_reported(new_ring: MakeRing) -> None:
    ring = Ring(new_ring(8)[1])
    put(ring, 0)
    place = Place(ring.incarnation, ring.keyin)
    put(ring, *range(1, 300), size=100)
    inlet = Inlet(ring.name, [WANTED], place)
    inlet._look()
    assert taken(inlet)[0].lapped
    ring.close()


def test_what_its_sender_left_out_is_reported(new_ring: MakeRing) -> None:
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    put(ring, 0, 1)
    ring._sequences[WANTED] += 3
    put(ring, 2)
    inlet._look()
    (delivery,) = taken(inlet)
    assert [(loss.missing, loss.reason) for loss in delivery.losses] == [(3, "gap")]
    assert not delivery.lapped
    ring.close()


# -- a main loop that is slow -----------------------------------------------------------------


def deliver_each(inlet: Inlet, ring: Ring, numbers: range, size: int) -> None:
    """One delivery for each message."""
    for number in numbers:
        put(ring, number, size=size)
        assert inlet._look()


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 5 * (800 + 200))
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    deliver_each(inlet, ring, range(5), 800)
    assert inlet.waiting_bytes == 5 * (800 + 200)
    deliver_each(inlet, ring, range(5, 20), 800)
    assert inlet.waiting_bytes <= 5 * (800 + 200)
    found = taken(inlet)
    assert numbers_of(found) == [15, 16, 17, 18, 19]
    deliver_each(inlet, ring, range(20, 21), 800)
    found += taken(inlet)
    assert sum(each.dropped for each in found) == 15
    assert found[-1].place == Place(ring.incarnation, ring.keyin)
    ring.close()


def test_what_was_dropped_is_told_though_nothing_comes_any_more(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2 * (800 + 200))
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    deliver_each(inlet, ring, range(6), 800)
    assert sum(each.dropped for each in taken(inlet)) == 4
    ring.close()


def test_losses_that_a_dropped_delivery_would_have_reported_are_reported(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2 * (800 + 200))
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    deliver_each(inlet, ring, range(1), 800)
    ring._sequences[WANTED] += 3
    deliver_each(inlet, ring, range(1, 8), 800)
    found = taken(inlet)
    deliver_each(inlet, ring, range(8, 9), 800)
    found += taken(inlet)
    assert [loss.missing for each in found for loss in each.losses] == [3]
    ring.close()


def test_one_delivery_may_be_larger_than_the_bound(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    put(ring, *range(10), size=500)
    inlet._look()
    assert numbers_of(taken(inlet)) == list(range(10))
    ring.close()


# -- rings that come and go -------------------------------------------------------------------


def test_a_new_ring_under_the_old_key_is_read_from_its_beginning(
    new_ring: MakeRing, started: Callable[..., Inlet], caplog: pytest.LogCaptureFixture
) -> None:
    kept, name = new_ring()
    old = Ring(name)
    put(old, 0, 1)
    with caplog.at_level(logging.INFO, "ml_prediction"):
        inlet = started(name)
        found = until(inlet, 2)
        kept.destroy()
        happens(lambda: inlet.missing)
        assert not inlet.ring.flag
        new_ring(key=name.key)
        new = Ring(name)
        put(new, 2, 3)
        found += until(inlet, 2)
    assert numbers_of(found) == [0, 1, 2, 3]
    assert not inlet.missing
    assert found[-1].place == Place(new.incarnation, new.keyin)
    assert not any(each.losses for each in found)
    assert [text.split(";")[0] for text in caplog.messages] == [
        f"ring {name} was destroyed",
        f"attached to ring {name}",
    ]
    old.close()
    new.close()


def test_nothing_is_lost_that_was_in_a_ring_when_it_was_replaced(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    kept, name = new_ring()
    old = Ring(name)
    inlet = Inlet(name, [WANTED], None)
    put(old, *range(50))
    kept.destroy()
    new_ring(key=name.key)
    new = Ring(name)
    put(new, *range(50, 80))
    inlet._check()
    while inlet._look():
        pass
    assert numbers_of(taken(inlet)) == list(range(80))
    old.close()
    new.close()


def test_nothing_is_lost_behind_much_of_other_modules(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, name = new_ring(512)
    old = Ring(name)
    inlet = Inlet(name, [WANTED], None)
    read = inlet._reader.read
    monkeypatch.setattr(inlet._reader, "read", lambda most=4096: read(4096))
    put(old, *range(100), logo=OTHER, size=400)
    put(old, 1, 2, 3)
    kept.destroy()
    inlet._check()
    assert numbers_of(taken(inlet)) == [1, 2, 3]
    old.close()


def test_it_ends_while_the_ring_is_missing(new_ring: MakeRing) -> None:
    kept, name = new_ring()
    inlet = Inlet(name, [WANTED], None)
    inlet.start()
    kept.destroy()
    happens(lambda: inlet.missing)
    inlet.end()
    assert not inlet.is_alive()


def test_what_was_read_can_be_taken_after_the_end(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    ring = Ring(new_ring()[1])
    inlet = started(ring.name)
    put(ring, 0, 1)
    happens(lambda: inlet.waiting_bytes > 0)
    inlet.end()
    assert numbers_of(taken(inlet)) == [0, 1]
    assert inlet.take() is None
    ring.close()


# -- caught up --------------------------------------------------------------------------------


def caught_up(inlet: Inlet) -> tuple[float, Place] | None:
    """What it says by now."""
    return inlet.caught_up


def test_it_has_caught_up_when_nothing_is_left_to_read_or_to_take(new_ring: MakeRing) -> None:
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    put(ring, 0, 1)
    assert caught_up(inlet) is None  # it has not looked yet
    inlet._look()
    assert caught_up(inlet) is None
    (delivery,) = taken(inlet)
    assert caught_up(inlet) is None  # nobody knows what came meanwhile
    before = time.monotonic()
    assert not inlet._look()
    found = caught_up(inlet)
    assert found is not None
    seconds, place = found
    assert before <= seconds <= time.monotonic()
    assert place == delivery.place == Place(ring.incarnation, ring.keyin)
    put(ring, 2)
    assert caught_up(inlet) == (seconds, place)  # of the last look
    inlet._look()
    assert caught_up(inlet) is None
    ring.close()


def test_what_waits_to_be_taken_is_not_caught_up_with_though_the_ring_is_empty(
    new_ring: MakeRing,
) -> None:
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    deliver_each(inlet, ring, range(2), 10)
    assert not inlet._look()
    assert caught_up(inlet) is None
    inlet.take()
    assert caught_up(inlet) is None
    inlet.take()
    assert caught_up(inlet) is not None
    ring.close()


def test_its_time_is_that_before_the_look(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while it looks has not been waited for."""
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    clock = iter(range(1000, 2000))
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(clock)))
        inlet._look()
    assert caught_up(inlet) == (1000.0, Place(ring.incarnation, 0))
    ring.close()


def test_the_place_is_behind_messages_that_nobody_wants(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    ring = Ring(new_ring()[1])
    inlet = Inlet(ring.name, [WANTED], None)
    put(ring, *range(5), logo=OTHER)
    assert inlet._look()
    assert caught_up(inlet) is None  # more may have come behind them
    assert not inlet._look()
    empty = caught_up(inlet)
    assert empty is not None
    place = empty[1]
    assert place == Place(ring.incarnation, ring.keyin)
    assert inlet.take() is None
    put(ring, 7)
    found = until(started(ring.name, place), 1)
    assert numbers_of(found) == [7]
    ring.close()


def test_while_the_ring_is_missing_time_is_not_waited_for(
    new_ring: MakeRing, started: Callable[..., Inlet]
) -> None:
    kept, name = new_ring()
    inlet = started(name)
    happens(lambda: caught_up(inlet) is not None)
    kept.destroy()
    happens(lambda: inlet.missing)
    before = caught_up(inlet)
    time.sleep(0.02)
    assert caught_up(inlet) == before
