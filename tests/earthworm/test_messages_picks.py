"""PICK_SCNL and PICK2K: lines as stock programs write them, and never one they misread."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.messages import (
    MessageError,
    Pick2k,
    PickScnl,
    decode_pick2k,
    decode_pick_scnl,
    encode_pick2k,
    encode_pick_scnl,
)
from ml_prediction.util.codes import NSLC

# Written by the real pick_ew, and read by the real parser of columns.
PICK_EW = b"8 99 255 2 NATEM.HHZ.UW.-- D0 20231009022117.300 20250 124244 128340\n"
COLUMNS = (
    b" 10200255    0 NATEMUWENE ?1  20231009022010.27     100     200     300\n"  # fields touch
)
MILLISECOND = 1_000_000


def ns(*when: int, milliseconds: int = 0) -> int:
    since = datetime(*when, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)  # type: ignore[arg-type,misc]
    return (since // timedelta(milliseconds=1) + milliseconds) * MILLISECOND


SCNL = PickScnl(
    type=8,
    module=99,
    installation=255,
    sequence=2,
    nslc=NSLC("UW", "NATEM", "", "HHZ"),
    first_motion="D",
    weight=0,
    time_ns=ns(2023, 10, 9, 2, 21, 17, milliseconds=300),
    amplitudes=(20250, 124244, 128340),
)
TWO_K = Pick2k(
    type=10,
    module=200,
    installation=255,
    sequence=0,
    nslc=NSLC("UW", "NATEM", "", "ENE"),
    first_motion="?",
    weight=1,
    time_ns=ns(2023, 10, 9, 2, 20, 10, milliseconds=270),
    amplitudes=(100, 200, 300),
)


def scnl(**changes: Any) -> PickScnl:
    values: dict[str, Any] = {name: getattr(SCNL, name) for name in PickScnl.__slots__}
    return PickScnl(**{**values, **changes})


def two_k(**changes: Any) -> Pick2k:
    values: dict[str, Any] = {name: getattr(TWO_K, name) for name in Pick2k.__slots__}
    return Pick2k(**{**values, **changes})


def line(**changes: str) -> bytes:
    """A PICK_SCNL by words."""
    words = {
        "type": "8",
        "module": "99",
        "installation": "255",
        "sequence": "2",
        "scnl": "NATEM.HHZ.UW.--",
        "motion": "D0",
        "time": "20231009022117.300",
        "one": "20250",
        "two": "124244",
        "three": "128340",
    }
    return " ".join({**words, **changes}.values()).encode("latin-1") + b"\n"


def columns(first: int, text: bytes) -> bytes:
    """The PICK2K of the real parser with other text in some columns."""
    return COLUMNS[:first] + text + COLUMNS[first + len(text) :]


def test_a_line_of_the_real_pick_ew() -> None:
    assert decode_pick_scnl(PICK_EW) == SCNL
    assert encode_pick_scnl(SCNL) == PICK_EW
    assert line() == PICK_EW


def test_a_line_of_columns_that_touch() -> None:
    assert len(COLUMNS) == 72
    assert decode_pick2k(COLUMNS) == TWO_K
    assert encode_pick2k(TWO_K) == COLUMNS


@pytest.mark.parametrize(
    "ending", [b"", b"\r\n", b"\n\0", b"\0garbage", b" 5 S\n", b" PS\n", b" x S\n", b"\nS\n"]
)
def test_what_follows_a_pick_is_ignored(ending: bytes) -> None:
    assert decode_pick_scnl(PICK_EW[:-1] + ending) == SCNL


@pytest.mark.parametrize("phase", ["P", "S"])
def test_the_phase_is_a_word_behind_the_amplitudes(phase: str) -> None:
    message = PICK_EW[:-1] + b" " + phase.encode() + b"\n"
    assert encode_pick_scnl(scnl(phase=phase)) == message
    assert decode_pick_scnl(message) == scnl(phase=phase)
    assert decode_pick_scnl(message[:-1] + b" 0.87\n") == scnl(phase=phase)


@pytest.mark.parametrize(
    ("written", "sequence"),
    [
        (2**31 - 1, 2**31 - 1),
        (2**31, -(2**31)),
        (2**32 - 1, -1),
        (-(2**31), -(2**31)),
    ],
)
def test_large_sequences_wrap_to_negative(written: int, sequence: int) -> None:
    assert decode_pick_scnl(line(sequence=str(written))).sequence == sequence


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (ns(2023, 10, 9, 2, 21, 59, milliseconds=999) + 499_999, "20231009022159.999"),
        (ns(2023, 10, 9, 2, 21, 59, milliseconds=999) + 500_000, "20231009022200.000"),
        (ns(2023, 12, 31, 23, 59, 59, milliseconds=999) + 999_999, "20240101000000.000"),
        (ns(2024, 2, 29, 1, 2, 3, milliseconds=4) - 500_001, "20240229010203.003"),
        (ns(1969, 12, 31, 23, 59, 59, milliseconds=999) + 400_000, "19691231235959.999"),
        (-400_000, "19700101000000.000"),
        (ns(1900, 1, 1), "19000101000000.000"),
        (ns(2199, 12, 31, 23, 59, 59, milliseconds=999), "21991231235959.999"),
    ],
)
def test_the_time_is_rounded_and_seconds_are_never_60(time_ns: int, text: str) -> None:
    message = encode_pick_scnl(scnl(time_ns=time_ns))
    assert message == line(time=text)
    assert abs(decode_pick_scnl(message).time_ns - time_ns) <= MILLISECOND // 2


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (ns(2023, 10, 9, 2, 21, 59, milliseconds=995), b"20231009022200.00"),
        (ns(2023, 10, 9, 2, 21, 59, milliseconds=995) - 1, b"20231009022159.99"),
        (ns(2023, 10, 9, 2, 21, 59, milliseconds=7), b"20231009022159.01"),
    ],
)
def test_pick2k_has_hundredths(time_ns: int, text: bytes) -> None:
    assert encode_pick2k(two_k(time_ns=time_ns)) == columns(30, text)


def test_60_seconds_are_the_next_minute() -> None:
    expected = ns(2023, 10, 9, 2, 22, 0, milliseconds=250)
    assert decode_pick_scnl(line(time="20231009022160.250")).time_ns == expected
    assert decode_pick2k(columns(30, b"20231009022160.25")).time_ns == expected


def test_amplitudes_are_capped_to_what_readers_hold() -> None:
    huge = (2**31 - 1, 2**31, 10**18)
    assert encode_pick_scnl(scnl(amplitudes=huge)).endswith(b" 2147483647" * 3 + b"\n")
    message = encode_pick2k(two_k(amplitudes=(99_999_999, 10**8, 0)))
    assert message == columns(47, b"9999999999999999       0")
    assert decode_pick2k(message).amplitudes == (99_999_999, 99_999_999, 0)


def test_numpy_integers_are_integers() -> None:
    amplitudes = tuple(np.array(SCNL.amplitudes, dtype=np.int64))
    assert encode_pick_scnl(scnl(amplitudes=amplitudes, weight=np.int8(0))) == PICK_EW


@pytest.mark.parametrize(
    ("sequence", "text"), [(9999, b"9999"), (10_000, b"   0"), (123_456, b"3456"), (-1, b"9999")]
)
def test_the_sequence_of_pick2k_has_4_digits(sequence: int, text: bytes) -> None:
    message = encode_pick2k(two_k(sequence=sequence))
    assert message == columns(10, text)
    assert decode_pick2k(message).sequence == sequence % 10_000


def test_short_codes_are_left_justified_in_pick2k() -> None:
    message = encode_pick2k(two_k(nslc=NSLC("U", "GN", "00", "Z")))
    assert message == columns(15, b"GN   U Z  ")
    assert decode_pick2k(message).nslc == NSLC("U", "GN", "", "Z")  # it has no location


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nslc": NSLC("UW", "SEVENCH", "", "HHZ")}, "station code 'SEVENCH' has not 1 to 6"),
        ({"nslc": NSLC("NINEBYTES", "GNW", "", "HHZ")}, "network code .* not 1 to 8"),
        ({"nslc": NSLC("UW", "GNW", "", "HHZ1")}, "channel code 'HHZ1' has not 1 to 3"),
        ({"nslc": NSLC("UW", "GNW", "001", "HHZ")}, "location code '001' has not 1 to 2"),
        ({"nslc": NSLC("", "GNW", "", "HHZ")}, "network code ''"),
        ({"nslc": NSLC("UW", "G.W", "", "HHZ")}, "'UW.G.W..HHZ': the station code 'G.W' has"),
        ({"nslc": NSLC("UW", "GNW", " ", "HHZ")}, "location code ' ' has blanks"),
        ({"nslc": NSLC("UW", "GNÖ", "", "HHZ")}, r"station code 'GN\\xd6'"),
        ({"first_motion": ""}, "first motion ''"),
        ({"first_motion": " "}, "first motion ' '"),
        ({"weight": 5}, "weight 5 is not within 0 to 4"),
        ({"type": 256}, "type 256"),
        ({"module": -1}, "module -1"),
        ({"installation": 256}, "installation 256"),
        ({"sequence": 2**31}, "sequence 2147483648"),
        ({"amplitudes": (1, -2, 3)}, "amplitude -2"),
        ({"amplitudes": (1.0, 2, 3)}, r"amplitude '1\.0' is not an integer"),
        ({"amplitudes": (1, 2)}, "2 amplitudes are not 3"),
        ({"phase": "Pn"}, "phase 'Pn' is not P, S or None"),
        ({"time_ns": ns(1900, 1, 1) - MILLISECOND}, "time 1899-12-31 23:59:59"),
        ({"time_ns": ns(2200, 1, 1)}, "within the years 1900 to 2199"),
        ({"time_ns": 2**63}, "time 9223372036854775808"),
    ],
)
def test_what_a_reader_would_misread_is_not_written(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        encode_pick_scnl(scnl(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nslc": NSLC("UW", "SIXCHA", "", "HHZ")}, "'UW.SIXCHA..HHZ': the station code 'SIXCHA'"),
        ({"nslc": NSLC("UWX", "GNW", "", "HHZ")}, "network code 'UWX' has not 1 to 2"),
        ({"nslc": NSLC("UW", "GNW", "", "HHZ1")}, "channel code 'HHZ1' has not 1 to 3"),
        ({"first_motion": "u"}, "first motion 'u'"),
        ({"weight": -1}, "weight -1"),
        ({"module": 1000}, "module 1000"),
        ({"amplitudes": (1, 2, -1)}, "amplitude -1"),
    ],
)
def test_what_has_no_columns_is_not_written(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        encode_pick2k(two_k(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"three": ""}, "has 9 words"),
        ({"type": "256"}, "type 256 is not within 0 to 255"),
        ({"module": "x"}, "module 'x' is not an integer"),
        ({"installation": "-1"}, "installation -1"),
        ({"sequence": "4294967296"}, "sequence 4294967296"),
        ({"scnl": "NATEM.HHZ.UW"}, "'NATEM.HHZ.UW' is not STATION.CHANNEL.NETWORK.LOCATION"),
        ({"scnl": "NATEM.HHZ.UW.--.1"}, "is not STATION.CHANNEL"),
        ({"scnl": "NATEM.HHZ.UW."}, "location code ''"),
        ({"scnl": "NATEMXY.HHZ.UW.--"}, "station code 'NATEMXY'"),
        ({"scnl": "N\xc4TEM.HHZ.UW.--"}, r"station code 'N\\xc4TEM'"),
        ({"motion": "0"}, "'0' is not a letter"),
        ({"motion": "X0"}, "UW.NATEM..HHZ: first motion 'X'"),
        ({"motion": "U5"}, "weight 5"),
        ({"motion": "U?"}, r"weight '\?' is not an integer"),
        ({"time": "20231009022117.30"}, "time '20231009022117.30' is not .* 3 decimals"),
        ({"time": "20231009022117.3000"}, "3 decimals"),
        ({"time": "20231309022117.300"}, "not in any calendar"),
        ({"time": "20231009022161.000"}, "more than 60 seconds"),
        ({"time": "18991231235960.000"}, "within the years 1900"),
        ({"time": "99991231235960.000"}, "within the years 1900"),
        ({"time": "00000101000000.000"}, "not in any calendar"),
        ({"one": "100.5"}, "amplitude '100.5' is not an integer"),
        ({"two": "1_0"}, "amplitude '1_0'"),
        ({"three": "9" * 20}, "amplitude 9{20} is not within"),
    ],
)
def test_bad_picks_are_refused(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_pick_scnl(line(**changes))


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (COLUMNS[:70], "has 70 characters, not 71"),
        (COLUMNS[:-1] + b"0\n", "has 72 characters, not 71"),
        (COLUMNS[:10] + b"10000" + COLUMNS[14:], "has 72 characters, not 71"),
        (columns(15, b" NATE"), "station code ' NATE' has blanks"),
        (columns(9, b"x"), "column 9 would be blank"),
        (columns(10, b"10000 NATEM"), "column 14 would be blank in ' 10200255 10000'"),
        (columns(25, b"-"), "column 25 would be blank"),
        (columns(0, b"   "), "type '' is not an integer"),
        (columns(10, b"1  2"), "sequence '1  2' is not an integer"),
        (columns(15, b"     "), "station code ''"),
        (columns(15, b"N.TEM"), "station code 'N.TEM' has blanks, dots"),
        (columns(26, b"x"), "first motion 'x'"),
        (columns(27, b" "), "weight ' '"),
        (columns(30, b"20231009022010.2x"), "2 decimals"),
        (columns(47, b"   100.5"), "amplitude '100.5'"),
        (columns(15, b"NAT\0M"), "has 18 characters"),
    ],
)
def test_bad_columns_are_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_pick2k(payload)


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\n\0x"])
def test_the_line_end_of_pick2k_may_be_missing(ending: bytes) -> None:
    assert decode_pick2k(COLUMNS[:-1] + ending) == TWO_K


def test_a_blank_first_motion_of_pick2k_is_not_known() -> None:
    assert decode_pick2k(columns(26, b" ")).first_motion == "?"


def test_the_room_for_a_phase_in_pick2k_is_not_read() -> None:
    assert decode_pick2k(columns(28, b"P ")) == TWO_K


def codes(most: int) -> st.SearchStrategy[str]:
    visible = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=".")
    return st.text(visible, min_size=1, max_size=most)


byte = st.integers(0, 255)
first_motions = st.sampled_from("UD?")
weights = st.integers(0, 4)
milliseconds = st.integers(ns(1900, 1, 1) // MILLISECOND, ns(2200, 1, 1) // MILLISECOND - 1)
scnl_picks = st.builds(
    PickScnl,
    byte,
    byte,
    byte,
    st.integers(-(2**31), 2**31 - 1),
    st.builds(NSLC, codes(8), codes(6), (codes(2) | st.just("")).filter("--".__ne__), codes(3)),
    first_motions,
    weights,
    milliseconds.map(lambda time: time * MILLISECOND),
    st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
    st.sampled_from([None, "P", "S"]),
)
picks_2k = st.builds(
    Pick2k,
    byte,
    byte,
    byte,
    st.integers(0, 9999),
    st.builds(NSLC, codes(2), codes(5), st.just(""), codes(3)),
    first_motions,
    weights,
    milliseconds.map(lambda time: time // 10 * 10 * MILLISECOND),
    st.tuples(*[st.integers(0, 99_999_999)] * 3),
)
STOCK = re.compile(  # what every stock parser of PICK_SCNL reads
    rb"\d{1,3} \d{1,3} \d{1,3} -?\d{1,10} "
    rb"[^ .]{1,6}\.[^ .]{1,3}\.[^ .]{1,8}\.[^ .]{1,2} [UD?][0-4] "
    rb"\d{12}[0-5]\d\.\d{3} \d{1,10} \d{1,10} \d{1,10}( [PS])?\n"
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(scnl_picks)
def test_what_is_written_is_read_again(pick: PickScnl) -> None:
    message = encode_pick_scnl(pick)
    assert STOCK.fullmatch(message)
    assert decode_pick_scnl(message) == pick


@settings(derandomize=True, deadline=None, max_examples=300)
@given(picks_2k)
def test_columns_that_are_written_are_read_again(pick: Pick2k) -> None:
    message = encode_pick2k(pick)
    assert len(message) == 72
    assert decode_pick2k(message) == pick


@settings(derandomize=True, deadline=None)
@given(milliseconds, st.integers(-500_000, 499_999))
def test_any_time_is_kept_to_half_a_millisecond(time: int, off_ns: int) -> None:
    time_ns = time * MILLISECOND + off_ns
    message = encode_pick_scnl(scnl(time_ns=time_ns))
    assert STOCK.fullmatch(message)
    assert decode_pick_scnl(message).time_ns == time * MILLISECOND


def refusal(decode: Callable[[bytes], object], payload: bytes) -> str:
    try:
        decode(payload)
    except MessageError as error:
        return str(error)
    return ""


def check_total(payload: bytes) -> None:
    for decode in (decode_pick_scnl, decode_pick2k):
        sentence = refusal(decode, payload)
        assert sentence.isascii()
        assert sentence.isprintable()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    check_total(payload)


damage = st.lists(
    st.tuples(
        st.integers(0, 75),
        st.binary(max_size=3) | st.sampled_from([*b"0 9.-"]).map(chr).map(str.encode),
    ),
    max_size=3,
)


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(st.sampled_from([PICK_EW, COLUMNS]), damage, st.booleans())
def test_damaged_picks_are_read_or_refused(
    message: bytes, changes: list[tuple[int, bytes]], insert: bool
) -> None:
    for place, new in changes:
        message = message[:place] + new + message[place + (0 if insert else len(new)) :]
    check_total(message)
