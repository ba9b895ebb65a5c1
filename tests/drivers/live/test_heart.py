"""The heart beats while the main loop does, and rests while it does not."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

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


# -- told to end ------------------------------------------------------------------------------


@dataclass
class Told:
    """What a heart that watches the end has done, by the clock."""

    told: bool = False
    asked: int = 0
    given_up: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def ask(self) -> bool:
        self.asked += 1
        return self.told

    def give_up(self, status: int) -> None:
        self.given_up.append(time.monotonic())
        self.statuses.append(status)

    def looks(self, count: int = 3) -> None:
        """Wait until the heart has looked so many times."""
        before = self.asked
        until(lambda: self.asked >= before + count)


Watched: TypeAlias = tuple[Pulse, Told, Callable[[float], None]]


@pytest.fixture
def watched(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Its pulse, what it does, and a look of a heart so many seconds later."""
    told, pulse = Told(), Pulse(beats.clock)
    pulse.starting = False
    heart = Heart(beats.put, LOGO, 3600.0, pulse, told.ask, told.give_up)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def watch(seconds: float) -> None:
        now[0] += seconds
        heart._watch()

    return pulse, told, watch


def test_a_loop_that_does_not_heed_the_end_has_a_second_and_a_half(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    _, told, watch = watched
    watch(100.0)
    told.told = True
    for seconds in (100.0, 0.1, 1.3):
        watch(seconds)
    assert told.given_up == []
    assert caplog.messages == []
    watch(0.2)
    assert told.statuses == [1]
    assert caplog.messages == ["ends at once: the main loop did not heed that it was told to end"]


def test_an_end_while_the_model_loads_is_no_failure(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pulse, told, watch = watched
    pulse.starting = told.told = True
    for seconds in (0.1, 1.4, 0.2):
        watch(seconds)
    assert told.statuses == [0]
    assert caplog.messages == ["ended as it was told to, before it had begun"]


def test_a_loop_that_is_saving_its_state_has_8_seconds(watched: Watched) -> None:
    pulse, told, watch = watched
    told.told = True
    watch(0.1)
    pulse.finishing = True
    watch(7.9)
    assert told.given_up == []
    watch(0.2)
    assert len(told.given_up) == 1


def test_an_end_that_was_told_once_stays_told(watched: Watched) -> None:
    """The flag in a ring can be gone in the next moment, e.g. with the ring."""
    _, told, watch = watched
    told.told = True
    watch(0.1)
    told.told = False
    watch(1.6)
    assert len(told.given_up) == 1


def test_nobody_gives_up_while_all_is_well(watched: Watched, beats: Beats) -> None:
    pulse, told, watch = watched
    for _ in range(1000):
        watch(1.0)
    beats.now += 10 * STALLED_SECONDS  # a loop that has stalled is statmgr's affair
    watch(1.0)
    assert not pulse.alive
    pulse.finishing = True
    watch(100.0)
    assert told.given_up == []


@pytest.mark.parametrize("stalled", [False, True])
def test_a_running_heart_sees_to_the_end_whether_or_not_it_still_beats(
    beats: Beats, monkeypatch: pytest.MonkeyPatch, stalled: bool
) -> None:
    monkeypatch.setattr(module, "HEEDING_SECONDS", 0.03)
    told, pulse = Told(), Pulse(beats.clock)
    heart = Heart(beats.put, LOGO, 3600.0, pulse, told.ask, told.give_up)
    heart.start()
    beats.now += 2 * STALLED_SECONDS * stalled
    told.looks()
    assert told.given_up == []
    told.told = True
    begin = time.monotonic()
    until(lambda: bool(told.given_up))
    assert told.given_up[0] - begin > 0.03
    heart.end()


def test_a_run_that_ends_in_time_is_let_end(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEEDING_SECONDS", 0.15)
    told, pulse = Told(told=True), Pulse(beats.clock)
    heart = Heart(beats.put, LOGO, 3600.0, pulse, told.ask, told.give_up)
    heart.start()
    until(lambda: bool(told.asked))
    pulse.finishing = True
    time.sleep(0.2)
    heart.end()
    assert not heart.is_alive()
    assert told.given_up == []
