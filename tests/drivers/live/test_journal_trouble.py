"""Full disks, and picks that could not be noted: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

import errno
import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drivers.live.journal_entries import PEAK, STATION, entries, entry

from ml_prediction.drivers.live.journal import SAME_NS, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "picks.journal"


# -- a full disk ------------------------------------------------------------------------------


def full(*args: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_for_long_costs_no_more_memory_than_what_is_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, kept=3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for number in range(40):
            with pytest.raises(OSError, match="No space"):
                journal.add([entry(number)])
            with pytest.raises(OSError, match="No space"):
                journal.mark_sent([number])
        assert len(journal._unwritten) <= 4 * 3 + 1
    journal.flush()
    again = Journal(path, kept=3)
    assert [each.number for each in again.entries] == [37, 38, 39]
    assert not again.unsent
    assert again.next_number == 40


def one_byte_then_full() -> Callable[[int, bytes], int]:
    write, calls = os.write, iter((True, False))

    def some(descriptor: int, data: bytes) -> int:
        if next(calls, False):
            return write(descriptor, data[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    return some


@pytest.mark.parametrize("how", ["write", "a part", "fsync", "open"])
def test_what_a_full_disk_did_not_take_is_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    journal = Journal(path)
    journal.add([entry(0)])
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        name = "write" if how == "a part" else how
        patch.setattr(os, name, one_byte_then_full() if how == "a part" else full)
        with pytest.raises(OSError, match="No space"):
            journal.add(entries(1, 2))
        if how == "fsync":
            journal.mark_sent([1])
        else:
            with pytest.raises(OSError, match="No space"):
                journal.mark_sent([1])
    assert path.read_bytes()[: len(before)] == before
    assert how == "fsync" or path.read_bytes() == before  # no half lines
    assert list(journal.unsent) == [0, 2]
    assert journal.next_number == 3
    assert journal.find(STATION, "P", entry(1).peak_ns) == entry(1)
    journal.add([entry(3)])
    again = Journal(path)
    assert list(again.unsent) == [0, 2, 3]
    assert again.next_number == 4


def test_a_mark_that_could_not_be_written_is_written_with_the_next_pick(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.add(entries(0, 1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            journal.mark_sent([0])
    journal.mark_sent([1])
    assert not Journal(path).unsent


def test_a_half_line_that_cannot_be_taken_back_spoils_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.add([entry(0)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", one_byte_then_full())
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(OSError, match="No space"):
            journal.add([entry(1)])
    journal.add([entry(2)])
    assert list(Journal(path).unsent) == [0, 1, 2]


def test_a_pick_that_is_in_the_file_twice_is_forgotten_as_one(path: Path) -> None:
    journal = Journal(path)
    journal.add([entry(0)])
    line = path.read_bytes().splitlines()[-1]
    path.write_bytes(path.read_bytes() + line + b"\n")
    journal = Journal(path, kept=2)
    journal.add(entries(1, 2, 3))
    assert journal.find(STATION, "P", entry(0).peak_ns) is None


@pytest.mark.parametrize("how", ["open", "write", "fsync", "replace"])
def test_a_disk_that_is_full_at_the_start_leaves_the_old_file_and_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    journal = Journal(path)
    journal.add(entries(0, 1, 2))
    journal.mark_sent([1])
    assert journal.trouble is None
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        refuse_to_rewrite(patch, how)
        journal = Journal(path)
    assert journal.trouble is not None
    assert journal.trouble.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert list(journal.unsent) == [0, 2]
    assert journal.next_number == 3
    assert journal.find(STATION, "P", entry(1).peak_ns) == entry(1)
    journal.add([entry(3)])  # there is room again
    journal.mark_sent([0])
    again = Journal(path)
    assert again.trouble is None
    assert list(again.unsent) == [2, 3]
    assert again.next_number == 4


def refuse_to_rewrite(patch: pytest.MonkeyPatch, how: str) -> None:
    if how == "fsync":
        patch.setattr(os, "fsync", full)
    elif how == "replace":
        patch.setattr(Path, "replace", full)
    else:
        whole = Path.open

        def only_read(path: Path, mode: str = "r", **options: Any) -> Any:
            if mode != "wb":
                return whole(path, mode, **options)
            return FullFile() if how == "write" else full()

        patch.setattr(Path, "open", only_read)


class FullFile(io.BytesIO):
    """Takes nothing."""

    def write(self, data: Any, /) -> int:
        return int(full(data))


def test_a_rewriting_that_fails_later_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, kept=1)
    for number in range(2):
        journal.add([entry(number)])
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            journal.mark_sent([1])
    assert path.read_bytes().startswith(before)
    again = Journal(path, kept=1)
    assert not again.unsent
    assert again.next_number == 2


def test_what_could_not_be_written_is_written_without_a_new_pick(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    journal.add([entry(0)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            journal.add(entries(1, 2))
        with pytest.raises(OSError, match="No space"):
            journal.mark_sent([1])
        with pytest.raises(OSError, match="No space"):
            journal.flush()
    assert Journal(path_copy(path)).next_number == 1
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        journal.flush()
    assert len(synced) == 1
    content = path.read_bytes()
    journal.flush()  # nothing is left
    assert path.read_bytes() == content
    again = Journal(path)
    assert list(again.unsent) == [0, 2]
    assert again.next_number == 3


def path_copy(path: Path) -> Path:
    """As a killed process would leave it."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    return copy


def test_picks_are_on_disk_before_add_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(path.read_bytes())

    journal = Journal(path)
    monkeypatch.setattr(os, "fsync", note)
    journal.add([entry(0)])
    assert len(synced) == 1
    assert json.loads(synced[0].splitlines()[-1])["pick"] == 0


def test_a_folder_that_is_not_there_is_trouble_of_the_system(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere" / "picks")
    assert isinstance(journal.trouble, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        journal.add([entry(0)])
    assert list(journal.unsent) == [0]


def test_a_file_that_cannot_be_read_is_an_error_of_the_system(path: Path) -> None:
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        Journal(path)


# -- picks of which only the message is known -------------------------------------------------


def test_an_adopted_pick_has_its_number_and_is_not_sent_again(path: Path) -> None:
    journal = Journal(path)
    journal.add([entry(0)])
    journal.mark_sent([0])
    journal.adopt(7, STATION, PEAK)
    assert journal.next_number == 8
    assert not journal.unsent
    assert {each.number for each in journal.entries} == {0, 7}


@pytest.mark.parametrize("phase", ["P", "S"])
@pytest.mark.parametrize(
    ("shift", "same"), [(0, True), (2 * SAME_NS, True), (2 * SAME_NS + 1, False)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_adopted_pick_is_found_within_a_fifth_of_a_second_whatever_the_phase(
    path: Path, phase: str, shift: int, same: bool, sign: int
) -> None:
    journal = Journal(path)
    journal.adopt(3, STATION, PEAK)
    journal.add([entry(4, PEAK + 10**9)])
    found = journal.find(STATION, phase, PEAK + sign * shift)
    assert (None if found is None else found.number) == (3 if same else None)
    assert journal.find("UW.GNW..EN", phase, PEAK + sign * shift) is None


def test_adopted_picks_are_known_to_later_processes_once_the_file_is_rewritten(
    path: Path,
) -> None:
    journal = Journal(path, kept=5)
    journal.adopt(3, STATION, PEAK)
    for number in range(4, 8):
        journal.add([entry(number)])
        journal.mark_sent([number])
    journal._rewrite()  # as it does now and then
    for _ in range(3):
        journal = Journal(path, kept=5)
        assert journal.next_number == 8
        assert not journal.unsent
        found = journal.find(STATION, "S", PEAK + 2 * SAME_NS)
        assert found is not None
        assert found.number == 3


def test_a_pick_that_is_known_is_not_adopted(path: Path) -> None:
    journal = Journal(path)
    journal.add([entry(0, PEAK)])
    journal.adopt(0, STATION, PEAK + 5)
    assert journal.find(STATION, "S", PEAK) is None
    assert list(journal.unsent) == [0]
    journal.adopt(4, STATION, PEAK + 10**9)
    journal.adopt(5, STATION, PEAK + 10**9 + 5)  # S beside P
    assert [each.number for each in journal.entries] == [0, 4]
    assert journal.next_number == 6


def test_adopted_picks_are_forgotten_like_others(path: Path) -> None:
    journal = Journal(path, kept=3)
    for number in range(10):
        journal.adopt(number, STATION, PEAK + number * 10**9)
    found = [journal.find(STATION, "P", PEAK + number * 10**9) for number in range(10)]
    assert [None if each is None else each.number for each in found] == [None] * 7 + [7, 8, 9]


# -- a damaged file ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"pick": math.inf},
        {"pick": -1},
        {"pick": 2**31},
        {"peak_ns": math.inf},
        {"messages": [[300, 117, 141, "x"]]},
        {"messages": [[-1, 117, 141, "x"]]},
        {"messages": [[8, 117, "x"]]},
    ],
    ids=str,
)
def test_a_damaged_line_costs_only_itself_and_is_told(
    path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    Journal(path).add(entries(0, 1, 2))
    lines = path.read_text().splitlines()
    damaged = json.dumps({**json.loads(lines[-2]), **change})
    path.write_text("\n".join([*lines[:-2], damaged, lines[-1], ""]))
    assert list(Journal(path).unsent) == [0, 2]
    assert f"{path}: lines that can't be read, and are left out: 1" in caplog.text


@pytest.mark.parametrize("number", ["Infinity", "-5", "4e18", "[]"])
def test_a_damaged_next_number_is_not_heeded(path: Path, number: str) -> None:
    Journal(path).add(entries(0, 1, 2))
    with path.open("a") as handle:
        handle.write(f'{{"next": {number}}}\n')
    assert Journal(path).next_number == 3


def test_a_number_that_is_there_twice_stands_for_the_later_pick(path: Path) -> None:
    journal = Journal(path, kept=2)
    journal.add([entry(0), entry(0, instrument="UW.LCCR..HH"), entry(1)])
    assert journal.find(STATION, "P", entry(0).peak_ns) is None
    found = journal.find("UW.LCCR..HH", "P", entry(0).peak_ns)
    assert found is not None
    assert found.number == 0
    journal.add([entry(2)])
    assert journal.find(STATION, "P", entry(0).peak_ns) is None
    assert journal.find("UW.LCCR..HH", "P", entry(0).peak_ns) is None
