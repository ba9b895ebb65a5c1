"""The time of instruments that send nothing goes on by itself, by the monotonic clock alone."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.silence import AGAIN_SECONDS, FORGET_SECONDS, Silence
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS

START = 1_700_000_000
TAIL = 25.0  # seconds in which the last windows of a silent instrument close
GNW = Instrument("UW", "GNW", "", "HH")
MBW = Instrument("CC", "MBW", "01", "EH")


def packet(instrument: Instrument, end: float, letter: str = "Z") -> Packet:
    nslc = NSLC(*instrument[:3], instrument.prefix + letter)
    start_ns = (START - 1) * NANOSECONDS + round((end + 0.01) * NANOSECONDS)
    return Packet(nslc, start_ns, 100.0, np.zeros(100, np.int32))


def seconds(found: list[tuple[Instrument, int]]) -> dict[Instrument, float]:
    return {each: (time_ns - START * NANOSECONDS) / NANOSECONDS for each, time_ns in found}


def test_nobody_is_silent_before_the_timeout_is_over() -> None:
    silence = Silence(120.0, TAIL)
    assert list(silence.over(10.0**9)) == []
    silence.note(packet(GNW, 0.0), 1000.0)
    assert list(silence.over(1120.0)) == []


def test_the_time_is_that_of_the_newest_sample_plus_the_silence() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 5.0), 1100.0)
    assert seconds(list(silence.over(1121.0))) == {GNW: 121.0}
    assert seconds(list(silence.over(1230.0))) == {GNW: 230.0, MBW: 135.0}
    assert silence.snapshot() == [
        [*GNW, START * NANOSECONDS],
        [*MBW, (START + 5) * NANOSECONDS],
    ]


def test_any_channel_ends_the_silence_of_its_instrument() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(GNW, 1.0, "E"), 1150.0)
    assert list(silence.over(1200.0)) == []
    assert seconds(list(silence.over(1271.0))) == {GNW: 122.0}


def test_older_data_do_not_turn_the_time_back() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 50.0), 1000.0)
    silence.note(packet(GNW, -3000.0), 1001.0)
    assert seconds(list(silence.over(1201.0))) == {GNW: 250.0}


def test_after_a_restart_silence_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 5.0), 1000.0)
    state = json.loads(json.dumps(silence.snapshot()))
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)  # of another boot
    again = Silence(120.0, TAIL)
    again.restore(state)
    assert list(again.over(170.0)) == []
    assert seconds(list(again.over(171.0))) == {GNW: 121.0, MBW: 126.0}
    assert again.snapshot() == state


# -- how often --------------------------------------------------------------------------------


def told_at(silence: Silence, begin: float, end: float, step: float = 0.5) -> list[float]:
    """When somebody is told, asking every so many seconds."""
    moments = [begin + n * step for n in range(round((end - begin) / step) + 1)]
    return [now for now in moments if list(silence.over(now))]


def test_a_silent_instrument_is_told_every_5_s_until_its_tail_is_over() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    assert AGAIN_SECONDS == 5.0
    # The one after 145 s closes the last windows.
    expected = [1120.5, 1125.5, 1130.5, 1135.5, 1140.5, 1145.5]
    assert told_at(silence, 1000.0, 1000.0 + FORGET_SECONDS - 0.5) == expected


@pytest.mark.parametrize("pause", [121.0, 146.0, 1000.0])
def test_the_last_time_told_is_that_of_the_whole_tail_however_seldom_it_is_asked(
    pause: float,
) -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    last = 0.0
    for n in range(1, 4):
        last = max([last, *seconds(list(silence.over(1000.0 + n * pause))).values()])
    assert last > 120.0 + TAIL


def test_a_packet_makes_an_instrument_be_told_anew() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    assert told_at(silence, 1000.0, 2000.0, 1.0)[-1] == 1146.0
    silence.note(packet(GNW, -500.0), 2000.0)  # whatever it says: something came
    expected = [2121.0, 2126.0, 2131.0, 2136.0, 2141.0, 2146.0]
    assert told_at(silence, 2000.0, 3000.0, 1.0) == expected
    silence.note(packet(GNW, 3000.0), 3000.0)
    silence.note(packet(GNW, 3000.0), 3000.0 - 119.0)  # one that had waited for us
    assert told_at(silence, 3000.0, 3010.0, 1.0) == [3002.0, 3007.0]


def test_each_instrument_has_its_own_turn() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 0.0), 1002.0)
    for now, expected in ((1121.0, [GNW]), (1123.0, [MBW]), (1126.0, [GNW]), (1128.0, [MBW])):
        assert [instrument for instrument, _ in silence.over(now)] == expected


def test_who_was_not_told_for_want_of_time_is_told_in_the_next_round() -> None:
    silence = Silence(120.0, TAIL)
    for instrument in (GNW, MBW):
        silence.note(packet(instrument, 0.0), 1000.0)
    assert next(silence.over(1121.0))[0] == GNW
    assert [instrument for instrument, _ in silence.over(1121.1)] == [MBW]
    assert list(silence.over(1121.2)) == []


# -- what is no silence -----------------------------------------------------------------------


def test_a_pause_of_our_own_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time counts up to the moment at which all that had come was noted, however late it is."""
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 90_000.0)
    assert list(silence.over(1000.5)) == []
    assert silence.gone(1000.5) == []
    silence.note(packet(GNW, 1.0), 1001.0)  # what had waited meanwhile
    assert list(silence.over(1001.5)) == []


# -- forgetting -------------------------------------------------------------------------------


def test_what_is_silent_for_an_hour_is_gone_and_forgotten() -> None:
    silence = Silence(120.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(MBW, 0.0), 1010.0)
    assert FORGET_SECONDS == 3600.0
    assert silence.gone(4600.0) == []
    assert silence.gone(4601.0) == [GNW]
    assert silence.gone(4601.0) == []
    assert [each[:4] for each in silence.snapshot()] == [[*MBW]]
    assert [instrument for instrument, _ in silence.over(4605.0)] == [MBW]
    silence.note(packet(GNW, 0.0), 4700.0)  # it is back
    assert silence.gone(8200.0) == [MBW]
    assert seconds(list(silence.over(4821.0))) == {GNW: 121.0}


def test_nobody_is_forgotten_before_the_tail_is_over() -> None:
    silence = Silence(7200.0, TAIL)
    silence.note(packet(GNW, 0.0), 1000.0)
    assert silence.gone(1000.0 + 7200.0 + TAIL) == []
    assert seconds(list(silence.over(8201.0))) == {GNW: 7201.0}
    assert silence.gone(1001.0 + 7200.0 + TAIL) == [GNW]


# -- sites ------------------------------------------------------------------------------------

STRONG = Instrument("UW", "GNW", "", "EN")
SITE = (GNW, STRONG)


def test_the_time_of_a_silent_instrument_is_told_as_long_as_its_site_sends() -> None:
    silence = Silence(120.0, TAIL, [SITE])
    silence.note(packet(STRONG, 0.0), 1000.0)
    silence.note(packet(MBW, 0.0), 1000.0)
    for second in range(0, 8000, 10):
        silence.note(packet(GNW, second), 1000.0 + second)
        if second > 150:
            told = seconds(list(silence.over(1000.0 + second)))
            assert told.keys() - {MBW} == {STRONG}
            assert told[STRONG] == second
    assert silence.gone(9000.0) == [MBW]
    assert set(silence.gone(9000.0 + FORGET_SECONDS)) == {GNW, STRONG}


def test_the_time_of_an_instrument_that_never_came_is_told() -> None:
    silence = Silence(120.0, TAIL, [SITE])
    silence.note(packet(GNW, 0.0), 1000.0)
    silence.note(packet(GNW, 119.0), 1119.0)
    assert list(silence.over(1120.0)) == []
    assert seconds(list(silence.over(1121.0))) == {STRONG: pytest.approx(121.0 - 0.99)}
    assert silence.gone(1000.0 + FORGET_SECONDS) == []


def test_the_time_of_a_silent_instrument_is_not_behind_that_of_its_site() -> None:
    """After a restart, or where an hour of old data is read at once."""
    silence = Silence(120.0, TAIL, [SITE])
    silence.note(packet(STRONG, 0.0), 1000.0)
    silence.note(packet(GNW, 3600.0), 1100.0)
    assert seconds(list(silence.over(1121.0))) == {STRONG: 3600.0}
    assert seconds(list(silence.over(1221.0))) == {GNW: 3721.0, STRONG: 221.0}  # nobody sends
