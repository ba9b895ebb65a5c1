"""Parts of a source, for other processes: nothing is looked at or told of twice."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.errors import ConfigurationError
from ml_prediction.sources import files
from ml_prediction.sources.file_info import Extent, covered_seconds
from ml_prediction.sources.files import FileSource, open_files
from ml_prediction.util.codes import NSLC

START = UTCDateTime(2020, 1, 1)
CODES = {name: NSLC("UW", "GNW", "", name) for name in ("HHZ", "HHN", "BHZ")}


def trace(channel: str, count: int = 2000, start: UTCDateTime = START) -> Trace:
    samples = np.random.default_rng(0).integers(-1000, 1000, count).astype("int32")
    header = {"network": "UW", "station": "GNW", "channel": channel, "sampling_rate": 100.0}
    return Trace(samples, header=header | {"starttime": start})


def total(source: FileSource) -> int:
    return sum(len(packet) for batch in source.batches() for packet in batch)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three channels in one file with junk, one of them in a second file, and no waveforms."""
    stream = Stream([trace("HHZ"), trace("HHN", 3000), trace("BHZ", 500)])
    stream.write(str(tmp_path / "a.mseed"), format="MSEED", reclen=512)
    with (tmp_path / "a.mseed").open("ab") as handle:
        handle.write(b"junk" * 300)
    trace("BHZ", 100, START + 3600).write(str(tmp_path / "b.mseed"), format="MSEED")
    (tmp_path / "notes.txt").write_text("Dear seismologist, " * 50)
    return tmp_path


def test_parts_are_complete_and_tell_nothing_twice(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_files(archive)
    assert sorted(p.reason for p in source.problems) == ["corrupt", "not waveform data"]
    monkeypatch.delattr(files, "scan")  # nobody looks at the files again
    parts = [[CODES["HHZ"], CODES["HHN"]], [CODES["BHZ"]]]
    chosen = [pickle.loads(pickle.dumps(source.select(part))) for part in parts]
    assert [part.channels for part in chosen] == [tuple(sorted(p)) for p in parts]
    assert [part.total_samples for part in chosen] == [5000, 600]
    assert [total(part) for part in chosen] == [5000, 600]
    assert [part.problems for part in chosen] == [[], []]
    assert chosen[0].span == (START.ns, (START + 29.99).ns)
    assert chosen[1].span == (START.ns, (START + 3600.99).ns)
    assert [len(part.files) for part in chosen] == [1, 2]
    assert len(source.files) == 2
    assert total(source) == 5600


def test_part_keeps_the_time_range(archive: Path) -> None:
    source = open_files(archive, starttime=START + 1, endtime=START + 2)
    assert total(source.select([CODES["HHN"]])) == 101


def test_faults_that_come_to_light_while_reading_are_told_once(archive: Path) -> None:
    source = open_files(archive)
    parts = [source.select([code]) for code in CODES.values()]
    (archive / "a.mseed").unlink()
    assert [total(part) for part in parts] == [0, 0, 100]
    assert [(p.path.name, p.reason) for part in parts for p in part.problems] == [
        ("a.mseed", "unreadable")
    ]


def test_damage_to_a_channel_is_told_by_the_part_that_has_it(tmp_path: Path) -> None:
    for name in ("HHZ", "HHN"):
        trace(name).write(str(tmp_path / name), format="MSEED", reclen=512, encoding="STEIM2")
    raw = bytearray((tmp_path / "HHN").read_bytes())
    raw[512 + 300] ^= 0x01
    (tmp_path / "HHN").write_bytes(raw)
    source = open_files(tmp_path)
    healthy, damaged = source.select([CODES["HHZ"]]), source.select([CODES["HHN"]])
    assert (total(healthy), healthy.problems) == (2000, [])
    assert total(damaged) < 2000
    assert [(p.reason, p.count) for p in damaged.problems] == [("corrupt", 1)]
    assert source.problems == []


def test_codes_with_special_characters_are_no_patterns(tmp_path: Path) -> None:
    Stream([trace("H*Z"), trace("HHZ")]).write(str(tmp_path / "a"), format="MSEED")
    source = open_files(tmp_path)
    part = source.select([NSLC("UW", "GNW", "", "H*Z")])
    assert total(part) == 2000


def test_what_is_not_there_can_not_be_selected(archive: Path) -> None:
    source = open_files(archive)
    with pytest.raises(ConfigurationError, match="LHZ"):
        source.select([NSLC("UW", "GNW", "", "LHZ")])
    with pytest.raises(ConfigurationError, match="no channel"):
        source.select([])


def test_years_between_files_are_not_covered(tmp_path: Path) -> None:
    for name, year in (("HHZ", 2009), ("HHN", 2009), ("BHZ", 2023)):
        path = tmp_path / f"{name}.{year}"
        trace(name, 6001, UTCDateTime(year, 1, 1)).write(str(path), format="MSEED")
    source = open_files(tmp_path)
    assert source.covered_s == pytest.approx(120)
    assert source.select([CODES["HHZ"]]).covered_s == pytest.approx(60)
    cut = open_files(tmp_path, starttime=UTCDateTime(2009, 1, 1, 0, 0, 45))
    assert cut.covered_s == pytest.approx(75)


def test_covered_seconds_of_overlaps_and_holes() -> None:
    code = CODES["HHZ"]
    limits = [(0, 10), (5, 8), (9, 20), (30, 40), (35, 36)]
    extents = [Extent(code, a * 10**9, b * 10**9, 1) for a, b in reversed(limits)]
    assert covered_seconds(extents, (0, 10**12)) == 30
    assert covered_seconds(extents, (10**10, 32 * 10**9)) == 12
