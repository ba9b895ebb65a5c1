"""Formats other than miniSEED: lean, and bad files cost only themselves."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import obspy
import pytest
from obspy import Trace, UTCDateTime

from ml_prediction.errors import DataError
from ml_prediction.sources import foreign
from ml_prediction.sources.files import open_files
from ml_prediction.util.times import to_ns

START = UTCDateTime(2020, 1, 1)
OBSPY = Path(obspy.__file__).parent / "io"

EXAMPLES = [
    "ah/tests/data/hrv.lh.zne",
    "gcf/tests/data/20160603_1955n.gcf",
    "gse2/tests/data/loc_STAU20031119011659.z",
    "gse2/tests/data/loc_RJOB20050831023349.z",
    "gse2/tests/data/loc_RJOB20050831023349_first100_and_last100.z",
    "kinemetrics/tests/data/BI008_MEMA-04823.evt",
    "nied/tests/data/test.knet",
    "sac/tests/data/test.sac",
    "sac/tests/data/LMOW.BHE.SAC",
    "seg2/tests/data/20130107_103041000.CET.3c.cont.0.seg2",
    "segy/tests/data/1.sgy_first_trace",
    "segy/tests/data/00001034.sgy_first_trace",
    "seisan/tests/data/9701-30-1048-54S.MVO_21_1",
    "seisan/tests/data/2001-01-13-1742-24S.KONO__004",
    "sh/tests/data/101.QHD",
    "sh/tests/data/QFILE-TEST-ASC.ASC",
    "y/tests/data/YAYT_BHZ_20021223.124800",
    "reftek/tests/data/225051000_00008656",
    "ascii/tests/data/slist.ascii",
    "ascii/tests/data/tspair.ascii",
]


def example(name: str) -> Path:
    path = OBSPY / name
    if not path.exists():
        pytest.skip("this ObsPy came without its test data")
    return path


def trace(count: int = 3000, dtype: str = "int32", channel: str = "HHZ") -> Trace:
    samples = np.random.default_rng(0).integers(-1000, 1000, count).astype(dtype)
    header = {"network": "UW", "station": "GNW", "channel": channel, "sampling_rate": 100.0}
    return Trace(samples, header=header | {"starttime": START})


@pytest.mark.parametrize("name", EXAMPLES)
def test_headers_alone_say_what_the_whole_file_does(name: str) -> None:
    path = example(name)
    found = foreign.detect(path)
    assert found is not None
    if found not in foreign.HEADERS_ALONE:
        pytest.skip("read whole")
    whole, headers = foreign.read(path, found), foreign.read(path, found, headonly=True)
    assert all(len(part.data) == 0 for part in headers)
    for full, head in zip(whole, headers, strict=True):
        assert (head.id, head.stats.npts) == (full.id, len(full.data))
        assert to_ns(head.stats.starttime) == to_ns(full.stats.starttime)
        assert head.stats.sampling_rate == full.stats.sampling_rate


@pytest.mark.parametrize("format_name", ["SAC", "GSE2", "SLIST"])
def test_scan_decodes_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    part = trace(dtype="float32" if format_name == "SAC" else "int32")
    part.write(str(tmp_path / "a"), format=format_name)
    whole: list[bool] = []
    read = foreign.read

    def spy(path: Path, name: str, *, headonly: bool = False) -> obspy.Stream:
        whole.append(not headonly)
        return read(path, name, headonly=headonly)

    monkeypatch.setattr(foreign, "read", spy)
    source = open_files(tmp_path)
    assert whole == [False]
    assert (source.total_samples, source.span) == (3000, (START.ns, (START + 29.99).ns))
    packets = [packet for batch in source.batches() for packet in batch]
    assert whole == [False, True]
    np.testing.assert_array_equal(np.concatenate([p.samples for p in packets]), part.data)
    # A view would keep the whole file in memory.
    assert all(packet.samples.base is None for packet in packets)


def test_headers_that_do_not_read_alone_are_read_with_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace().write(str(tmp_path / "a"), format="SLIST")
    read = foreign.read

    def no_headers(path: Path, name: str, *, headonly: bool = False) -> obspy.Stream:
        if headonly:
            raise ValueError
        return read(path, name)

    monkeypatch.setattr(foreign, "read", no_headers)
    assert open_files(tmp_path).total_samples == 3000


def test_wrong_checksum_is_a_corrupt_file(tmp_path: Path) -> None:
    """ObsPy's ChksumError derives from Exception alone."""
    trace().write(str(tmp_path / "a.gse"), format="GSE2")
    raw = (tmp_path / "a.gse").read_bytes()
    place = raw.index(b"CHK2")
    (tmp_path / "a.gse").write_bytes(raw[:place] + b"CHK2 1" + raw[place + 6 :])
    source = open_files(tmp_path)
    assert list(source.batches()) == []
    assert [(p.reason, p.count) for p in source.problems] == [("corrupt", 1)]
    assert "checksum" in source.problems[0].message


def test_samples_that_are_announced_but_missing_are_counted(tmp_path: Path) -> None:
    """ObsPy reads as much of a cut text file as there is, and says nothing."""
    trace().write(str(tmp_path / "a"), format="SLIST")
    lines = (tmp_path / "a").read_text().splitlines(keepends=True)
    (tmp_path / "a").write_text("".join(lines[:300]))
    source = open_files(tmp_path)
    got = sum(len(packet) for batch in source.batches() for packet in batch)
    assert 0 < got < 3000
    (problem,) = source.problems
    assert (problem.reason, problem.unit) == ("corrupt", "record")
    assert f"{3000 - got} samples" in problem.message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # ObsPy's SEISAN reader closes no file
@pytest.mark.parametrize("name", EXAMPLES)
def test_no_damage_to_any_format_stops_the_run(tmp_path: Path, name: str) -> None:
    raw = example(name).read_bytes()
    chance = random.Random(name)
    for number in range(15):
        damaged = bytearray(raw)
        if number % 3 == 0:
            del damaged[chance.randrange(len(raw)) :]
        for _ in range(chance.choice([1, 5, 50]) if number % 3 else 0):
            place = chance.randrange(min(len(raw), chance.choice([400, 4000, len(raw)])))
            damaged[place] = chance.randrange(256)
        path = tmp_path / "damaged"
        path.write_bytes(damaged or b"x")
        try:
            source = open_files(path)
        except DataError:
            continue
        for batch in source.batches(60.0):
            assert batch


def test_time_range_keeps_only_itself_in_memory(tmp_path: Path) -> None:
    trace(dtype="float32").write(str(tmp_path / "a"), format="SAC")
    source = open_files(tmp_path, starttime=START + 1, endtime=START + 2)
    (packet,) = [packet for batch in source.batches(60.0) for packet in batch]
    assert len(packet) == 101
    assert packet.samples.base is None
