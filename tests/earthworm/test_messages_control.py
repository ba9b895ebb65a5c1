"""Heartbeats, errors, stop and restart: short texts that C programs read with their own rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.messages import (
    Heartbeat,
    MessageError,
    Restart,
    StatusError,
    Stop,
    decode_error,
    decode_heartbeat,
    decode_restart,
    decode_stop,
    encode_error,
    encode_heartbeat,
    encode_restart,
    encode_stop,
)

DECODERS: list[Callable[[bytes], object]] = [
    decode_heartbeat,
    decode_error,
    decode_stop,
    decode_restart,
]
times = st.integers(0, 2**63 - 1)
pids = st.integers(1, 2**31 - 1)


def test_heartbeats_with_and_without_pid() -> None:
    assert encode_heartbeat(Heartbeat(1_696_818_137, 4321)) == b"1696818137 4321\n"
    assert encode_heartbeat(Heartbeat(1_696_818_137, None)) == b"1696818137\n"
    assert decode_heartbeat(b"1696818137 4321\n") == Heartbeat(1_696_818_137, 4321)
    assert decode_heartbeat(b"1696818137\n") == Heartbeat(1_696_818_137, None)


@pytest.mark.parametrize("payload", [b"17 5", b"17 5\n\0", b"17 5\0garbage", b" 17  5 \n"])
def test_line_end_and_nul_don_t_matter(payload: bytes) -> None:
    assert decode_heartbeat(payload) == Heartbeat(17, 5)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "'' is not a time and a pid"),
        (b"\n", r"'\\n' is not a time and a pid"),
        (b"1 2 3\n", r"'1 2 3\\n' is not a time and a pid"),
        (b"12.5 3\n", "time '12.5' is not an integer"),
        (b"1_2 3\n", "time '1_2' is not an integer"),
        (b"12 x\xff\n", r"pid 'x\\xff' is not an integer"),
        (b"-12 3\n", "time -12 is not within 0"),
        (b"12 2147483648\n", "pid 2147483648 is not within"),
        (b"9" * 5000, "time '9{40}...' is not an integer"),
    ],
)
def test_bad_heartbeats_are_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_heartbeat(payload)


@settings(derandomize=True, deadline=None)
@given(times, st.none() | pids)
def test_heartbeats_are_read_again(time: int, pid: int | None) -> None:
    beat = Heartbeat(time, pid)
    assert decode_heartbeat(encode_heartbeat(beat)) == beat


def test_errors_with_and_without_text() -> None:
    assert encode_error(StatusError(17, 3, "no data for 60 s")) == b"17 3 no data for 60 s\n"
    assert encode_error(StatusError(17, 3, "")) == b"17 3\n"
    assert decode_error(b"17 3 no  data for 60 s\n") == StatusError(17, 3, "no  data for 60 s")
    assert decode_error(b"17 3\n") == StatusError(17, 3, "")


def test_an_error_is_printable_ascii() -> None:
    error = StatusError(17, 3, " GNÖ\tis\nlate\0 \ud800")
    assert encode_error(error) == b"17 3 GN\\xd6 is late  \\ud800\n"
    assert decode_error(b"17 3 GN\xd6\tis\nlate\n") == StatusError(17, 3, "GN\\xd6 is late")


def test_an_error_is_cut_to_what_statmgr_reads() -> None:
    message = encode_error(StatusError(1_696_818_137, 9999, "x" * 600))
    assert len(message) == 511
    assert message.endswith(b"x\n")
    assert len(encode_error(StatusError(17, 3, "x" * 505))) == 511
    assert decode_error(b"17 3 " + b"x" * 600 + b"\n").text == "x" * 600


def test_numbers_of_the_transport_are_read_but_not_written() -> None:
    assert decode_error(b"17 10001 gap\n").number == 10_001
    with pytest.raises(MessageError, match="number 10000 is not within 0 to 9999"):
        encode_error(StatusError(17, 10_000, "lapped"))


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"17\n", "is not a time, a number and a text"),
        (b"17 text\n", "number 'text' is not an integer"),
        (b"17 100000\n", "number 100000 is not within 0 to 99999"),
        (b"today 3\n", "time 'today' is not an integer"),
    ],
)
def test_bad_errors_are_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(MessageError, match=sentence):
        decode_error(payload)


@settings(derandomize=True, deadline=None)
@given(times, st.integers(0, 9999), st.text())
def test_errors_of_any_text_fit_and_are_read_again(time: int, number: int, text: str) -> None:
    message = encode_error(StatusError(time, number, text * 20))
    assert len(message) <= 511
    assert message[-1:] == b"\n"
    assert all(32 <= byte <= 126 for byte in message[:-1])
    found = decode_error(message)
    assert (found.time, found.number) == (time, number)
    assert encode_error(found) == message


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)


@settings(derandomize=True, deadline=None)
@given(printable.map(str.strip))
def test_plain_text_is_read_again_as_it_was(text: str) -> None:
    assert decode_error(encode_error(StatusError(17, 3, text))).text == text


@settings(derandomize=True, deadline=None)
@given(pids)
def test_stop_and_restart_have_a_pid_and_a_line_end(pid: int) -> None:
    assert encode_stop(Stop(pid)) == encode_restart(Restart(pid)) == f"{pid}\n".encode()
    assert decode_stop(encode_stop(Stop(pid))) == Stop(pid)
    assert decode_restart(encode_restart(Restart(pid))) == Restart(pid)


@pytest.mark.parametrize("pid", [0, -1, -999, 2**31])
def test_no_process_but_a_real_one_is_stopped(pid: int) -> None:
    for attempt in (
        lambda: encode_stop(Stop(pid)),
        lambda: decode_stop(b"%d\n" % pid),
        lambda: encode_restart(Restart(pid)),
        lambda: decode_restart(b"%d\n" % pid),
    ):
        with pytest.raises(MessageError, match=f"pid {pid} is not within 1 to 2147483647"):
            attempt()


def test_values_that_are_no_integers_are_not_written() -> None:
    with pytest.raises(MessageError, match=r"time '17\.5' is not an integer"):
        encode_heartbeat(Heartbeat(17.5, 1))  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="time -1 is not within"):
        encode_error(StatusError(-1, 0, ""))


def refusal(decode: Callable[[bytes], object], payload: bytes) -> str:
    try:
        decode(payload)
    except MessageError as error:
        return str(error)
    return ""


def check_total(payload: bytes) -> None:
    for decode in DECODERS:
        sentence = refusal(decode, payload)
        assert sentence.isascii()
        assert sentence.isprintable()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    check_total(payload)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.sampled_from([*b"0123456789 -+_.\n\0\t\xff"]), max_size=60).map(bytes))
def test_almost_messages_are_read_or_refused(payload: bytes) -> None:
    check_total(payload)
