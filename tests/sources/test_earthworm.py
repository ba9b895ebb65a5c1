"""Waveform messages of a ring as packets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    TraceBuf,
    decode_tracebuf,
    decode_tracebuf2,
    encode_tracebuf,
    encode_tracebuf2,
)
from ml_prediction.earthworm.reader import Message
from ml_prediction.earthworm.tables import Tables
from ml_prediction.sources import earthworm
from ml_prediction.sources.earthworm import WaveformDecoder, decoders
from ml_prediction.util.codes import NSLC

TRACEBUF2, TRACEBUF, PICK = 19, 20, 8
MESSAGES = {"TYPE_TRACEBUF2": TRACEBUF2, "TYPE_TRACEBUF": TRACEBUF, "TYPE_PICK_SCNL": PICK}
TABLES = Tables({}, {}, MESSAGES, {})
WHERE = NSLC("UW", "GNW", "", "HHZ")
START = 1_700_000_000.25


def message(payload: bytes, kind: int = TRACEBUF2) -> Message:
    return Message(Logo(kind, 5, 141), 0, payload)


def tracebuf(samples: npt.ArrayLike = range(100), **changes: Any) -> TraceBuf:
    values = np.asarray(samples, dtype=np.int32)
    rate = changes.get("sampling_rate", 100.0)
    items: dict[str, Any] = {
        "nslc": WHERE,
        "starttime": START,
        "endtime": START + (len(values) - 1) / rate,
        "sampling_rate": rate,
        "samples": values,
        "datatype": "i4",
    }
    return TraceBuf(**(items | changes))


def everything() -> WaveformDecoder:
    return WaveformDecoder(decoders(TABLES), lambda nslc: True)


def test_types_are_known_by_the_numbers_of_the_tables() -> None:
    assert decoders(TABLES) == {TRACEBUF2: decode_tracebuf2, TRACEBUF: decode_tracebuf}
    assert decoders(Tables({}, {}, {"TYPE_TRACEBUF2": 77}, {})) == {77: decode_tracebuf2}


def test_a_tracebuf2_becomes_a_packet() -> None:
    found = everything().decode([message(encode_tracebuf2(tracebuf()))])
    (packet,) = found.packets
    assert (packet.nslc, packet.sampling_rate) == (WHERE, 100.0)
    assert packet.start_ns == 1_700_000_000_250_000_000
    np.testing.assert_array_equal(packet.samples, np.arange(100))
    assert (found.malformed, found.unwanted) == ([], 0)


@pytest.mark.parametrize("datatype", ["i2", "i4", "s2", "s4", "f4", "f8", "t4", "t8"])
def test_every_type_of_sample_arrives_with_its_values(datatype: str) -> None:
    dtype = np.dtype(f"{'i' if datatype[0] in 'is' else 'f'}{datatype[1]}")
    values = np.arange(-50, 50).astype(dtype)
    buf = tracebuf(samples=values, datatype=datatype)
    buf = TraceBuf(WHERE, START, START + 0.99, 100.0, values, datatype)
    payload = encode_tracebuf2(buf, allow_float=True)
    (packet,) = everything().decode([message(payload)]).packets
    assert packet.samples.dtype == dtype
    np.testing.assert_array_equal(packet.samples, values)


def test_the_older_tracebuf_becomes_a_packet_without_a_location() -> None:
    payload = encode_tracebuf(tracebuf())
    (packet,) = everything().decode([message(payload, TRACEBUF)]).packets
    assert packet.nslc == WHERE


def test_the_order_is_that_of_the_messages_and_other_types_are_passed_over() -> None:
    parts = [tracebuf(starttime=START + n, endtime=START + n + 0.99) for n in range(5)]
    messages = [message(encode_tracebuf2(part)) for part in parts]
    messages.insert(2, message(b"8 5 141 0 GNW.HHZ.UW.-- ...", PICK))
    found = everything().decode(messages)
    assert [packet.start_ns for packet in found.packets] == [
        1_700_000_000_250_000_000 + n * 10**9 for n in range(5)
    ]
    assert (found.malformed, found.unwanted) == ([], 0)


def test_our_own_messages_are_counted_and_passed_over() -> None:
    decoder = WaveformDecoder(decoders(TABLES), lambda nslc: True, ours=(77, 141))
    payload = encode_tracebuf2(tracebuf())
    senders = ((77, 141), (77, 142), (5, 141))
    found = decoder.decode([Message(Logo(TRACEBUF2, *each), 0, payload) for each in senders])
    assert (len(found.packets), found.ours) == (2, 1)
    assert everything().decode([Message(Logo(TRACEBUF2, 77, 141), 0, payload)]).ours == 0


def test_unwanted_channels_are_counted_and_asked_about_once() -> None:
    asked: list[NSLC] = []

    def wanted(nslc: NSLC) -> bool:
        asked.append(nslc)
        return nslc.channel == "HHZ"

    decoder = WaveformDecoder(decoders(TABLES), wanted)
    other = tracebuf(nslc=WHERE._replace(channel="HHN"))
    messages = [message(encode_tracebuf2(buf)) for buf in (tracebuf(), other, other, tracebuf())]
    for _ in range(2):
        found = decoder.decode(messages)
        assert (len(found.packets), found.unwanted, found.malformed) == (2, 2, [])
        assert found.unwanted_channel == WHERE._replace(channel="HHN")
    assert asked == [WHERE, WHERE._replace(channel="HHN")]


def test_channels_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earthworm, "REMEMBERED", 10)
    asked: list[NSLC] = []

    def wanted(nslc: NSLC) -> bool:
        asked.append(nslc)
        return False

    decoder = WaveformDecoder(decoders(TABLES), wanted)
    buf = tracebuf()
    found = decoder.decode(
        message(encode_tracebuf2(tracebuf(nslc=NSLC("UW", f"S{n:04}", "", "HHZ"))))
        for n in range(100)
    )
    assert found.unwanted == 100
    decoder.decode([message(encode_tracebuf2(buf))])
    assert len(decoder._known) <= 10
    assert len(asked) == 101


def test_a_malformed_message_costs_only_itself() -> None:
    good = message(encode_tracebuf2(tracebuf()))
    found = everything().decode([good, message(good.payload[:70]), message(b""), good])
    assert (len(found.packets), len(found.malformed)) == (2, 2)
    assert "UW.GNW..HHZ" in found.malformed[0]


@pytest.mark.parametrize("rate", [1e-4, 2e6, 1e300, 5e-324])
def test_rates_that_cannot_be_right_are_malformed(rate: float) -> None:
    buf = tracebuf([1], sampling_rate=rate, endtime=START)
    found = everything().decode([message(encode_tracebuf2(buf))])
    assert (found.packets, found.unwanted) == ([], 0)
    assert len(found.malformed) == 1
    assert "UW.GNW..HHZ" in found.malformed[0]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    base=st.binary(max_size=200) | st.just(encode_tracebuf2(tracebuf())),
    changes=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=8),
    kind=st.sampled_from([TRACEBUF2, TRACEBUF, PICK]),
)
def test_any_bytes_are_a_packet_or_malformed_and_never_an_error(
    base: bytes, changes: list[tuple[int, int]], kind: int
) -> None:
    payload = bytearray(base)
    for place, value in changes:
        if place < len(payload):
            payload[place] = value
    found = everything().decode([message(bytes(payload), kind)])
    assert len(found.packets) + len(found.malformed) == (kind != PICK)
    for packet in found.packets:
        assert packet.end_ns >= packet.start_ns
        assert packet.nslc.station
