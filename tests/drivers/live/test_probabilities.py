"""Probability traces of several instruments never mix in one channel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from core.packetise import fake_spec

from ml_prediction.core.traces import Fragment
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.probabilities import ProbabilityPoster
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import decode_tracebuf2
from ml_prediction.earthworm.ring import RingError
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS

LOGO = Logo(19, 117, 141)
SPEC = fake_spec(name="EQTransformer", weights="original")
GNW = Instrument("UW", "GNW", "", "HH")
TWIN = Instrument("UW", "GNW", "00", "HH")
STRONG = Instrument("UW", "GNW", "", "EN")


@dataclass
class Ring:
    """Keeps what is put, unless it is told to fail."""

    kept: list[bytes] = field(default_factory=list)
    failing: bool = False

    def put(self, logo: Logo, payload: bytes) -> None:
        assert logo == LOGO
        if self.failing:
            raise RingError("Ring PROB_RING was destroyed.")
        self.kept.append(payload)

    @property
    def channels(self) -> list[str]:
        return [str(decode_tracebuf2(payload).nslc) for payload in self.kept]


@dataclass
class Told:
    """Alarms, and what they have said."""

    texts: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alarms = Alarms(lambda _, payload: self.texts.append(payload), Logo(2, 117, 141))


def fragment(instrument: Instrument, size: int = 20) -> Fragment:
    values = np.full((3, size), 0.25, dtype=np.float32)
    start_ns = 1_700_000_000 * NANOSECONDS
    return Fragment(instrument, SPEC.id, SPEC.labels, 100.0, 0, start_ns, values)


def channels_of(*instruments: Instrument) -> list[NSLC]:
    return [NSLC(*each[:3], each.prefix + letter) for each in instruments for letter in "ENZ"]


def poster(ring: Ring, told: Told, *declared: Instrument) -> ProbabilityPoster:
    return ProbabilityPoster(ring.put, LOGO, SPEC, channels_of(*declared), told.alarms)


def test_traces_have_the_letters_of_model_and_weights_for_a_location() -> None:
    ring, told = Ring(), Told()
    poster(ring, told).post([fragment(TWIN), fragment(STRONG)])
    assert ring.channels == [
        "UW.GNW.EO.HHD",
        "UW.GNW.EO.HHP",
        "UW.GNW.EO.HHS",
        "UW.GNW.EO.END",
        "UW.GNW.EO.ENP",
        "UW.GNW.EO.ENS",
    ]
    buf = decode_tracebuf2(ring.kept[0])
    assert (buf.datatype, set(buf.samples.tolist())) == ("i4", {250_000})


def test_two_declared_instruments_with_one_code_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        poster(Ring(), Told(), GNW, STRONG, TWIN)
    text = str(caught.value)
    assert "UW.GNW.00.HH and UW.GNW..HH" in text
    assert "ProbabilityRing" in text
    poster(Ring(), Told(), GNW, STRONG)


def test_of_two_undeclared_ones_the_second_is_left_out_and_told() -> None:
    ring, told = Ring(), Told()
    post = poster(ring, told)
    post.post([fragment(GNW), fragment(TWIN), fragment(GNW), fragment(STRONG)])
    assert ring.channels == ["UW.GNW.EO.HHD", "UW.GNW.EO.HHP", "UW.GNW.EO.HHS"] * 2 + [
        "UW.GNW.EO.END",
        "UW.GNW.EO.ENP",
        "UW.GNW.EO.ENS",
    ]
    assert told.alarms.counts[Alarm.MALFORMED] == 1
    assert b"no probabilities of UW.GNW.00.HH: UW.GNW..HH has the same codes" in told.texts[0]


def test_a_declared_instrument_keeps_its_code() -> None:
    ring, told = Ring(), Told()
    post = poster(ring, told, GNW)
    post.post([fragment(TWIN)])
    assert ring.kept == []
    post.post([fragment(GNW)])
    assert len(ring.kept) == 3


def test_what_no_message_can_hold_costs_only_itself() -> None:
    ring, told = Ring(), Told()
    odd = Instrument("UW", "TOOLONGNAME", "", "HH")
    poster(ring, told).post([fragment(odd), fragment(GNW)])
    assert len(ring.kept) == 3
    assert told.alarms.counts[Alarm.MALFORMED] == 1


def test_a_ring_that_is_not_there_is_told_and_stops_nobody() -> None:
    ring, told = Ring(failing=True), Told()
    post = poster(ring, told)
    post.post([fragment(GNW), fragment(STRONG)])
    assert told.alarms.counts[Alarm.RING] == 1
    assert post.lost == 2
    ring.failing = False
    post.post([fragment(GNW)])
    assert len(ring.kept) == 3
    assert post.lost == 2
