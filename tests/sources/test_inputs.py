"""INPUT arguments to files."""

from __future__ import annotations

from pathlib import Path

import pytest
from forbidden import Forbid
from obspy import UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources.files import open_files
from ml_prediction.sources.inputs import expand, sds_name
from ml_prediction.sources.problems import ProblemLedger
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def sds(root: Path, channel: str, year: int, day: int, kind: str = "D") -> Path:
    folder = root / str(year) / "UW" / "GNW" / f"{channel}.{kind}"
    return touch(folder / f"UW.GNW..{channel}.{kind}.{year}.{day:03d}")


def test_files_folders_and_globs_each_file_once(tmp_path: Path) -> None:
    b, a = touch(tmp_path / "in" / "b.mseed"), touch(tmp_path / "in" / "sub" / "a.mseed")
    touch(tmp_path / "in" / ".hidden")
    named = touch(tmp_path / "c.mseed")
    found = expand([named, tmp_path / "in", str(tmp_path / "**" / "*.mseed")])
    assert [(file.path, file.named) for file in found] == [(named, True), (b, False), (a, False)]


def test_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    file = touch(tmp_path / "sub" / "a")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert [found.path for found in expand(tmp_path)] == [file]


@pytest.mark.parametrize("name", ["missing.mseed", "missing*.mseed"])
def test_what_does_not_exist_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        expand([tmp_path / name])


def test_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(DataError, match=rf"{tmp_path.name} has no files; skipped") as caught:
        expand(tmp_path)
    assert "widen" not in str(caught.value)
    ledger = ProblemLedger()
    expand([tmp_path, touch(tmp_path.parent / "file")], None, ledger)
    assert [(p.path, p.reason) for p in ledger.all] == [(tmp_path, "empty folder")]
    with pytest.raises(ConfigurationError, match="No input"):
        expand([])


def test_sds_archive_is_filtered_by_name_and_keeps_a_day_on_both_sides(tmp_path: Path) -> None:
    days = {day: sds(tmp_path, "HHZ", 2020, day) for day in range(1, 10)}
    last = sds(tmp_path, "HHZ", 2019, 365)
    sds(tmp_path, "HHZ", 2018, 365)
    sds(tmp_path, "BHZ", 2020, 2)
    sds(tmp_path, "HHZ", 2020, 2, kind="L")
    start, end = UTCDateTime(2020, 1, 1, 12), UTCDateTime(2020, 1, 2, 12)
    found = expand(tmp_path, Selection(["HH?"], start.ns, end.ns))
    assert [file.path for file in found] == [last, days[1], days[2], days[3]]
    full = expand(tmp_path, Selection(["UW.GNW.--.HHZ"], start.ns, end.ns))
    assert full == found
    with pytest.raises(DataError, match="widen"):
        expand(tmp_path, Selection(["EHZ"]))


def test_sds_name() -> None:
    name = sds_name("UW.GNW.00.HHZ.D.2020.366")
    assert name is not None
    assert name.nslc == NSLC("UW", "GNW", "00", "HHZ")
    assert name.start_ns == UTCDateTime(2020, 12, 31).ns
    assert sds_name("UW.GNW.00.HHZ.L.2020.366") is None
    assert sds_name("UW.GNW.00.HHZ.D.2020.000") is None
    assert sds_name("other.mseed") is None


def test_selection_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="pattern"):
        Selection([" "])
    with pytest.raises(ConfigurationError, match="before"):
        Selection(start_ns=2, end_ns=1)


@pytest.mark.parametrize("inputs", ["", " ", ["", "a"]])
def test_empty_text_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: str | list[str]
) -> None:
    touch(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="unset"):
        expand(inputs)


@pytest.mark.parametrize("pattern", ["", "**/*.mseed", "*/a.mseed", "**"])
def test_folder_that_can_not_be_listed_is_counted(
    tmp_path: Path, forbid: Forbid, pattern: str
) -> None:
    good = touch(tmp_path / "good" / "a.mseed")
    secret = touch(tmp_path / "secret" / "a.mseed").parent
    forbid(secret)
    ledger = ProblemLedger()
    assert [file.path for file in expand(str(tmp_path / pattern), None, ledger)][:1] == [good]
    (problem,) = ledger.all
    assert (problem.path, problem.reason, problem.count) == (secret, "unreadable", 1)
    assert str(secret) in problem.message
    assert "Check its rights" in problem.message


@pytest.mark.parametrize("name", ["", "a.mseed", "*.mseed"])
def test_named_input_that_can_not_be_looked_at_is_the_reason(
    tmp_path: Path, forbid: Forbid, name: str
) -> None:
    secret = touch(tmp_path / "secret" / "a.mseed").parent
    forbid(secret)
    with pytest.raises(DataError, match=r"secret.*Check its rights") as caught:
        open_files(str(secret / name))
    assert "widen" not in str(caught.value)


PACKED = {
    "gzip": b"\x1f\x8b\x08",
    "bzip2": b"BZh91AY&SY",
    "xz": b"\xfd7zXZ\x00",
    "zip": b"PK\x03\x04",
    "tar": b"a.mseed".ljust(257, b"\x00") + b"ustar\x00",
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_files_are_named_and_not_searched(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_prediction.sources import miniseed

    monkeypatch.setattr(miniseed, "contains_record", lambda path: pytest.fail("searched"))
    (tmp_path / "data").write_bytes(PACKED[kind] + bytes(600))
    with pytest.raises(DataError, match=f"data is packed with {kind}; skipped. Unpack it first"):
        open_files(tmp_path)
