"""Packets from files: complete, exact, interleaved; bad files cost only themselves."""

from __future__ import annotations

import io
import struct
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.core.packets import Packet, packets_from_trace
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources import miniseed
from ml_prediction.sources.files import open_files
from ml_prediction.util.codes import NSLC

START = UTCDateTime(2020, 1, 1, 23, 59, 30)
ACTIONS = ("etch", "remove", "Convert", "Unpack", "Check", "choose", "Mend", "name another")
Samples = dict[NSLC, npt.NDArray[np.float64]]


def trace(
    samples: npt.NDArray[np.generic],
    channel: str = "HHZ",
    start: UTCDateTime = START,
    rate: float = 100.0,
) -> Trace:
    header = {"network": "UW", "station": "GNW", "channel": channel}
    return Trace(samples, header=header | {"starttime": start, "sampling_rate": rate})


def noise(count: int, seed: int = 0) -> npt.NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-1000, 1000, count).astype(np.int32)


def mseed(traces: Trace | Stream, reclen: int = 512, **options: Any) -> bytes:
    buffer = io.BytesIO()
    traces.write(buffer, format="MSEED", reclen=reclen, **options)
    return buffer.getvalue()


def table(packets: Iterable[Packet]) -> Samples:
    """(time, value) of every sample by channel, sorted; times in nanoseconds."""
    rows: dict[NSLC, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for packet in packets:
        step = 1e9 / packet.sampling_rate
        # Relative to START, so that float64 is exact.
        times = packet.start_ns - START.ns + np.round(np.arange(len(packet)) * step)
        rows[packet.nslc].append(np.column_stack([times, packet.samples]))
    tables = {nslc: np.concatenate(parts) for nslc, parts in rows.items()}
    return {nslc: t[np.lexsort((t[:, 1], t[:, 0]))] for nslc, t in tables.items()}


def from_obspy(stream: Stream) -> Samples:
    return table(p for part in stream for p in packets_from_trace(part) if len(p))


def read(path: Path, seconds: float = 5.0, **options: Any) -> list[Packet]:
    source = open_files(path, **options)
    return [packet for batch in source.batches(seconds) for packet in batch]


def assert_same(got: Samples, expected: Samples) -> None:
    assert set(got) == set(expected)
    for nslc, rows in expected.items():
        np.testing.assert_array_equal(got[nslc], rows)


@dataclass
class Archive:
    """Contents of files, and each record as ObsPy reads it."""

    files: list[bytes] = field(repr=False)
    traces: list[Trace] = field(repr=False)


@st.composite
def archives(draw: st.DrawFn) -> Archive:
    """Records of several channels with gaps, overlaps and duplicates, in files, shuffled."""
    records: list[bytes] = []
    traces = []
    for number, channel in enumerate(("HHZ", "HHN", "BHE")[: draw(st.integers(1, 3))]):
        rate = draw(st.sampled_from([20.0, 100.0, 200.0, 128.0, 3.0]))
        start = START + draw(st.integers(0, 100)) * 0.001
        for piece in range(draw(st.integers(1, 4))):
            samples = noise(draw(st.integers(1, 3000)), seed=10 * number + piece)
            part = trace(samples, channel, start, rate)
            size = draw(st.sampled_from([256, 512, 4096]))
            raw = mseed(part, reclen=size)
            cuts = [raw[i : i + size] for i in range(0, len(raw), size)]
            records += cuts
            # As written: miniSEED 2 has microseconds, ObsPy's start times have nanoseconds.
            traces += [obspy.read(io.BytesIO(cut))[0] for cut in cuts]
            start += len(samples) / rate + draw(st.sampled_from([0, 0, 0.004, 7.5, -1.0]))
    if draw(st.booleans()):  # a record sent twice is handed on twice
        records.append(records[0])
        traces.append(traces[0])
    shuffle = draw(st.none() | st.integers(0, 99))
    if shuffle is not None:
        Random(shuffle).shuffle(records)
    cut = draw(st.integers(0, len(records)))
    return Archive([b"".join(records[:cut]), b"".join(records[cut:])], traces)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(archive=archives(), seconds=st.sampled_from([0.5, 5.0, 60.0]))
def test_every_cut_gives_all_samples_once_and_interleaved(
    archive: Archive,
    seconds: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    for number, content in enumerate(archive.files):
        if content:
            (folder / f"{number}.mseed").write_bytes(content)
    source = open_files(folder)
    batches = list(source.batches(seconds))
    got, expected = table(p for b in batches for p in b), from_obspy(Stream(archive.traces))
    assert set(got) == set(expected) == set(source.channels)
    for nslc, rows in expected.items():
        assert len(got[nslc]) == len(rows)
        # Within two tolerances of joining: inside a block, and inside a batch.
        by_time, wanted = np.sort(got[nslc][:, 0]), np.sort(rows[:, 0])
        assert np.abs(by_time - wanted).max() <= 2000
        np.testing.assert_array_equal(np.sort(got[nslc][:, 1]), np.sort(rows[:, 1]))
    width = round(seconds * 1e9)
    latest = 0
    for batch in batches:
        # Joining may put the last sample's time off by its tolerance, over the limit.
        slot = {p.start_ns // width for p in batch}
        slot |= {max(p.start_ns, p.end_ns - 2000) // width for p in batch}
        assert len(slot) == 1
        assert min(slot) > latest or latest == 0
        latest = min(slot)
        assert [p.start_ns for p in batch] == sorted(p.start_ns for p in batch)
    assert source.problems == []
    assert source.total_samples == sum(len(rows) for rows in expected.values())
    ends = [(p.start_ns, p.end_ns) for b in batches for p in b]
    assert source.span[0] == min(e[0] for e in ends)
    assert abs(source.span[1] - max(e[1] for e in ends)) <= 2000


def test_long_records_are_split_and_contiguous_ones_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.mseed"
    path.write_bytes(mseed(trace(noise(20_000)), reclen=4096) + mseed(trace(noise(2000), "BHZ")))
    batches = list(open_files(path).batches(5.0))
    assert len(batches) == 40
    assert all(len(batch) == len({p.nslc for p in batch}) for batch in batches)
    assert [len(batch[0]) for batch in batches] == [500] * 40


def test_records_that_deviate_are_not_joined(tmp_path: Path) -> None:
    first, second = trace(noise(100)), trace(noise(100), start=START + 1.000_01)
    (tmp_path / "a").write_bytes(mseed(first) + mseed(second))
    packets = read(tmp_path)
    assert [p.start_ns for p in packets] == [START.ns, (START + 1.000_01).ns]


def test_days_without_data_are_skipped_at_once(tmp_path: Path) -> None:
    late = trace(noise(10), start=START + 40 * 365 * 86_400)
    (tmp_path / "a").write_bytes(mseed(late) + mseed(trace(noise(10))))
    assert [len(batch) for batch in open_files(tmp_path).batches(0.5)] == [1, 1]


def test_trim_is_exact_and_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(mseed(trace(noise(10_000))))
    start, end = START + 12.005, START + 33.33
    packets = read(tmp_path, starttime=start, endtime=end)
    assert packets[0].start_ns == (START + 12.01).ns
    assert packets[-1].end_ns == end.ns
    values = np.concatenate([packet.samples for packet in packets])
    np.testing.assert_array_equal(values, noise(10_000)[1201:3334])


@pytest.mark.parametrize("pattern", ["HH?", "UW.GNW..HH?", "UW.GNW.--.*", "*Z"])
def test_channels_are_chosen_by_code_or_full_code(tmp_path: Path, pattern: str) -> None:
    parts = Stream([trace(noise(100), "HHZ"), trace(noise(100), "EHN").copy()])
    parts[1].stats.station = "OTHER"
    (tmp_path / "a").write_bytes(mseed(parts))
    source = open_files(tmp_path, channels=[pattern])
    assert source.channels == (NSLC("UW", "GNW", "", "HHZ"),)
    assert sum(len(p) for b in source.batches() for p in b) == 100
    with pytest.raises(DataError, match="channels"):
        open_files(tmp_path, channels=["LHZ"])


def test_sds_archive_is_only_probed_and_unsorted_days_are_complete(tmp_path: Path) -> None:
    stream = Stream()
    for day, start in enumerate((START - 86_400, START)):
        folder = tmp_path / "2020" / "UW" / "GNW" / "HHZ.D"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"UW.GNW..HHZ.D.{'2019.365' if day == 0 else '2020.001'}"
        part = trace(noise(6000, day), start=start)  # overruns midnight by 30 s
        raw = mseed(part)
        records = [raw[i : i + 512] for i in range(0, len(raw), 512)]
        (folder / name).write_bytes(b"".join(records[5:] + records[:5]))
        stream += part
    source = open_files(tmp_path)
    assert_same(table(p for b in source.batches() for p in b), from_obspy(stream))
    assert source.total_samples == pytest.approx(12_000, rel=0.2)
    assert source.span[0] <= (START - 86_400 + 30).ns


def test_other_formats_and_masked_samples(tmp_path: Path) -> None:
    part = trace(noise(1000).astype(np.float32), start=START + 0.5)
    part.write(str(tmp_path / "a[1].sac"), format="SAC")
    part.copy().write(str(tmp_path / "b.slist"), format="SLIST")
    packets = read(tmp_path / "a[1].sac")
    np.testing.assert_array_equal(np.concatenate([p.samples for p in packets]), part.data)
    assert packets[0].start_ns == part.stats.starttime.ns
    assert sum(len(p) for p in read(tmp_path)) == 2000


def problems(path: Path) -> tuple[list[tuple[str, str, int]], Samples]:
    source = open_files(path)
    got = table(p for b in source.batches() for p in b)
    for problem in source.problems:
        assert problem.path.name in problem.message
        assert any(word in problem.message for word in ACTIONS)
    return [(p.path.name, p.reason, p.count) for p in source.problems], got


def test_damage_costs_only_itself(tmp_path: Path) -> None:
    good = mseed(trace(noise(5000)))
    records = [good[i : i + 512] for i in range(0, len(good), 512)]
    garbage = np.random.default_rng(1).bytes(777)  # not a multiple of any record length
    (tmp_path / "a").write_bytes(garbage + b"".join(records[:3]) + garbage + b"".join(records[3:]))
    found, got = problems(tmp_path / "a")
    assert found == [("a", "corrupt", 2)]
    assert_same(got, from_obspy(Stream([trace(noise(5000))])))


def test_truncated_file_keeps_its_whole_records(tmp_path: Path) -> None:
    good = mseed(trace(noise(5000)))
    (tmp_path / "a").write_bytes(good[:-100])
    found, got = problems(tmp_path / "a")
    assert found == [("a", "corrupt", 1)]
    expected = from_obspy(obspy.read(io.BytesIO(good[:-512])))
    assert_same(got, expected)


def test_record_that_fails_its_integrity_check_is_not_used(tmp_path: Path) -> None:
    good = bytearray(mseed(trace(noise(5000)), encoding="STEIM2"))
    good[512 + 300] ^= 0x01  # one bit of a difference: decodes, but to a wrong last sample
    (tmp_path / "a").write_bytes(good)
    found, got = problems(tmp_path / "a")
    assert found == [("a", "corrupt", 1)]
    rest = bytes(good[:512] + good[1024:])
    assert_same(got, from_obspy(obspy.read(io.BytesIO(rest))))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_stops_the_run_or_invents_samples(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Flip, drop or insert bytes anywhere: another file stays whole, nothing is raised."""
    raw = bytearray(mseed(trace(noise(1500)), encoding="STEIM2"))
    size = len(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        length = data.draw(st.integers(1, 900))
        new = data.draw(st.binary(max_size=64))
        raw[place : place + length] = new
        if not raw:
            raw = bytearray(b"x")
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a").write_bytes(raw)
    (folder / "b").write_bytes(mseed(trace(noise(1500), "HHN")))
    source = open_files(folder)
    got = table(p for b in source.batches() for p in b)
    whole = got[NSLC("UW", "GNW", "", "HHN")]
    np.testing.assert_array_equal(np.sort(whole[:, 1]), np.sort(noise(1500)))
    damaged = got.get(NSLC("UW", "GNW", "", "HHZ"), np.empty((0, 2)))
    assert len(damaged) <= 1500
    if len(damaged) < 1500:
        assert len(raw) <= size - 512 or source.problems  # without whole records nothing is wrong


def test_files_that_are_no_waveforms(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(mseed(trace(noise(100))))
    (tmp_path / "empty").touch()
    (tmp_path / "notes.txt").write_text("Dear seismologist, " * 50)
    (tmp_path / "stations.xml").write_text("<?xml version='1.0'?><FDSNStationXML/>")
    source = open_files(tmp_path)
    list(source.batches())
    reasons = {p.path.name: (p.reason, p.quiet) for p in source.problems}
    assert all(any(word in p.message for word in ACTIONS) for p in source.problems)
    assert reasons == {
        "empty": ("empty file", False),
        "notes.txt": ("not waveform data", True),
        "stations.xml": ("not waveform data", True),
    }
    named = open_files([tmp_path / "good", tmp_path / "notes.txt"])
    assert [p.quiet for p in named.problems] == [False]
    with pytest.raises(DataError, match="notes"):
        open_files(tmp_path / "notes.txt")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    """ObsPy would run the code in them."""
    trace(noise(100)).write(str(tmp_path / "a"), format="PICKLE")
    with pytest.raises(DataError, match="no waveform format"):
        open_files(tmp_path / "a")


def test_text_and_empty_records_and_rate_zero(tmp_path: Path) -> None:
    log = trace(np.frombuffer(b"log of the digitiser", dtype="S1"), "LOG")
    still = bytearray(mseed(trace(noise(20), "HHN")))
    still[32:36] = bytes(4)  # rate factor and multiplier
    hollow = bytearray(mseed(trace(noise(20), "HHE")))
    hollow[30:32] = bytes(2)  # number of samples
    (tmp_path / "a").write_bytes(
        mseed(trace(noise(100))) + mseed(log, encoding="ASCII") + bytes(still) + bytes(hollow)
    )
    found, got = problems(tmp_path / "a")
    assert sorted(reason for _, reason, _ in found) == [
        "text record",
        "unsupported rate",
        "zero-length record",
    ]
    assert list(got) == [NSLC("UW", "GNW", "", "HHZ")]


def test_file_that_disappears_is_a_problem(tmp_path: Path) -> None:
    for name, start in (("a", START), ("b", START + 60)):
        (tmp_path / name).write_bytes(mseed(trace(noise(100), start=start)))
    source = open_files(tmp_path)
    batches = source.batches()
    next(batches)
    (tmp_path / "b").unlink()
    assert list(batches) == []
    assert [(p.path.name, p.reason) for p in source.problems] == [("b", "unreadable")]


def test_reading_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(mseed(trace(noise(3000))) + b"junk" * 200)
    source = open_files(tmp_path)
    for _ in range(2):
        assert sum(len(p) for b in source.batches() for p in b) == 3000
        assert [(p.reason, p.count) for p in source.problems] == [("corrupt", 1)]
    with pytest.raises(ConfigurationError, match="batch"):
        source.batches(0)


@pytest.mark.parametrize("chunk", [2048, 5000, 1 << 24])
def test_headers_do_not_depend_on_the_chunks_read(tmp_path: Path, chunk: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(mseed(trace(noise(5000))) + b"\xff" * 3001 + mseed(trace(noise(5000), "BHZ")))
    told: list[str] = []

    def report(reason: str, message: str, count: int, unit: str) -> None:
        told.append(reason)

    def headers(**options: int) -> list[miniseed.Header]:
        rows = miniseed.rows(path, report, **options)
        return [row.part(n, n + 1).first for row in rows for n in range(len(row.counts))]

    assert headers(chunk=chunk) == headers()
    assert set(told) == {"corrupt"}


REAL = [
    "Gappy_Data/gaps.mseed",
    "Gappy_Data/qualityflags.mseed",
    "Gappy_Data/three_records_zero_data_in_middle.mseed",
    "Gappy_Data/IV.BDI_example.mseed",
    "Gappy_Data/2015282_225051_0ae4c_1_1.msd",
    "Gappy_Data/ffbx_unrotated_gaps.mseed",
    "Gappy_Data/ffbx_rotated.slist",
    "Gappy_Data/225051000_00008656",
    "Gappy_Data/maule_angol1002271parte1.mseed",
    "Full_Array/uw61965081_PortTownsend_M4.3.mseed",
    "Full_Array/uw61956601_Seattle_M2.1.mseed",
]


@pytest.mark.parametrize("name", REAL)
def test_real_files_give_what_obspy_reads(shared: Path, name: str) -> None:
    path = shared / "data" / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = from_obspy(obspy.read(str(path)))
    got = table(read(path))
    assert set(got) == set(expected)
    for nslc, rows in expected.items():
        assert len(got[nslc]) == len(rows)
        # ObsPy joins records up to half a sample apart; we keep each header's time.
        np.testing.assert_allclose(got[nslc][:, 0], rows[:, 0], atol=5e5, rtol=0)
        np.testing.assert_array_equal(np.sort(got[nslc][:, 1]), np.sort(rows[:, 1]))


def test_a_record_of_an_absurdly_low_rate_is_not_lost_without_a_word(tmp_path: Path) -> None:
    raw = bytearray(mseed(trace(noise(5000))))
    struct.pack_into(">hh", raw, 2 * 512 + 32, -32768, -32768)  # 1e-9 Hz
    path = tmp_path / "a"
    path.write_bytes(raw)
    source = open_files(path, starttime=START - 100)
    delivered = sum(len(packet) for batch in source.batches(60) for packet in batch)
    assert delivered + sum(problem.count for problem in source.problems) == 5000
