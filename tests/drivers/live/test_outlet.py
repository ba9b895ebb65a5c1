"""Messages go into the ring that its name stands for now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from drivers.live.conftest import MakeRing

from ml_prediction.drivers.live import outlet as module
from ml_prediction.drivers.live.outlet import Outlet
from ml_prediction.earthworm import ring as ring_module
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingBusyError, RingError, RingName

LOGO = Logo(8, 117, 141)


def payloads(name: RingName) -> list[bytes]:
    ring = Ring(name)
    try:
        return [message.payload for message in RingReader(ring, [EVERYTHING]).read().messages]
    finally:
        ring.close()


def test_messages_lie_in_the_ring(new_ring: MakeRing) -> None:
    name = new_ring()[1]
    outlet = Outlet(name)
    outlet.put(LOGO, b"one")
    outlet.put(LOGO, b"two")
    assert payloads(name) == [b"one", b"two"]
    assert outlet.ring is not None
    outlet.close()
    assert outlet.ring is None


def test_without_a_ring_it_cannot_begin(ring_keys: Iterator[int]) -> None:
    with pytest.raises(RingError):
        Outlet(RingName("NO_RING", next(ring_keys)))


def test_a_destroyed_ring_takes_nothing_and_a_new_one_does(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.0)
    kept, name = new_ring()
    outlet = Outlet(name)
    outlet.put(LOGO, b"old")
    kept.destroy()
    for _ in range(3):
        with pytest.raises(RingError):
            outlet.put(LOGO, b"lost")
        with pytest.raises(RingError):
            outlet.check()
    assert outlet.ring is None
    new_ring(key=name.key)
    outlet.check()
    outlet.put(LOGO, b"new")
    assert payloads(name) == [b"new"]
    outlet.close()


def test_a_ring_that_was_replaced_between_two_checks_is_not_put_into(new_ring: MakeRing) -> None:
    kept, name = new_ring()
    outlet = Outlet(name)
    kept.destroy()
    new_ring(key=name.key)
    with pytest.raises(RingError):  # not into memory that nobody reads
        outlet.put(LOGO, b"one")
    outlet.put(LOGO, b"two")  # it has looked
    assert payloads(name) == [b"two"]
    outlet.close()


def test_a_lock_that_nobody_lets_go_of_is_waited_for_once_in_a_while(
    new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "LOCK_SECONDS", 0.01)
    kept, name = new_ring()
    outlet = Outlet(name)
    kept.set_lock_value(0)
    with pytest.raises(RingBusyError):
        outlet.put(LOGO, b"one")
    kept.set_lock_value(1)
    with pytest.raises(RingBusyError, match="a moment ago"):
        outlet.put(LOGO, b"one")
    monkeypatch.setattr(outlet, "_not_before", 0.0)
    outlet.put(LOGO, b"one")
    assert payloads(name) == [b"one"]
    assert kept.lock_value() == 1
    outlet.close()


def test_a_message_longer_than_the_ring_costs_only_itself(new_ring: MakeRing) -> None:
    name = new_ring(1)[1]
    outlet = Outlet(name)
    with pytest.raises(RingError, match="does not fit"):
        outlet.put(LOGO, bytes(2000))
    outlet.put(LOGO, b"one")
    assert payloads(name) == [b"one"]
    outlet.close()


def test_threads_do_not_mix_their_messages(new_ring: MakeRing) -> None:
    name = new_ring(512)[1]
    outlet = Outlet(name)

    def work(letter: bytes) -> None:
        for _ in range(300):
            outlet.put(LOGO, letter * 50)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = payloads(name)
    assert len(found) == 900
    assert all(found.count(letter * 50) == 300 for letter in (b"a", b"b", b"c"))
    outlet.close()


def test_patience_with_other_writers_may_be_short_and_be_changed(new_ring: MakeRing) -> None:
    kept, name = new_ring()
    outlet = Outlet(name, 0.02)
    kept.set_lock_value(0)
    begin = time.monotonic()
    with pytest.raises(RingBusyError, match=r"lock in 0\.02 s"):
        outlet.put(LOGO, b"one")
    assert 0.019 < time.monotonic() - begin < 1.0
    outlet._not_before = 0.0
    outlet.patience = 0.01
    with pytest.raises(RingBusyError, match=r"lock in 0\.01 s"):
        outlet.put(LOGO, b"one")
    kept.set_lock_value(1)
    outlet._not_before = 0.0
    outlet.put(LOGO, b"one")
    assert payloads(name) == [b"one"]
    outlet.close()
