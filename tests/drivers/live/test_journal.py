"""Numbers of picks are never used twice, and no pick is forgotten before it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from drivers.live.journal_entries import LOGO, PEAK, STATION, entries, entry
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.drivers.live.journal import (
    LARGEST_NUMBER,
    SAME_NS,
    Entry,
    Journal,
    numbered,
)
from ml_prediction.earthworm.logo import Logo


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "picks.journal"


def numbers_given(journal: Journal, count: int) -> list[int]:
    """Numbers that so many picks get, one by one."""
    found = []
    for _ in range(count):
        found.append(journal.next_number)
        journal.add([entry(journal.next_number)])
    return found


# -- numbers ----------------------------------------------------------------------------------


def test_numbers_begin_with_0_and_go_on_in_the_next_process(path: Path) -> None:
    assert numbers_given(Journal(path), 3) == [0, 1, 2]
    assert numbers_given(Journal(path), 2) == [3, 4]
    assert Journal(path).next_number == 5


def test_numbers_go_on_when_all_picks_are_sent_and_forgotten(path: Path) -> None:
    journal = Journal(path, kept=2)
    for number in range(10):
        journal.add([entry(number)])
        journal.mark_sent([number])
    assert Journal(path, kept=2).next_number == 10
    assert Journal(path, kept=1).next_number == 10


def test_numbers_wrap_after_the_largest(path: Path) -> None:
    journal = Journal(path)
    journal.reserve(1_000_000_000)
    journal.reserve(2_000_000_000)
    journal.reserve(LARGEST_NUMBER - 2)
    assert journal.next_number == LARGEST_NUMBER - 1
    assert numbers_given(journal, 4) == [LARGEST_NUMBER - 1, LARGEST_NUMBER, 0, 1]
    assert Journal(path).next_number == 2
    first = numbered(LARGEST_NUMBER - 1)
    assert [next(first) for _ in range(3)] == [LARGEST_NUMBER - 1, LARGEST_NUMBER, 0]


def test_a_reserved_number_is_given_to_nobody(path: Path) -> None:
    journal = Journal(path)
    journal.reserve(7)
    assert journal.next_number == 8
    journal.reserve(3)  # those before it are gone as well
    assert journal.next_number == 8


def test_what_is_left_in_a_ring_from_before_the_wrap_does_not_turn_the_count_back(
    path: Path,
) -> None:
    journal = Journal(path)
    journal.add([entry(4)])
    journal.reserve(LARGEST_NUMBER - 5)
    assert journal.next_number == 5


# -- from one process to the next -------------------------------------------------------------


def test_unsent_picks_are_found_again_with_what_they_say(path: Path) -> None:
    journal = Journal(path)
    odd = bytes(range(256))
    messages = ((LOGO, odd), (Logo(9, 117, 141), b"second"))
    journal.add([entry(0), entry(1, messages=messages), entry(2)])
    journal.mark_sent([0])
    again = Journal(path)
    assert list(again.unsent) == [1, 2]
    assert again.unsent[1] == entry(1, messages=messages)
    assert again.find(STATION, "P", entry(0).peak_ns) == entry(0)


def test_a_rewritten_journal_keeps_everything(path: Path) -> None:
    journal = Journal(path)
    journal.add(entries(0, 1, 2, 3))
    journal.mark_sent([1, 3])
    for _ in range(3):
        journal = Journal(path)
        assert list(journal.unsent) == [0, 2]
        assert journal.next_number == 4
        for number in range(4):
            assert journal.find(STATION, "P", entry(number).peak_ns) == entry(number)


def test_the_file_does_not_grow_without_end(path: Path) -> None:
    journal = Journal(path, kept=5)
    sizes = []
    for number in range(200):
        journal.add([entry(number)])
        journal.mark_sent([number])
        sizes.append(path.stat().st_size)
    assert max(sizes[100:]) <= max(sizes[:100]) * 1.2
    again = Journal(path, kept=5)
    assert again.next_number == 200
    assert [number for number in range(200) if again.find(STATION, "P", entry(number).peak_ns)] == [
        195, 196, 197, 198, 199,
    ]  # fmt: skip


@pytest.mark.parametrize("last", ["pick", "sent", "next"])
def test_a_cut_anywhere_in_the_last_line_costs_only_that_line(path: Path, last: str) -> None:
    journal = Journal(path)
    journal.add(entries(0, 1, 2))
    journal.mark_sent([0])
    if last == "sent":
        journal.mark_sent([1])
    elif last == "pick":
        journal.add([entry(3)])
    else:
        Journal(path)
    content = path.read_bytes()
    begin = content.rindex(b"\n", 0, -1) + 1
    assert last.encode() in content[begin:]
    for size in range(begin, len(content)):
        path.write_bytes(content[:size])
        again = Journal(path)
        whole = size >= len(content) - 1
        expected = {
            "pick": [1, 2, 3] if whole else [1, 2],
            "sent": [2] if whole else [1, 2],
            "next": [1, 2],
        }
        assert list(again.unsent) == expected[last], size
        assert again.next_number == (4 if whole and last == "pick" else 3)
        again.add([entry(again.next_number)])
        number = again.next_number - 1
        assert Journal(path).unsent[number] == entry(number)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.sampled_from(["add", "two", "sent", "restart", "killed"]), max_size=25),
    kept=st.integers(3, 20),
    data=st.data(),
)
def test_numbers_rise_and_unsent_picks_survive_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], kept: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "picks"
    journal = Journal(path, kept=kept)
    noted: list[int] = []
    unsent: dict[int, Entry] = {}
    for step in steps:
        if step in ("add", "two"):
            number = journal.next_number
            new = entries(*range(number, number + 1 + (step == "two")))
            journal.add(new)
            noted += [each.number for each in new]
            unsent |= {each.number: each for each in new}
            for old in sorted(unsent)[: max(0, len(unsent) - kept)]:
                del unsent[old]
        elif step == "sent" and unsent:
            number = data.draw(st.sampled_from(sorted(unsent)))
            journal.mark_sent([number, number, 10**6])
            del unsent[number]
        elif step == "killed":
            with path.open("ab") as handle:
                handle.write(b'{"pick": 99')
            journal = Journal(path, kept=kept)
        elif step == "restart":
            journal = Journal(path, kept=kept)
        unsent = {n: each for n, each in unsent.items() if n in noted[-kept:]}
        assert journal.unsent == unsent
    assert noted == list(range(len(noted)))


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"null",
        b"[]",
        b'"text"',
        b'{"sent": 5}',
        b'{"sent": [[1]]}',
        b'{"next": "x"}',
        b'{"pick": 8}',
        b'{"pick": "x", "instrument": "", "phase": "", "peak_ns": 1, "messages": []}',
        b"\xff\xfe\x00",
        b"\0" * 600,
    ],
)
def test_garbage_between_the_lines_costs_only_itself(path: Path, line: bytes) -> None:
    journal = Journal(path)
    journal.add(entries(0, 1))
    path.write_bytes(path.read_bytes() + line + b"\n")
    journal = Journal(path)
    assert list(journal.unsent) == [0, 1]
    assert journal.next_number == 2


# -- the same pick ----------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "same"), [(0, True), (SAME_NS, True), (SAME_NS + 1, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_peaks_within_a_tenth_of_a_second_are_the_same_pick(
    path: Path, shift: int, same: bool, sign: int
) -> None:
    journal = Journal(path)
    journal.add([entry(0, PEAK)])
    assert SAME_NS == 100_000_000
    for each in (journal, Journal(path)):
        found = each.find(STATION, "P", PEAK + sign * shift)
        assert found == (entry(0, PEAK) if same else None)


def test_other_instruments_and_phases_are_other_picks(path: Path) -> None:
    journal = Journal(path)
    journal.add([entry(0, PEAK)])
    assert journal.find(STATION, "S", PEAK) is None
    assert journal.find("UW.GNW..EN", "P", PEAK) is None
    assert journal.find("UW.GNW.00.HH", "P", PEAK) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    offsets=st.lists(st.integers(-500, 500), min_size=1, max_size=30), asked=st.integers(-600, 600)
)
def test_find_is_right_about_any_picks_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], asked: int
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "picks", kept=20)
    journal.add([entry(n, PEAK + ms * 10**6) for n, ms in enumerate(offsets)])
    near = [abs(ms - asked) <= 100 for ms in offsets[-20:]]
    found = journal.find(STATION, "P", PEAK + asked * 10**6)
    assert (found is not None) == any(near)
    if found is not None:
        assert abs(found.peak_ns - PEAK - asked * 10**6) <= SAME_NS
