"""Recording rings to tanks, and converting tanks: what is whole, and what a full disk leaves."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from drivers.ring_bench import NAMES, NOW, FakeClock, MakeRing, put, wave
from obspy import UTCDateTime, read

from ml_prediction.drivers.ring_tools import record
from ml_prediction.drivers.tank_files import RECORD_BYTES, convert
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.tank import read_tank
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.util.codes import NSLC


def test_all_that_is_in_a_ring_is_recorded_however_much_it_is(
    tmp_path: Path, ring: MakeRing
) -> None:
    name = ring(6 * 1024)
    packets = [wave(NOW + n, 1000) for n in range(1400)]  # more than is copied at once
    put(name, *((Logo(19, 1, 255), packet) for packet in packets))
    assert record(name, NAMES, tmp_path / "a.tnk", [""].append, seconds=0) == 1400
    assert list(read_tank(tmp_path / "a.tnk")) == packets


def test_interrupting_is_the_end_of_a_recording(tmp_path: Path, ring: MakeRing) -> None:
    name, fake, said = ring(), FakeClock(), [""]
    packets = [wave(NOW + n) for n in range(4)]
    put(name, (Logo(19, 1, 255), packets[0]), (Logo(3, 1, 255), b"no waveform"))
    put(name, (Logo(19, 1, 255), packets[1] + b"more"), (Logo(19, 1, 255), packets[2][:-1]))

    def interrupt() -> None:
        raise KeyboardInterrupt

    fake.at_sleep = [lambda: put(name, (Logo(19, 1, 255), packets[3])), interrupt]
    path = tmp_path / "a.tnk"
    path.write_bytes(packets[2])  # recordings go on where they were
    assert record(name, NAMES, path, said.append, clock=fake.clock) == 3
    assert list(read_tank(path)) == [packets[n] for n in (2, 0, 1, 3)]
    assert said[-1].endswith(
        "3 packets of ring TEST_RING appended; 1 that make no sense were left out."
    )
    path.write_text("no tank")
    with pytest.raises(ConfigurationError, match="is no tank"):
        record(name, NAMES, path, said.append, seconds=0)
    assert path.read_text() == "no tank"
    with pytest.raises(ConfigurationError, match="none is no folder: make it"):
        record(name, NAMES, tmp_path / "none" / "a.tnk", said.append, seconds=0)


@pytest.mark.parametrize("room", [100, 464, 1000])
def test_a_full_disk_leaves_whole_packets_and_a_true_count(
    tmp_path: Path, ring: MakeRing, room: int
) -> None:
    name, said, path = ring(), [""], tmp_path / "a.tnk"
    packets = [wave(NOW + n) for n in range(5)]
    put(name, *((Logo(19, 1, 255), packet) for packet in packets[1:]))
    path.write_bytes(packets[0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (464 + room, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            record(name, NAMES, path, said.append, seconds=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    whole = room // 464
    assert list(read_tank(path)) == packets[: 1 + whole]
    assert f"{whole} packets of ring TEST_RING appended" in said[-1]
    record(name, NAMES, path, said.append, seconds=0)  # when there is room again
    assert list(read_tank(path)) == [*packets[: 1 + whole], *packets[1:]]


def test_a_tank_with_a_damaged_beginning_is_recorded_on(tmp_path: Path, ring: MakeRing) -> None:
    name, path, packets = ring(), tmp_path / "a.tnk", [wave(NOW + n) for n in range(4)]
    path.write_bytes(packets[0] + packets[1][:30] + packets[1] + packets[2])
    put(name, (Logo(19, 1, 255), packets[3]))
    assert record(name, NAMES, path, [""].append, seconds=0) == 1
    assert list(read_tank(path, print)) == packets
    with pytest.raises(ConfigurationError, match="is no plain file"):
        record(name, NAMES, tmp_path, [""].append, seconds=0)


def test_a_tank_with_packets_late_and_jittering_is_merged(tmp_path: Path) -> None:
    starts = [NOW, NOW + 2.0004, NOW + 0.9996, NOW + 3.002, NOW + 3.002]
    (tmp_path / "a").write_bytes(b"".join(wave(start) for start in starts))
    said = [""]
    convert(tmp_path / "a", tmp_path / "b", said.append)
    traces = read(tmp_path / "b", "MSEED")
    # ObsPy joins what is less than half a sample off; we, less than a tenth.
    assert [len(trace) for trace in traces] == [400]
    assert (tmp_path / "b").stat().st_size == 2 * RECORD_BYTES
    assert traces[0].stats.starttime == UTCDateTime(NOW)
    assert said[1:] == [
        f"{tmp_path / 'a'}: 1 packets are there more than once, and are written once."
    ]


def test_converting_leaves_nothing_half_written(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(wave(nslc=NSLC("NETWORK", "GNW", "", "BHZ")))
    said = [""]
    with pytest.raises(DataError, match="a has no samples that can be written"):
        convert(source, tmp_path / "b", said.append)
    assert "NETWORK.GNW..BHZ is left out" in said[-1]
    assert list(tmp_path.iterdir()) == [source]
    (tmp_path / "b").write_text("there")
    with pytest.raises(ConfigurationError, match="--overwrite"):
        convert(source, tmp_path / "b", said.append)
    assert (tmp_path / "b").read_text() == "there"


def test_converting_touches_no_file_but_the_one_that_was_named(tmp_path: Path) -> None:
    source, mine, old = tmp_path / "a", tmp_path / "b.part", tmp_path / "old"
    source.write_bytes(wave())
    mine.write_text("mine")
    old.write_text("old")
    (tmp_path / "b").symlink_to(old)
    convert(source, tmp_path / "b", [""].append, overwrite=True)
    assert mine.read_text() == "mine"
    assert (tmp_path / "b").is_symlink()
    assert len(read(old)[0]) == 100
    for target, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "c", "none is no folder: make it"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            convert(source, target, [""].append, overwrite=True)
