"""Packets cut at multiples of a width, against sample by sample."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.packets import Packet
from ml_prediction.sources.pieces import Pieces
from ml_prediction.util.codes import NSLC

WHO = NSLC("UW", "GNW", "", "HHZ")
START_NS = 1_600_000_000 * 10**9


def pieces_of(packet: Packet, width_ns: int, *, copies: bool = False) -> list[Packet]:
    pieces, found = Pieces(packet, width_ns, copies=copies), []
    while pieces.left:
        start_ns = pieces.start_ns
        found.append(pieces.take())
        assert found[-1].start_ns == start_ns
    return found


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.integers(1, 3000),
    st.sampled_from([0.001, 0.3, 1.0, 20.0, 99.9997, 100.0, 125.0, 1000 / 3, 1000.0, 4e8]),
    st.integers(-(10**10), 10**10),
    st.sampled_from([1, 7, 10**6, 10**7, 123_456_789, 5 * 10**8, 5 * 10**9, 10**11]),
)
def test_no_piece_reaches_over_a_limit(
    count: int, rate: float, offset_ns: int, width_ns: int
) -> None:
    packet = Packet(WHO, START_NS + offset_ns, rate, np.arange(count))
    expected = [
        list(samples)
        for _, samples in groupby(range(count), lambda n: packet.sample_ns(n) // width_ns)
    ]
    found = pieces_of(packet, width_ns)
    assert [piece.samples.tolist() for piece in found] == expected
    assert [piece.start_ns for piece in found] == [packet.sample_ns(part[0]) for part in expected]
    assert {(piece.nslc, piece.sampling_rate) for piece in found} == {(WHO, rate)}


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_packet_of_an_absurd_rate_is_one_piece(rate: float) -> None:
    packet = Packet(WHO, START_NS, rate, np.arange(10))
    assert pieces_of(packet, 10**9) == [packet]


def test_copies_keep_nothing_else_in_memory() -> None:
    packet = Packet(WHO, START_NS, 100.0, np.arange(1000))
    assert all(piece.samples.base is None for piece in pieces_of(packet, 10**9, copies=True))
    assert all(piece.samples.base is packet.samples for piece in pieces_of(packet, 10**9))
