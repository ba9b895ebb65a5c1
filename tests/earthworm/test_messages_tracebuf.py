"""TRACEBUF2 and TRACEBUF: byte for byte what Earthworm writes, and refused where it refuses."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.messages import (
    MessageError,
    TraceBuf,
    decode_tracebuf,
    decode_tracebuf2,
    encode_tracebuf,
    encode_tracebuf2,
    start_ns,
)
from ml_prediction.util.codes import NSLC

START = 1_696_818_137.3
NATIVE = {
    "i2": np.int16,
    "s2": np.int16,
    "i4": np.int32,
    "s4": np.int32,
    "f4": np.float32,
    "t4": np.float32,
    "f8": np.float64,
    "t8": np.float64,
}
LETTERS = {"i2": "h", "i4": "i", "f4": "f", "f8": "d", "s2": "h", "s4": "i", "t4": "f", "t8": "d"}


def by_hand(
    *,
    datatype: bytes = b"i4\0",
    samples: tuple[float, ...] = (1, -2, 300_000),
    count: int | None = None,
    start: float = START,
    end: float | None = None,
    rate: float = 100.0,
    codes: bytes = b"NATEM\0\0" + b"UW\0\0\0\0\0\0\0" + b"HHZ\0" + b"--\0",
    version: bytes = b"20",
    tail: bytes = b"D\0\0\0",
    pin: int = 7,
) -> bytes:
    """Fields one after the other, as the table of the format has them."""
    order = "<" if datatype[:1] in (b"i", b"f") else ">"
    if end is None:
        end = start + (len(samples) - 1) / rate if rate else start
    fields = [
        struct.pack(order + "i", pin),
        struct.pack(order + "i", len(samples) if count is None else count),
        struct.pack(order + "d", start),
        struct.pack(order + "d", end),
        struct.pack(order + "d", rate),
        codes,
        version,
        datatype,
        tail,
    ]
    letter = LETTERS.get(datatype[:2].decode("latin-1"), "i")
    fields += [struct.pack(order + letter, sample) for sample in samples]
    return b"".join(fields)


def make(**changes: Any) -> TraceBuf:
    values: dict[str, Any] = {
        "nslc": NSLC("UW", "NATEM", "", "HHZ"),
        "starttime": START,
        "endtime": START + 2 / 100.0,
        "sampling_rate": 100.0,
        "samples": np.array([1, -2, 300_000], dtype=np.int32),
        "datatype": "i4",
        "pin": 7,
        "quality": b"D\0",
    }
    return TraceBuf(**{**values, **changes})


def assert_same(one: TraceBuf, other: TraceBuf) -> None:
    for field in dataclasses.fields(TraceBuf):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "samples":
            assert mine.dtype == theirs.dtype
            assert mine.dtype.isnative
            assert mine.tobytes() == theirs.tobytes()
        else:
            assert mine == theirs, field.name


@pytest.mark.parametrize("datatype", ["i2", "i4", "s2", "s4"])
def test_both_byte_orders_are_written_and_read_as_by_hand(datatype: str) -> None:
    samples = (1, -2, 32_767)
    message = by_hand(datatype=datatype.encode() + b"\0", samples=samples)
    buf = make(datatype=datatype, samples=np.array(samples, dtype=NATIVE[datatype]))
    assert len(message) == 64 + 3 * int(datatype[1])
    assert encode_tracebuf2(buf) == message
    assert_same(decode_tracebuf2(message), buf)


@pytest.mark.parametrize("datatype", ["f4", "f8", "t4", "t8"])
def test_floats_are_read_but_written_on_request_only(datatype: str) -> None:
    samples = (1.5, -2.25, 1e-3)
    message = by_hand(datatype=datatype.encode() + b"\0", samples=samples)
    buf = make(datatype=datatype, samples=np.array(samples, dtype=NATIVE[datatype]))
    assert_same(decode_tracebuf2(message), buf)
    assert encode_tracebuf2(buf, allow_float=True) == message
    with pytest.raises(MessageError, match=f"refuse type {datatype}"):
        encode_tracebuf2(buf)


def test_a_whole_header_byte_by_byte() -> None:
    header = encode_tracebuf2(make(nslc=NSLC("UW", "GNW", "01", "BHZ"), pin=258))[:64]
    assert header[:8] == b"\x02\x01\0\0\x03\0\0\0"
    assert header[32:] == b"GNW\0\0\0\0UW\0\0\0\0\0\0\0BHZ\x0001\x0020i4\0D\0\0\0"


@pytest.mark.parametrize("datatype", [b"i4\0", b"s4\0"])
def test_version_21_has_a_conversion_factor(datatype: bytes) -> None:
    order = "<" if datatype == b"i4\0" else ">"
    message = by_hand(datatype=datatype, version=b"21", tail=struct.pack(order + "f", 0.625))
    buf = decode_tracebuf2(message)
    assert (buf.version, buf.conversion_factor, buf.quality) == ("21", 0.625, b"\0\0")
    assert encode_tracebuf2(buf) == message


def test_a_conversion_factor_that_is_not_finite_is_not_known() -> None:
    message = by_hand(version=b"21", tail=struct.pack("<f", math.nan))
    assert decode_tracebuf2(message).conversion_factor is None


@pytest.mark.parametrize("datatype", [b"i4\0", b"s4\0"])
def test_the_older_form_has_a_long_channel_and_no_location(datatype: bytes) -> None:
    codes = b"NATEM\0\0" + b"UW\0\0\0\0\0\0\0" + b"LONGCHAN\0"
    message = by_hand(datatype=datatype, codes=codes, version=b"")
    buf = make(nslc=NSLC("UW", "NATEM", "", "LONGCHAN"), datatype=datatype[:2].decode())
    assert message[48:57] == b"LONGCHAN\0"
    assert_same(decode_tracebuf(message), buf)
    assert encode_tracebuf(buf) == message


def test_samples_are_a_view_where_the_byte_order_is_that_of_the_machine() -> None:
    message = by_hand()
    native = decode_tracebuf2(message).samples
    assert np.shares_memory(native, np.frombuffer(message, dtype=np.uint8))
    assert not native.flags.writeable


def test_what_is_behind_the_samples_is_ignored() -> None:
    assert_same(decode_tracebuf2(by_hand() + b"more"), decode_tracebuf2(by_hand()))
    fewer = by_hand(count=2, end=START + 0.01)
    assert decode_tracebuf2(fewer).samples.tolist() == [1, -2]


def test_what_is_behind_a_nul_is_no_code() -> None:
    message = by_hand(codes=b"GNW\0xyz" + b"UW\0garbag" + b"HH\0Z" + b"\0??")
    assert decode_tracebuf2(message).nslc == NSLC("UW", "GNW", "", "HH")


@pytest.mark.parametrize("location", [b"--\0", b"\0\0\0", b"  \0"])
def test_every_form_of_no_location(location: bytes) -> None:
    codes = b"GNW  \0\0" + b"UW\0\0\0\0\0\0\0" + b"HHZ\0" + location
    assert decode_tracebuf2(by_hand(codes=codes)).nslc == NSLC("UW", "GNW", "", "HHZ")


def test_the_largest_messages() -> None:
    for datatype, most in {"i2": 2016, "i4": 1008}.items():
        samples = np.zeros(most + 1, dtype=NATIVE[datatype])
        end = START + (most - 1) / 100.0
        buf = make(samples=samples[:most], datatype=datatype, endtime=end)
        message = encode_tracebuf2(buf)
        assert len(message) == 4096
        assert_same(decode_tracebuf2(message), buf)
        with pytest.raises(MessageError, match=f"{most + 1} samples are not 1 to {most}"):
            encode_tracebuf2(make(samples=samples, datatype=datatype, endtime=end))
        more = by_hand(datatype=datatype.encode() + b"\0", samples=(0,) * (most + 1))
        with pytest.raises(MessageError, match=f"{most + 1} samples"):
            decode_tracebuf2(more)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"datatype": b"i3\0"}, r"data type 'i3\\x00' is none of"),
        ({"datatype": b"i4x"}, "data type 'i4x' is none of"),
        ({"version": b"30"}, "UW.NATEM..HHZ: version '30'"),
        ({"count": 0}, "0 samples are not 1 to 1008"),
        ({"count": -5}, "-5 samples"),
        ({"count": 4, "end": START + 0.03}, "76 bytes have room for 3 samples"),
        ({"rate": 0.0}, "sampling rate 0.0"),
        ({"rate": -100.0}, "sampling rate -100.0"),
        ({"rate": math.nan, "end": START}, "sampling rate nan"),
        ({"rate": math.inf}, "sampling rate inf"),
        ({"start": math.nan}, "start time nan"),
        ({"start": -2_208_988_801.0}, "start time -2208988801.0"),
        ({"start": 7_258_118_400.0}, "years 1900 to 2199"),
        ({"end": math.inf}, "end time inf"),
        ({"end": START + 0.0201 + 0.05}, "more than 5 samples away"),
        ({"end": START + 0.0199 - 0.05}, "more than 5 samples away"),
        ({"rate": 1e308, "end": START + 1}, "more than 5 samples away"),
    ],
)
def test_what_earthworm_refuses_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_tracebuf2(by_hand(**changes))


@pytest.mark.parametrize("off", [-0.0499, 0.0499])
def test_an_end_time_within_5_samples_is_taken_as_it_is(off: float) -> None:
    end = START + 0.02 + off
    assert decode_tracebuf2(by_hand(end=end)).endtime == end


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (b"\0ATEM\0\0UW\0\0\0\0\0\0\0HHZ\0--\0", "station or channel code is empty"),
        (b"NATEM\0\0UW\0\0\0\0\0\0\0\0HZ\0--\0", "station or channel code is empty"),
        (b"NATEMXYUW\0\0\0\0\0\0\0HHZ\0--\0", "station code 'NATEMXY' has no NUL"),
        (b"NATEM\0\0UWUWUWUWUHHZ\0--\0", "network code 'UWUWUWUWU' has no NUL"),
        (b"NA EM\0\0UW\0\0\0\0\0\0\0HHZ\0--\0", "'NA EM' is no station code"),
        (b"NATEM\0\0U\xe9\0\0\0\0\0\0\0HHZ\0--\0", r"'U\\xe9' is no network code"),
        (b"NATEM\0\0UW\0\0\0\0\0\0\0HH\x07\0--\0", r"'HH\\x07' is no channel code"),
        (b"NATEM\0\0UW\0\0\0\0\0\0\0HHZ\0\t\0\0", r"'\\t' is no location code"),
    ],
)
def test_bad_codes_are_named(codes: bytes, sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_tracebuf2(by_hand(codes=codes))


@pytest.mark.parametrize("length", [0, 57, 59, 60, 63, 64, 75])
def test_a_message_that_was_cut_is_refused(length: int) -> None:
    for decode in (decode_tracebuf2, decode_tracebuf):
        with pytest.raises(MessageError, match=f"{length} bytes|no NUL"):
            decode(by_hand()[:length])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nslc": NSLC("UW", "SEVENCH", "", "HHZ")}, "station code 'SEVENCH' has more than 6"),
        ({"nslc": NSLC("NINEBYTES", "GNW", "", "HHZ")}, "network code .* more than 8"),
        ({"nslc": NSLC("UW", "GNW", "", "HHZ1")}, "channel code 'HHZ1' has more than 3"),
        ({"nslc": NSLC("UW", "GNW", "001", "HHZ")}, "location code '001' has more than 2"),
        ({"nslc": NSLC("UW", "", "", "HHZ")}, "station code '' is empty"),
        ({"nslc": NSLC("UW", "GNW", "", "")}, "channel code '' is empty"),
        ({"nslc": NSLC("UW", "G W", "", "HHZ")}, "station code 'G W' has blanks"),
        ({"nslc": NSLC("UW", "GNÖ", "", "HHZ")}, r"'UW.GN\\xd6..HHZ': .* visible ASCII"),
        ({"datatype": "i8"}, "no data type 'i8'"),
        ({"datatype": "ï4"}, r"no data type '\\xef4'"),
        ({"datatype": "i2"}, "int32 .* one-dimensional int16"),
        ({"samples": np.zeros((1, 3), dtype=np.int32)}, "shape"),
        ({"samples": np.zeros(3, dtype=">i4")}, ">i4"),
        ({"samples": np.zeros(0, dtype=np.int32)}, "0 samples"),
        ({"sampling_rate": math.nan}, "sampling rate nan"),
        ({"starttime": math.inf}, "start time inf"),
        ({"endtime": START + 1}, "more than 5 samples"),
        ({"pin": 2**31}, "pin 2147483648"),
        ({"quality": b"D"}, "quality 'D' is not 2 bytes"),
        ({"version": "22"}, "version '22'"),
        ({"conversion_factor": 1.0}, "no room for the conversion factor 1.0"),
        ({"version": "21"}, "conversion factor None"),
        ({"version": "21", "quality": b"\0\0", "conversion_factor": 1e39}, "factor 1e\\+39"),
        ({"version": "21", "conversion_factor": 1.0}, "no room for the quality 'D"),
    ],
)
def test_what_no_reader_would_take_is_not_written(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        encode_tracebuf2(make(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nslc": NSLC("UW", "GNW", "00", "HHZ")}, "location code '00' has more than 0"),
        ({"nslc": NSLC("UW", "GNW", "", "NINECHANS")}, "more than 8"),
        ({"version": "21"}, "no room for version '21'"),
        ({"conversion_factor": 2.0}, "conversion factor 2.0"),
    ],
)
def test_what_the_older_form_has_no_room_for(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        encode_tracebuf(make(**changes))


def codes(most: int, least: int = 1) -> st.SearchStrategy[str]:
    visible = st.characters(min_codepoint=33, max_codepoint=126)
    return st.text(visible, min_size=least, max_size=most)


@st.composite
def tracebufs(draw: st.DrawFn, *, legacy: bool = False) -> TraceBuf:
    datatype = draw(st.sampled_from(sorted(NATIVE)))
    size = np.dtype(NATIVE[datatype]).itemsize
    raw = draw(st.binary(min_size=size, max_size=40 * size))
    samples = np.frombuffer(raw[: len(raw) // size * size], dtype=NATIVE[datatype])
    rate = draw(st.floats(0.01, 1000.0))
    start = draw(st.floats(-2e9, 7e9))
    version = "20" if legacy else draw(st.sampled_from(["20", "21"]))
    factor = draw(st.floats(width=32, allow_nan=False, allow_infinity=False))
    location = "" if legacy else draw(codes(2, 0).filter(lambda code: code != "--"))
    return TraceBuf(
        NSLC(draw(codes(8, 0)), draw(codes(6)), location, draw(codes(8 if legacy else 3))),
        start,
        start + (len(samples) - 1 + draw(st.floats(-4.9, 4.9))) / rate,
        rate,
        samples,
        datatype,
        draw(st.integers(-(2**31), 2**31 - 1)),
        version,
        draw(st.binary(min_size=2, max_size=2)) if version == "20" else b"\0\0",
        None if version == "20" else factor,
    )


@settings(derandomize=True, deadline=None, max_examples=300)
@given(tracebufs())
def test_what_is_written_is_read_again(buf: TraceBuf) -> None:
    message = encode_tracebuf2(buf, allow_float=True)
    assert_same(decode_tracebuf2(message), buf)
    assert encode_tracebuf2(decode_tracebuf2(message), allow_float=True) == message


@settings(derandomize=True, deadline=None, max_examples=200)
@given(tracebufs(legacy=True))
def test_the_older_form_is_read_again(buf: TraceBuf) -> None:
    assert_same(decode_tracebuf(encode_tracebuf(buf, allow_float=True)), buf)


def attempt(decode: Callable[[bytes], TraceBuf], payload: bytes) -> TraceBuf | str:
    try:
        return decode(payload)
    except MessageError as error:
        return str(error)


def check_total(payload: bytes) -> None:
    for decode in (decode_tracebuf2, decode_tracebuf):
        found = attempt(decode, payload)
        if isinstance(found, str):
            assert found.isascii()
            assert found.isprintable()
        else:
            assert 0 < len(found.samples) <= 2016
            assert found.nslc.station
            assert isinstance(start_ns(found), int)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    check_total(payload)


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(
    tracebufs(),
    st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=8)), max_size=3),
    st.integers(0, 300),
)
def test_damaged_messages_are_read_or_refused(
    buf: TraceBuf, damage: list[tuple[int, bytes]], length: int
) -> None:
    message = bytearray(encode_tracebuf2(buf, allow_float=True))
    for place, new in damage:
        message[place : place + len(new)] = new
    check_total(bytes(message))
    check_total(bytes(message[:length]))


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.integers(-2_208_988_800 * 10**6, 2**32 * 10**6))  # a double has microseconds until 2106
def test_the_start_is_exact_to_the_microsecond(microseconds: int) -> None:
    assert start_ns(make(starttime=microseconds / 10**6)) == microseconds * 1000
