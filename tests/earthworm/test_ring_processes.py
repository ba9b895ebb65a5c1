"""A ring that is shared with other processes, which may be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from earthworm.conftest import FORMS
from ring_keeper import KeptRing, make_ring

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingName
from ml_prediction.earthworm.sysv import Mapping

MARGIN = 20.0  # seconds in which a process must have done its work on a busy machine


def named(kept: KeptRing) -> RingName:
    return RingName("KEPT_RING", kept.key)


WRITER = """
import sys, time
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import Ring, RingName

key, module, count = map(int, sys.argv[1:])
ring = Ring(RingName("KEPT_RING", key))
for number in range(count):
    ring.put(Logo(19, module, 255), b"%d " % number + bytes([number % 251]) * (number % 200))
"""

KILLED = """
import sys, time
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import Ring, RingName

def write(ring, at, message):
    print("holding", flush=True)
    time.sleep(60)

Ring._write = write
Ring(RingName("KEPT_RING", int(sys.argv[1]))).put(Logo(19, 3, 255), b"never")
"""


def program(code: str, *arguments: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def number_in(payload: bytes) -> int:
    """Number of a message of the writer, which must be whole."""
    digits, rest = payload.split(b" ", 1)
    number = int(digits)
    assert rest == bytes([number % 251]) * (number % 200)
    return number


def assert_whole(segment: memoryview) -> None:
    """The ring holds whole messages from its oldest to its newest, by the format's tables."""
    head, message = FORMS[64].head, FORMS[64].message
    size, keymax, keyin, keyold, _ = head.unpack_from(segment)
    assert size == len(segment)
    data = bytes(segment[head.size :])
    turned = (data[keyold % keymax :] + data[: keyold % keymax])[: keyin - keyold]
    at = 0
    while at < len(turned):
        start, length, *_ = message.unpack_from(turned, at)
        assert start == 111
        at += message.size + length
    assert at == len(turned)


@pytest.mark.parametrize("kilobytes", [8, 1024])  # one is lapped all the time, one hardly ever
def test_of_what_another_process_writes_nothing_is_lost_in_silence(
    ring_keys: Iterator[int], kilobytes: int
) -> None:
    count = 20_000
    kept = make_ring(next(ring_keys), kilobytes)
    ring = Ring(named(kept))
    reader = RingReader(ring)
    writer = program(WRITER, kept.key, 7, count)
    last, got, lapped = -1, 0, False
    until = time.monotonic() + MARGIN
    while last < count - 1 and time.monotonic() < until:
        batch = reader.read()
        assert not batch.broken
        losses = iter(batch.losses)
        lapped |= batch.lapped
        for message in batch.messages:
            number = number_in(message.payload)
            assert number > last
            assert message.sequence == number % 256
            missing = (number - last - 1) % 256
            if missing and got:
                loss = next(losses)
                assert (loss.logo, loss.missing) == (Logo(19, 7, 255), missing)
                assert loss.reason == "lapped"
            assert number == last + 1 or lapped
            last, got, lapped = number, got + 1, False
        assert list(losses) == []
    assert last == count - 1
    assert writer.wait(MARGIN) == 0
    assert writer.stdout is not None
    writer.stdout.close()
    ring.close()


@pytest.mark.parametrize("kilobytes", [8, 2048])
def test_many_writers_at_once_keep_the_ring_whole(ring_keys: Iterator[int], kilobytes: int) -> None:
    kept = make_ring(next(ring_keys), kilobytes)
    ring = Ring(named(kept))
    writers = [program(WRITER, kept.key, module, 3000) for module in (1, 2)]

    def write(module: int) -> None:
        for number in range(1000):
            ring.put(
                Logo(19, module, 255), b"%d " % number + bytes([number % 251]) * (number % 200)
            )

    threads = [threading.Thread(target=write, args=(module,)) for module in (3, 4, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        assert writer.wait(MARGIN) == 0
        assert writer.stdout is not None
        writer.stdout.close()
    assert kept.lock_value() == 1
    assert_whole(Mapping(kept.segment, writable=False).bytes)
    batch = RingReader(ring).read(1 << 30)
    assert not batch.broken
    assert batch.losses == []
    counts = Counter(message.logo.module for message in batch.messages)
    if kilobytes > 1000:
        assert counts == {1: 3000, 2: 3000, 3: 1000, 4: 2000}
    for module in (1, 2, 3):
        numbers = [number_in(m.payload) for m in batch.messages if m.logo.module == module]
        assert numbers == list(range(numbers[0], numbers[-1] + 1) if numbers else ())
    ring.close()


def test_a_writer_killed_inside_a_put_lets_go_of_the_lock(ring_keys: Iterator[int]) -> None:
    kept = make_ring(next(ring_keys), 8)
    victim = program(KILLED, kept.key)
    assert victim.stdout is not None
    with victim.stdout:
        assert victim.stdout.readline() == "holding\n"
        assert kept.lock_value() == 0
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.wait(MARGIN) == -signal.SIGKILL
    assert kept.lock_value() == 1
    ring = Ring(named(kept))
    assert ring.keyin == 0
    ring.put(Logo(19, 3, 255), b"after")
    assert [m.payload for m in RingReader(ring).read().messages] == [b"after"]
    ring.close()
