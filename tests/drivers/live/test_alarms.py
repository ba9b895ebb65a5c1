"""Errors are told once a minute, and none is forgotten."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.drivers.live.alarms import QUIET_SECONDS, Alarm, Alarms
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import decode_error
from ml_prediction.earthworm.ring import RingError

LOGO = Logo(2, 117, 141)


@dataclass
class Told:
    """Alarms with a clock that is set by hand, and what they have put."""

    now: float = 0.0
    broken: bool = False
    texts: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alarms = Alarms(self.put, LOGO, lambda: self.now)

    def put(self, logo: Logo, payload: bytes) -> None:
        assert logo == LOGO
        if self.broken:
            raise RingError("no ring")
        error = decode_error(payload)
        self.texts.append((error.number, error.text))


def test_the_first_is_told_at_once_and_the_others_as_one_when_the_minute_is_over() -> None:
    told = Told()
    told.alarms.tell(Alarm.DISK, "full")
    assert told.texts == [(4, "full")]
    for number in range(5):
        told.now += 1
        told.alarms.tell(Alarm.DISK, f"full {number}")
    assert len(told.texts) == 1
    told.now = QUIET_SECONDS - 0.01
    told.alarms.repeat()
    assert len(told.texts) == 1
    told.now = QUIET_SECONDS
    told.alarms.repeat()
    assert told.texts[1:] == [(4, "full 4 (5 times)")]
    told.alarms.repeat()
    told.now += QUIET_SECONDS
    told.alarms.repeat()
    assert len(told.texts) == 2


def test_kinds_do_not_hush_each_other() -> None:
    told = Told()
    for alarm in Alarm:
        told.alarms.tell(alarm, alarm.name)
    assert [number for number, _ in told.texts] == list(Alarm)


EVENTS = st.tuples(
    st.sampled_from([Alarm.LAPPED, Alarm.OVERLOAD]), st.integers(1, 50), st.floats(0, 40)
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(events=st.lists(EVENTS, max_size=30))
def test_all_counts_are_told_and_no_kind_twice_in_a_minute(
    events: list[tuple[Alarm, int, float]],
) -> None:
    told, times = Told(), []
    counts = dict.fromkeys(Alarm, 0)
    for alarm, count, wait in events:
        told.now += wait
        counts[alarm] += count
        before = len(told.texts)
        told.alarms.tell(alarm, "x", count)
        times += [(number, told.now) for number, _ in told.texts[before:]]
    told.now += QUIET_SECONDS
    told.alarms.repeat()
    assert told.alarms.counts == counts
    for alarm in (Alarm.LAPPED, Alarm.OVERLOAD):
        each = [text for number, text in told.texts if number == alarm]
        told_of = [1 if text == "x" else int(text.split("(")[1].split()[0]) for text in each]
        assert sum(told_of) == counts[alarm]
        own = [time for number, time in times if number == alarm]
        assert all(b - a >= QUIET_SECONDS for a, b in pairwise(own))


def test_without_a_ring_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(broken=True)
    with caplog.at_level(logging.ERROR, "ml_prediction"):
        told.alarms.tell(Alarm.RING, "gone", 3)
    assert caplog.messages == ["error 3: gone (3 times)"]
    assert told.alarms.counts[Alarm.RING] == 3


def test_any_text_can_be_told() -> None:
    told = Told()
    told.alarms.tell(Alarm.STATE, "a\nb\0 \N{SNOWMAN}" + "x" * 2000)
    ((_, text),) = told.texts
    assert text.startswith("a b ")
    assert len(text) < 512
