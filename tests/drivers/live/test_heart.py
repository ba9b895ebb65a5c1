"""The heart beats while the main loop does, and rests while it does not."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ml_prediction.drivers.live import heart as module
from ml_prediction.drivers.live.heart import STALLED_SECONDS, Heart, Pulse
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import decode_heartbeat
from ml_prediction.earthworm.ring import RingError

LOGO = Logo(3, 117, 141)


@dataclass
class Beats:
    """What a heart has put, and a clock for its pulse that is set by hand."""

    now: float = 1000.0
    broken: bool = False
    refused: int = 0
    payloads: list[bytes] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def put(self, logo: Logo, payload: bytes) -> None:
        assert logo == LOGO
        if self.broken:
            self.refused += 1
            raise RingError("no ring")
        self.payloads.append(payload)


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Beats:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    return Beats()


@pytest.fixture
def start(beats: Beats) -> Iterator[Callable[[float], Pulse]]:
    """Starts a heart that beats every so many seconds."""
    hearts: list[Heart] = []

    def begin(seconds: float) -> Pulse:
        pulse = Pulse(beats.clock)
        hearts.append(Heart(beats.put, LOGO, seconds, pulse))
        hearts[-1].start()
        return pulse

    yield begin
    for heart in hearts:
        heart.end()
        assert not heart.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def test_a_pulse_is_alive_until_its_time_is_over() -> None:
    beats = Beats()
    pulse = Pulse(beats.clock)
    seen = [pulse.alive]
    for wait in (STALLED_SECONDS - 0.01, 0.01):
        beats.now += wait
        seen.append(pulse.alive)
    pulse.tick(600.0)
    beats.now += 599.0
    seen.append(pulse.alive)
    pulse.tick()
    beats.now += STALLED_SECONDS + 1
    seen.append(pulse.alive)
    pulse.tick()
    seen.append(pulse.alive)
    assert seen == [True, True, False, True, False, True]


def test_a_beat_has_the_time_and_our_pid(beats: Beats, start: Callable[[float], Pulse]) -> None:
    start(3600.0)
    until(lambda: bool(beats.payloads))
    beat = decode_heartbeat(beats.payloads[0])
    assert beat.pid == os.getpid()
    assert abs(beat.time - time.time()) < 60
    time.sleep(0.05)
    assert len(beats.payloads) == 1


def test_beats_go_on_at_their_pace(beats: Beats, start: Callable[[float], Pulse]) -> None:
    begin = time.monotonic()
    start(0.02)
    until(lambda: len(beats.payloads) >= 6)
    assert time.monotonic() - begin >= 5 * 0.02


def test_a_dead_pulse_stops_the_heart_and_a_new_one_starts_it_again(
    beats: Beats, start: Callable[[float], Pulse], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "ml_prediction"):
        pulse = start(0.002)
        until(lambda: len(beats.payloads) >= 2)
        beats.now += 2 * STALLED_SECONDS
        until(lambda: bool(caplog.messages))
        count = len(beats.payloads)
        time.sleep(0.05)
        assert len(beats.payloads) == count
        pulse.tick()
        until(lambda: len(beats.payloads) > count)
    assert caplog.messages == ["the main loop has stalled: no more heartbeats"]


def test_a_beat_that_the_ring_did_not_take_is_tried_again_soon(
    beats: Beats, start: Callable[[float], Pulse]
) -> None:
    beats.broken = True
    start(3600.0)
    until(lambda: beats.refused >= 3)
    beats.broken = False
    until(lambda: len(beats.payloads) == 1)


def test_a_heart_that_never_beat_can_be_ended() -> None:
    Heart(Beats().put, LOGO, 1.0, Pulse()).end()
