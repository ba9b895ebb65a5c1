from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.data.records import by_channel, check_records, compose, contents
from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC

START = UTCDateTime("2024-01-01T00:00:00.007")
CODE = NSLC("XX", "AAA", "", "HHZ")
EVER = (0, 2**62)


def body(seconds: float = 60.0, rate: float = 100.0, encoding: str = "STEIM2") -> bytes:
    rng = np.random.default_rng(1)
    kind = np.int32 if encoding == "STEIM2" else np.float32
    samples = np.cumsum(rng.integers(-99, 100, int(seconds * rate))).astype(kind)
    header = {"network": "XX", "station": "AAA", "channel": "HHZ", "starttime": START}
    file = BytesIO()
    Stream([Trace(samples, {**header, "sampling_rate": rate})]).write(
        file, format="MSEED", reclen=512, encoding=encoding
    )
    return file.getvalue()


BODY = body()
RECORDS = by_channel(BODY)[CODE]


@given(order=st.permutations(range(len(RECORDS))), twice=st.sets(st.sampled_from(range(9))))
@settings(max_examples=30, deadline=None)
def test_order_and_repetition_change_nothing(order: list[int], twice: set[int]) -> None:
    shuffled = [RECORDS[index] for index in [*order, *twice]]
    assert compose(shuffled, *EVER) == BODY


def test_a_record_under_another_number_is_the_same() -> None:
    renumbered = [b"%06d" % (900 + number) + raw[6:] for number, raw in enumerate(RECORDS)]
    assert len(compose([*RECORDS, *renumbered], *EVER)) == len(BODY)


@given(
    first=st.integers(-5_000_000_000, 65_000_000_000),
    length=st.integers(1, 70_000_000_000),
    encoding=st.sampled_from(["STEIM2", "FLOAT32"]),
)
@settings(max_examples=60, deadline=None)
def test_cut_as_obspy_cuts(first: int, length: int, encoding: str) -> None:
    whole = BODY if encoding == "STEIM2" else body(encoding=encoding)
    start = START.ns + first
    cut = compose(by_channel(whole)[CODE], start, start + length)
    (reference,) = obspy.read(BytesIO(whole), format="MSEED")
    times = reference.stats.starttime.ns + np.arange(reference.stats.npts) * 10_000_000
    wanted = (times >= start) & (times < start + length)
    if not wanted.any():
        assert cut == b""
        return
    (got,) = obspy.read(BytesIO(cut), format="MSEED")
    assert got.stats.starttime.ns == times[wanted][0]
    np.testing.assert_array_equal(got.data, reference.data[wanted])


@given(cuts=st.sets(st.integers(0, 60_000_000_000), max_size=4))
@settings(max_examples=30, deadline=None)
def test_neighbouring_spans_share_no_sample_and_lose_none(cuts: set[int]) -> None:
    edges = [START.ns - 1, *sorted(START.ns + cut for cut in cuts), START.ns + 61_000_000_000]
    parts = [compose(RECORDS, a, b) for a, b in pairwise(edges)]
    (joined,) = obspy.read(BytesIO(b"".join(parts)), format="MSEED").merge(method=-1)
    (reference,) = obspy.read(BytesIO(BODY), format="MSEED")
    np.testing.assert_array_equal(joined.data, reference.data)
    assert sum(contents(part).samples for part in parts) == reference.stats.npts


def test_a_record_inside_is_kept_byte_for_byte() -> None:
    cut = compose(RECORDS, START.ns + 10_000_000_000, START.ns + 50_000_000_000)
    kept = by_channel(cut)[CODE]
    assert len(set(kept) & set(RECORDS)) >= len(kept) - 4


@pytest.mark.parametrize("missing", [1, 7, 300, 511])
def test_what_is_cut_short_is_found(missing: int) -> None:
    with pytest.raises(DataError, match="miniSEED"):
        check_records(BODY[:-missing])


@pytest.mark.parametrize("text", [b"", b"<html>no</html>" * 50, b"Error 500"])
def test_what_is_no_miniseed_is_found(text: bytes) -> None:
    with pytest.raises(DataError):
        check_records(text)


def test_gaps_are_counted() -> None:
    pieces = [
        compose(RECORDS, START.ns + a * 10**9, START.ns + b * 10**9)
        for a, b in ((0, 9), (12, 20), (21, 30))
    ]
    held = contents(b"".join(pieces))
    assert held.gaps == 2
    assert held.samples == 2600
    assert held.start_ns == START.ns
