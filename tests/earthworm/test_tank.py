"""Tanks: packets one behind the other, in both byte orders, and what is none between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Trace

from ml_prediction.earthworm import tank
from ml_prediction.earthworm.messages import TraceBuf, encode_tracebuf, encode_tracebuf2
from ml_prediction.earthworm.tank import (
    Damage,
    decode_packet,
    head_of,
    is_tank,
    is_tracebuf2,
    read_tank,
    shifted,
)
from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC

NATIVE = {"i2": "int16", "s2": "int16", "i4": "int32", "s4": "int32"}
FLOATS = {"f4": "float32", "t4": "float32", "f8": "float64", "t8": "float64"}
TYPES = NATIVE | FLOATS
START = 1_700_000_000.25


def make(datatype: str = "i4", count: int = 10, start: float = START, old: bool = False) -> bytes:
    samples: Any = np.arange(count).astype(TYPES[datatype])
    buf = TraceBuf(
        NSLC("UW", "GNW", "", "BHZ"), start, start + (count - 1) / 50, 50.0, samples, datatype
    )
    return (encode_tracebuf if old else encode_tracebuf2)(buf, allow_float=True)


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("datatype", TYPES)
def test_the_length_is_by_the_data_type(datatype: str) -> None:
    packet = make(datatype, 17)
    head = head_of(b"xx" + packet + b"yy", 2)
    assert head == (START, START + 16 / 50, 50.0, 17, 64 + 17 * int(datatype[1]))
    assert len(packet) == head.length


def test_what_makes_no_sense_is_no_header() -> None:
    good = make()
    assert head_of(good[:63]) is None
    for at, damage in (
        (57, b"x4\0"),
        (57, b"i4 "),
        (57, b"i8\0"),
        (57, b"f2\0"),
        (4, b"\0\0\0\0"),
        (4, b"\xff\xff\xff\xff"),
        (4, b"\xf1\x03\0\0"),  # 1009 samples
        (24, b"\0" * 8),  # no rate
        (24, b"\0\0\0\0\0\0\xf0\x7f"),  # infinite
        (8, b"\xff" * 8),  # NaN
        (16, b"\0\0\0\0\0\0\xf0\x43"),
    ):
        bad = good[:at] + damage + good[at + len(damage) :]
        assert head_of(bad) is None, (at, damage)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TYPES)), st.integers(1, 500), st.booleans()), max_size=20
    ),
    st.sampled_from([1, 100, 4096, 5000, 1 << 20]),
)
def test_packets_come_back_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, int, bool]], chunk: int
) -> None:
    packets = [make(*kind[:2], START + n, kind[2]) for n, kind in enumerate(kinds)]
    path = write(tmp_path_factory.mktemp("tank") / "a.tnk", *packets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tank, "CHUNK_BYTES", chunk)
        assert list(read_tank(path)) == packets
    assert [is_tracebuf2(packet) for packet in packets] == [not kind[2] for kind in kinds]


def test_a_damaged_stretch_costs_only_itself(tmp_path: Path) -> None:
    packets = [make(start=START + n, count=400) for n in range(30)]
    junk = b"i4\0i2\0s4\0" * 700
    path = write(tmp_path / "a.tnk", *packets[:10], junk, *packets[10:], packets[0][:100])
    length = len(packets[0])
    found: list[Damage] = []
    assert list(read_tank(path, found.append)) == packets
    assert found == [
        (path, 10 * length, len(junk), False),
        (path, 30 * length + len(junk), 100, True),
    ]
    assert "at byte 16640 are no packet" in str(found[0])
    with pytest.raises(DataError, match=rf"a\.tnk: {len(junk)} bytes at byte 16640 are no packet"):
        list(read_tank(path))


def test_a_damaged_stretch_is_found_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = [make(start=START + n) for n in range(6)]
    for chunk in range(1, 300, 7):
        monkeypatch.setattr(tank, "CHUNK_BYTES", chunk)
        for junk in (1, 63, 64, 65, 5000):
            path = write(tmp_path / "a.tnk", b"\1" * junk, *packets[:3], b"\2" * junk, *packets[3:])
            found: list[Damage] = []
            assert list(read_tank(path, found.append)) == packets
            assert [damage[1:] for damage in found] == [
                (0, junk, False),
                (junk + 3 * len(packets[0]), junk, False),
            ]


def test_a_last_packet_cut_short_is_told(tmp_path: Path) -> None:
    packet = make()
    for length in (1, 64, len(packet) - 1):
        path = write(tmp_path / "a.tnk", packet, packet[:length])
        with pytest.raises(DataError, match=f"at byte {len(packet)} are a packet cut short"):
            list(read_tank(path))


def test_an_empty_tank_has_no_packets(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tnk")
    assert list(read_tank(path)) == []
    assert not is_tank(path)


def test_what_is_a_tank(tmp_path: Path) -> None:
    assert is_tank(write(tmp_path / "a", make()))
    assert is_tank(write(tmp_path / "a", make("s2", 2016), make("i4", old=True)))
    assert is_tank(write(tmp_path / "a", make(), make()[:40]))
    assert not is_tank(write(tmp_path / "a", make(), b"x" * 64))
    assert not is_tank(write(tmp_path / "a", b"x" + make()))


@pytest.mark.parametrize(
    ("first", "lost"),
    [
        (b"\0" * 104, 0),  # packet 1 is damaged
        (make() + b"\0" * 104, 104),
        (make() + make()[:30], 104),  # its recorder was killed inside packet 2, and restarted
        (make() + make(count=900)[:1000], 104),
        (make() + make()[:-1], 104),
        (b"\0" * 100_000, 0),
    ],
)
def test_a_damaged_beginning_costs_only_itself(tmp_path: Path, first: bytes, lost: int) -> None:
    packets = [make(start=START + n) for n in range(1, 200)]
    path = write(tmp_path / "a.tnk", first, *packets)
    assert is_tank(path)
    found: list[Damage] = []
    assert list(read_tank(path, found.append)) == [*([make()] if lost else []), *packets]
    assert found == [(path, lost, len(first) - lost, False)]


def test_a_recorder_killed_twice_costs_both_packets(tmp_path: Path) -> None:
    packet, cut = make(start=START + 9), make(count=400)[:800]
    path = write(tmp_path / "a.tnk", packet, cut, packet, cut[:300])
    found: list[Damage] = []
    assert list(read_tank(path, found.append)) == [packet, packet]
    assert [damage[1:] for damage in found] == [(104, 800, False), (1008, 300, True)]


def test_other_formats_are_no_tanks(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    trace = Trace(rng.integers(-(1000), 1000, 300_000).astype(np.int32))
    for kind in ("MSEED", "SAC"):
        trace.write(str(tmp_path / kind), format=kind)
        assert not is_tank(tmp_path / kind), kind
    noise = bytearray(rng.bytes(2 << 20))
    for at in range(0, len(noise), 997):
        noise[at : at + 3] = b"i4\0"
    assert not is_tank(write(tmp_path / "noise", bytes(noise)))
    assert not is_tank(write(tmp_path / "text", b"the i4\0 and the s2\0 " * 5000))
    one = write(tmp_path / "one", b"x" * 500, make(), b"x" * 500)  # might be by chance
    assert not is_tank(one)


@pytest.mark.parametrize("datatype", ["i4", "s4", "t8"])
def test_times_are_moved_in_their_byte_order(datatype: str) -> None:
    packet = make(datatype)
    moved = decode_packet(shifted(packet, 86_400))
    assert (moved.starttime, moved.endtime) == (START + 86_400, START + 86_400 + 9 / 50)
    assert shifted(shifted(packet, -7), 7) == packet
    assert shifted(packet, 0) is packet


def test_both_forms_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tnk", make(), make(old=True))
    bufs = [decode_packet(packet) for packet in read_tank(path)]
    assert [str(buf.nslc) for buf in bufs] == ["UW.GNW..BHZ", "UW.GNW..BHZ"]
