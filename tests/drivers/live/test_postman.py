"""Each pick goes into the ring once, whatever happens to ring, disk and process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from drivers.live.conftest import MakeRing
from factories import TIME, make_pick
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.results import Pick
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.journal import LARGEST_NUMBER, Journal
from ml_prediction.drivers.live.postman import Postman
from ml_prediction.earthworm import reader
from ml_prediction.earthworm.config import PickFormat
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.messages import decode_pick2k, decode_pick_scnl
from ml_prediction.earthworm.reader import RingReader
from ml_prediction.earthworm.ring import Ring, RingError
from ml_prediction.sinks.earthworm import PickStyle, pick_messages
from ml_prediction.util.codes import Instrument

SCNL = Logo(8, 117, 141)
TWO_K = Logo(9, 117, 141)
ERROR = Logo(2, 117, 141)
BOTH: dict[PickFormat, Logo] = {"PICK_SCNL": SCNL, "PICK2K": TWO_K}
ONE: dict[PickFormat, Logo] = {"PICK_SCNL": SCNL}
OTHER: dict[PickFormat, Logo] = {"PICK2K": TWO_K}
CHANNELS = {Instrument("BW", "RJOB", "", "EH"): ("EHZ", "EHN", "EHE")}


@dataclass
class Box:
    """Stands for a ring: keeps what is put, and fails when it is told to."""

    kept: list[tuple[Logo, bytes]] = field(default_factory=list)
    failures: list[bool] = field(default_factory=list)

    def put(self, logo: Logo, payload: bytes) -> None:
        if self.failures and self.failures.pop(0):
            raise RingError("Ring PICK_RING (key 1005) was destroyed.")
        self.kept.append((logo, payload))

    def numbers(self, logo: Logo = SCNL) -> list[int]:
        decode = decode_pick_scnl if logo == SCNL else decode_pick2k
        return [decode(payload).sequence for its, payload in self.kept if its == logo]


@dataclass
class Desk:
    """A postman with all that he needs."""

    path: Path
    box: Box = field(default_factory=Box)
    logos: dict[PickFormat, Logo] = field(default_factory=lambda: ONE)
    phases: str = "PS"
    told: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> Postman:
        """As a new process does."""
        self.journal = Journal(self.path)
        self.alarms = Alarms(lambda _, payload: self.told.append(payload), ERROR)
        self.postman = Postman(
            self.journal, self.box.put, PickStyle(self.logos), self.phases, self.alarms
        )
        return self.postman

    def send(self, picks: Iterable[Pick]) -> list[int]:
        return [number for _, number in self.postman.send(picks, CHANNELS)]


def picks(count: int, first: int = 0, **changes: Any) -> list[Pick]:
    """Picks a second apart."""
    return [make_pick(**{"time": TIME + n, **changes}) for n in range(first, first + count)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "journal")


def test_picks_go_out_in_order_with_rising_numbers(desk: Desk) -> None:
    new = desk.postman.send(picks(3), CHANNELS)
    assert new == list(zip(picks(3), (0, 1, 2), strict=True))
    assert desk.send(picks(2, 3)) == [3, 4]
    assert desk.box.numbers() == [0, 1, 2, 3, 4]
    assert desk.postman.unsent == 0
    assert {logo for logo, _ in desk.box.kept} == {SCNL}


def test_phases_that_are_not_wanted_stay_at_home(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal", phases="P")
    assert desk.send([*picks(1, phase="S"), *picks(1)]) == [0]
    assert desk.send(picks(1, phase="S")) == []
    assert desk.postman.known == 0
    ((_, payload),) = desk.box.kept
    assert decode_pick_scnl(payload).nslc.channel == "EHZ"


def test_channels_of_the_instrument_decide_where_s_goes(tmp_path: Path) -> None:
    box = Box()
    alarms = Alarms(lambda *_: None, ERROR)
    style = PickStyle(ONE, s_component="E")
    postman = Postman(Journal(tmp_path / "j"), box.put, style, "PS", alarms)
    postman.send(picks(1, phase="S", channel="EHN"), CHANNELS)
    postman.send(picks(1, 5, phase="S", channel="EHN"), {})
    found = [decode_pick_scnl(payload).nslc.channel for _, payload in box.kept]
    assert found == ["EHE", "EHN"]


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.1, 0.03])
def test_a_pick_that_was_computed_again_is_not_sent_again(desk: Desk, shift: float) -> None:
    assert desk.send(picks(2)) == [0, 1]
    assert desk.send(picks(2)) == []
    assert desk.send([make_pick(peak_time=TIME + shift, time=TIME + 0.2)]) == []
    assert desk.postman.known == 3
    desk.open()
    assert desk.postman.known == 0
    assert desk.send([*picks(2), *picks(1, 2)]) == [2]
    assert desk.box.numbers() == [0, 1, 2]


def test_a_pick_that_comes_twice_at_once_is_sent_once(desk: Desk) -> None:
    assert desk.send([make_pick(), make_pick(time=TIME + 0.02)]) == [0]


def test_other_phases_and_instruments_at_the_same_time_are_other_picks(desk: Desk) -> None:
    same = [make_pick(), make_pick(phase="S"), make_pick(channel="HHZ"), make_pick(location="00")]
    assert desk.send(same) == [0, 1, 2, 3]
    assert desk.send([make_pick(time=TIME + 0.11)]) == [4]


# -- a ring that fails ------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    groups=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    failures=st.lists(st.booleans(), max_size=25),
    both=st.booleans(),
    restarts=st.sets(st.integers(0, 4)),
)
def test_each_message_goes_out_once_and_in_order_through_any_failures(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[int],
    failures: list[bool],
    both: bool,
    restarts: set[int],
) -> None:
    """Restarts only where no pick is half out: the box can't be looked into."""
    logos = BOTH if both else ONE
    desk = Desk(tmp_path_factory.mktemp("desk") / "journal", Box(failures=failures), logos)
    sent = 0
    for at, count in enumerate(groups):
        desk.send(picks(count, sent))
        sent += count
        if at in restarts and len(desk.box.kept) % len(logos) == 0:
            desk.open()
        desk.postman.retry()
    desk.box.failures.clear()
    desk.postman.retry()
    assert desk.postman.unsent == 0
    for logo in logos.values():
        assert desk.box.numbers(logo) == list(range(sent))
    assert [logo for logo, _ in desk.box.kept] == list(logos.values()) * sent


def test_a_ring_that_is_not_there_is_told_and_the_picks_wait(desk: Desk) -> None:
    desk.box.failures = [True, True]
    assert desk.send(picks(3)) == [0, 1, 2]
    assert desk.postman.unsent == 3
    desk.postman.retry()
    assert desk.box.kept == []
    assert desk.alarms.counts[Alarm.RING] == 2
    assert b"PICK_RING" in desk.told[0]
    desk.postman.retry()
    assert desk.box.numbers() == [0, 1, 2]


def test_picks_that_no_ring_took_for_too_long_are_told(desk: Desk) -> None:
    desk.journal._kept = 4
    desk.box.failures = [True] * 20
    desk.send(picks(3))
    desk.send(picks(3, 3))
    assert desk.postman.unsent == 4
    before = desk.alarms.counts[Alarm.RING]
    for _ in range(2):
        desk.postman.flush()
        assert desk.alarms.counts[Alarm.RING] == before + 2


def test_picks_are_noted_on_disk_before_the_ring_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    on_disk: list[list[int]] = []
    alarms = Alarms(lambda *_: None, ERROR)

    def put(logo: Logo, payload: bytes) -> None:
        (tmp_path / "copy").write_bytes(path.read_bytes())
        on_disk.append(list(Journal(tmp_path / "copy").unsent))

    Postman(Journal(path), put, PickStyle(ONE), "PS", alarms).send(picks(2), CHANNELS)
    assert on_disk == [[0, 1], [0, 1]]


def test_a_pick_that_no_message_can_hold_is_told_and_costs_no_number(desk: Desk) -> None:
    odd = make_pick(station="TOOLONGNAME", time=TIME + 50)
    assert desk.send([*picks(1), odd, *picks(1, 1)]) == [0, 1]
    assert desk.box.numbers() == [0, 1]
    assert desk.alarms.counts[Alarm.MALFORMED] == 1


def full(*args: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_with_a_full_disk_people_get_their_picks_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert desk.send(picks(2)) == [0, 1]
        assert desk.send(picks(2)) == []
    assert desk.alarms.counts[Alarm.DISK] >= 1
    assert desk.box.numbers() == [0, 1]
    assert desk.send(picks(1, 2)) == [2]
    desk.open()
    assert desk.postman.unsent == 0
    assert desk.send(picks(3)) == []


def test_what_a_full_disk_did_not_take_is_noted_when_there_is_room_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        desk.send(picks(2))
        told = desk.alarms.counts[Alarm.DISK]
        desk.postman.flush()
        assert desk.alarms.counts[Alarm.DISK] == told + 1
    desk.postman.flush()
    assert desk.alarms.counts[Alarm.DISK] == told + 1
    desk.open()
    assert desk.send(picks(3)) == [2]
    assert desk.postman.unsent == 0


def test_numbers_wrap_and_go_on(desk: Desk) -> None:
    for number in (1_000_000_000, 2_000_000_000, LARGEST_NUMBER - 1):
        desk.journal.reserve(number)
    assert desk.send(picks(3)) == [LARGEST_NUMBER, 0, 1]
    assert desk.box.numbers() == [LARGEST_NUMBER, 0, 1]


# -- a process that was killed ----------------------------------------------------------------


def in_ring(ring: Ring) -> list[tuple[Logo, bytes]]:
    reader, found = RingReader(ring, [EVERYTHING]), []
    while reader.position < ring.keyin:
        found += [(message.logo, message.payload) for message in reader.read().messages]
    return found


class Killed(Exception):  # noqa: N818
    """As by kill -9."""


def killed_after(desk: Desk, ring: Ring, messages: int, count: int) -> None:
    """Send picks, but die right after so many messages: nothing is marked."""
    left = iter(range(messages))

    def put(logo: Logo, payload: bytes) -> None:
        if next(left, None) is None:
            raise Killed
        ring.put(logo, payload)

    desk.box.put = put  # type: ignore[method-assign]
    desk.open()
    try:
        desk.send(picks(count))
    except Killed:
        pass
    else:
        # All were put; die before they are marked.
        text = desk.path.read_text().splitlines(keepends=True)
        desk.path.write_text("".join(line for line in text if not line.startswith('{"sent"')))
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("logos", [ONE, OTHER, BOTH], ids=["scnl", "2k", "both"])
@pytest.mark.parametrize("messages", range(7))
def test_what_is_in_the_ring_is_not_sent_again_and_the_rest_is(
    tmp_path: Path, new_ring: MakeRing, logos: dict[PickFormat, Logo], messages: int
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal", logos=logos)
    killed_after(desk, ring, messages, 3)
    postman = desk.open()
    whole = min(messages // len(logos), 3)
    assert postman.look_back(ring) == postman.unsent == 3 - whole
    postman.retry()
    found = in_ring(ring)
    assert len(found) == len(set(found)) == 3 * len(logos)
    for logo in logos.values():
        decode = decode_pick_scnl if logo == SCNL else decode_pick2k
        assert [decode(payload).sequence for its, payload in found if its == logo] == [0, 1, 2]
    assert desk.send([*picks(3), *picks(1, 3)]) == [3]
    ring.close()


def test_numbers_in_the_ring_are_nobody_elses_though_the_journal_is_lost(
    tmp_path: Path, new_ring: MakeRing
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal")
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]
    desk.open()
    assert desk.send(picks(5)) == [0, 1, 2, 3, 4]
    desk.path.unlink()
    assert desk.open().look_back(ring) == 0
    assert desk.send(picks(1, 9)) == [5]
    ring.close()


def sent_with_a_full_disk(
    desk: Desk, ring: Ring, sent: list[Pick], patch: pytest.MonkeyPatch
) -> list[int]:
    """Numbers of picks that go into the ring, but not into the journal; then we are killed."""
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]
    desk.open()
    with patch.context() as here:
        here.setattr(os, "write", full)
        return desk.send(sent)


def several() -> list[Pick]:
    """P and S of two instruments; times are up to 0.1 s off the peaks."""
    return [
        make_pick(time=TIME + 0.09, peak_time=TIME),
        make_pick(time=TIME + 2.9, peak_time=TIME + 3, phase="S", channel="EHN"),
        make_pick(time=TIME, station="WET", channel="HHZ", location="00"),
    ]


@pytest.mark.parametrize("logos", [ONE, BOTH], ids=["scnl", "both"])
@pytest.mark.parametrize("shift", [0.0, 0.1, -0.1])
def test_picks_in_the_ring_that_no_journal_knows_are_not_sent_again(
    tmp_path: Path,
    new_ring: MakeRing,
    monkeypatch: pytest.MonkeyPatch,
    logos: dict[PickFormat, Logo],
    shift: float,
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal", logos=logos)
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]
    desk.open()
    assert desk.send(picks(2, 60)) == [0, 1]
    assert sent_with_a_full_disk(desk, ring, several(), monkeypatch) == [2, 3, 4]
    before = in_ring(ring)
    postman = desk.open()
    assert desk.journal.next_number == 2
    assert postman.look_back(ring) == 0
    again = [replace(pick, peak_time=pick.peak_time + shift) for pick in several()]
    assert desk.send([*again, *picks(2, 60)]) == []
    assert postman.known == 5
    assert in_ring(ring) == before
    other = make_pick(time=TIME + 1, station="WET", channel="HHZ", location="00")
    assert desk.send([*picks(1, 90), other]) == [5, 6]  # nobody else has these numbers
    ring.close()


def test_a_disk_that_is_still_full_at_the_next_start_changes_nothing(
    tmp_path: Path, new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal")
    sent_with_a_full_disk(desk, ring, several(), monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(os, "fsync", full)
        postman = desk.open()
        assert postman.look_back(ring) == 0
        assert desk.alarms.counts[Alarm.DISK] == 1
        assert any(b"No space" in text for text in desk.told)
        assert desk.send([*several(), *picks(1, 60)]) == [3]
    assert postman.unsent == 0
    desk.open().look_back(ring)
    assert desk.send([*several(), *picks(1, 60)]) == []
    ring.close()


def test_a_pick_that_waits_is_not_mistaken_for_one_of_the_ring(
    tmp_path: Path, new_ring: MakeRing
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal", Box(failures=[True]))
    assert desk.send(picks(1, 60)) == [0]
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]
    ring.put(SCNL, pick_messages(make_pick(), 5, PickStyle(ONE), ())[0][1])
    postman = desk.open()
    assert postman.look_back(ring) == 1
    postman.retry()
    assert [decode_pick_scnl(payload).sequence for _, payload in in_ring(ring)] == [5, 0]
    assert desk.send([make_pick(), *picks(1, 60), *picks(1, 70)]) == [6]
    ring.close()


def test_picks_of_others_and_odd_ones_of_ours_are_passed_over(
    tmp_path: Path, new_ring: MakeRing
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal", Box(failures=[True]))
    desk.send(picks(1))
    ring.put(Logo(8, 3, 141), b"8 3 141 0 RJOB.EHZ.BW.-- U1 20090824002007.720 1234 0 0\n")
    ring.put(SCNL, b"garbage")
    assert desk.open().look_back(ring) == 1
    ring.close()


def test_an_old_pick2k_of_the_same_last_digits_does_not_stand_for_a_new_one(
    tmp_path: Path, new_ring: MakeRing
) -> None:
    ring = Ring(new_ring()[1])
    desk = Desk(tmp_path / "journal", logos=OTHER)
    desk.box.put = ring.put  # type: ignore[assignment, method-assign]
    desk.open()
    desk.journal.reserve(4)
    assert desk.send(picks(1)) == [5]
    desk.journal.reserve(10_004)
    desk.box = Box(failures=[True])
    desk.postman._put = desk.box.put
    assert desk.send(picks(1, 7)) == [10_005]
    assert desk.open().look_back(ring) == 1
    ring.close()


def test_picks_behind_much_of_other_modules_are_found(
    tmp_path: Path, new_ring: MakeRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(new_ring(512)[1])
    desk = Desk(tmp_path / "journal")

    class ShortReader(RingReader):
        def read(self, most: int = 4096) -> Any:
            return super().read(min(most, 4096))

    monkeypatch.setattr(reader, "RingReader", ShortReader)
    for _ in range(100):
        ring.put(Logo(19, 5, 141), bytes(400))
    killed_after(desk, ring, 1, 1)
    assert desk.open().look_back(ring) == 0
    ring.close()
