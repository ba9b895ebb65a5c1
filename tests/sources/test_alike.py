"""Headers read many at a time: the same as libmseed reads from each record, or not read."""

from __future__ import annotations

import calendar
import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.sources import libmseed
from ml_prediction.sources.alike import records_alike

LENGTH = 512


def records(
    count: int,
    *,
    start: str = "2023-10-09T02:21:00.1234",
    encoding: str = "STEIM2",
    rate: float = 100.0,
) -> bytearray:
    samples = np.random.default_rng(0).integers(-1000, 1000, 2000 * count).astype(np.int32)
    header = {"station": "GNW", "channel": "HHZ", "network": "UW", "sampling_rate": rate}
    trace = Trace(samples, {**header, "starttime": UTCDateTime(start)})
    buffer = io.BytesIO()
    Stream([trace]).write(buffer, format="MSEED", reclen=LENGTH, encoding=encoding)
    return bytearray(buffer.getvalue()[: count * LENGTH])


def by_libmseed(raw: bytes) -> list[tuple[int, int]]:
    with libmseed.Parser(raw, libmseed.HEADERS) as parser:
        parsed = []
        for offset in range(0, len(raw), LENGTH):
            record = parser.at(offset)
            parsed.append((record.starttime, record.samplecnt))
        return parsed


def read(raw: bytes) -> list[tuple[int, int]]:
    first = by_libmseed(raw[:LENGTH])[0]
    found = records_alike(np.frombuffer(raw, dtype=np.uint8), 0, LENGTH, *first)
    return list(zip(found.starts_ns.tolist(), found.counts.tolist(), strict=True))


@pytest.mark.parametrize("encoding", ["STEIM1", "STEIM2", "INT32"])
@pytest.mark.parametrize("rate", [0.1, 1.0, 62.5, 100.0, 1000.0])
def test_all_headers_of_a_channel_are_read_as_by_libmseed(encoding: str, rate: float) -> None:
    raw = bytes(records(20, encoding=encoding, rate=rate))
    assert read(raw) == by_libmseed(raw)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    year=st.integers(1901, 2099),
    day=st.integers(1, 366),
    clock=st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 60)),
    fraction=st.integers(0, 9999),
    correction=st.integers(-(2**31), 2**31 - 1),
    flags=st.integers(0, 255),
    micro=st.integers(-128, 127),
    count=st.integers(1, 65535),
    second_blockette=st.booleans(),
)
def test_any_time_is_read_as_by_libmseed(
    year: int,
    day: int,
    clock: tuple[int, int, int],
    fraction: int,
    correction: int,
    flags: int,
    micro: int,
    count: int,
    second_blockette: bool,
) -> None:
    raw = records(3)
    for at in (0, LENGTH, 2 * LENGTH):
        raw[at + 39] = 1 + second_blockette
        struct.pack_into(">H", raw, at + 44, 64)
        struct.pack_into(">H", raw, at + 50, 56 if second_blockette else 0)
        struct.pack_into(">HHBbBB", raw, at + 56, 1001, 0, 100, micro, 0, 0)
    at = LENGTH
    day = min(day, 365 + calendar.isleap(year))
    struct.pack_into(">HHBBBBHH", raw, at + 20, year, day, *clock, 0, fraction, count)
    raw[at + 36] = flags
    struct.pack_into(">i", raw, at + 40, correction)
    assert read(bytes(raw)) == by_libmseed(bytes(raw))


@settings(derandomize=True, deadline=None, max_examples=500)
@given(place=st.integers(0, 63), value=st.integers(0, 255))
def test_a_header_that_is_different_is_left_to_libmseed_or_read_as_it_does(
    place: int, value: int
) -> None:
    raw = records(4)
    raw[2 * LENGTH + place] = value
    found = read(bytes(raw))
    assert len(found) >= 2
    expected = []
    for offset in range(0, len(found) * LENGTH, LENGTH):
        expected += by_libmseed(bytes(raw[offset : offset + LENGTH]))
    assert found == expected


@pytest.mark.parametrize("place", [8, 13, 15, 18, 32, 35, 52, 54])
def test_another_channel_rate_encoding_or_length_ends_the_row(place: int) -> None:
    raw = records(4)
    raw[2 * LENGTH + place] ^= 1
    assert len(read(bytes(raw))) == 2


def test_a_record_cut_short_does_not_belong_to_the_row() -> None:
    assert len(read(bytes(records(4)[:-1]))) == 3


def test_where_libmseed_reads_the_first_header_otherwise_only_it_is_taken() -> None:
    raw = np.frombuffer(bytes(records(4)), dtype=np.uint8)
    found = records_alike(raw, 0, LENGTH, 1, 2)
    assert (found.starts_ns.tolist(), found.counts.tolist()) == ([1], [2])
