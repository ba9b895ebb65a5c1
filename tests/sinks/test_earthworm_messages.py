"""Picks and probability traces as messages for a ring."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from factories import make_pick
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.traces import Fragment
from ml_prediction.earthworm.config import PickFormat
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    MessageError,
    PickScnl,
    decode_pick2k,
    decode_pick_scnl,
    decode_tracebuf2,
    start_ns,
)
from ml_prediction.sinks.earthworm import (
    PROBABILITY_SCALE,
    PickStyle,
    pick_messages,
    probability_channel,
    probability_location,
    probability_messages,
)
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_utc

SCNL = Logo(8, 117, 141)
TWO_K = Logo(9, 117, 141)
STYLE = PickStyle({"PICK_SCNL": SCNL})
THREE = ("EHZ", "EHN", "EHE")


def scnl(style: PickStyle = STYLE, channels: tuple[str, ...] = THREE, **changes: Any) -> PickScnl:
    ((logo, payload),) = pick_messages(make_pick(**changes), 7, style, channels)
    assert logo == SCNL
    return decode_pick_scnl(payload)


# -- picks ------------------------------------------------------------------------------------


def test_a_pick_is_the_line_that_earthworm_knows() -> None:
    ((logo, payload),) = pick_messages(make_pick(), 7, STYLE, THREE)
    assert logo == SCNL
    assert payload == b"8 117 141 7 RJOB.EHZ.BW.-- U1 20090824002007.720 1234 0 0\n"


def test_the_phase_is_appended_only_where_it_is_asked_for() -> None:
    style = PickStyle({"PICK_SCNL": SCNL}, phase_token=True)
    for phase in ("P", "S"):
        ((_, plain),) = pick_messages(make_pick(phase=phase), 7, STYLE, THREE)
        ((_, more),) = pick_messages(make_pick(phase=phase), 7, style, THREE)
        assert more == plain[:-1] + f" {phase}\n".encode()


def test_a_pick_in_both_formats_says_the_same_under_one_number() -> None:
    style = PickStyle({"PICK_SCNL": SCNL, "PICK2K": TWO_K})
    messages = pick_messages(make_pick(), 12_345, style, THREE)
    assert [logo for logo, _ in messages] == [SCNL, TWO_K]
    one, two = decode_pick_scnl(messages[0][1]), decode_pick2k(messages[1][1])
    assert len(messages[1][1]) == 72
    assert (one.sequence, two.sequence) == (12_345, 2_345)
    assert (one.type, two.type) == (8, 9)
    assert (two.module, two.installation) == (117, 141)
    for name in ("first_motion", "weight", "amplitudes", "time_ns"):
        assert getattr(one, name) == getattr(two, name)
    assert two.nslc == one.nslc == NSLC("BW", "RJOB", "", "EHZ")


ONE_TWO = ("EH1", "EH2", "EHZ")
ONE_TWO_THREE = ("EH1", "EH2", "EH3")


@pytest.mark.parametrize(
    ("component", "put_on", "channels", "expected"),
    [
        ("N", "EHN", THREE, "EHN"),
        ("E", "EHN", THREE, "EHE"),
        ("Z", "EHN", THREE, "EHZ"),
        ("N", "EH1", ONE_TWO, "EH1"),
        ("E", "EH1", ONE_TWO, "EH2"),
        ("Z", "EH1", ONE_TWO, "EHZ"),
        ("N", "EH1", ONE_TWO_THREE, "EH1"),  # 3 is the vertical
        ("E", "EH1", ONE_TWO_THREE, "EH2"),
        ("Z", "EH1", ONE_TWO_THREE, "EH3"),
        ("N", "EH2", ONE_TWO_THREE, "EH2"),  # 1 is the vertical
        ("E", "EH2", ONE_TWO_THREE, "EH3"),
        ("Z", "EH2", ONE_TWO_THREE, "EH1"),
        ("N", "EHZ", ("EHZ",), "EHZ"),  # nothing of the kind: where the pick is
        ("E", "EHZ", ("EHZ",), "EHZ"),
        ("E", "EHN", ("EHZ", "EHN"), "EHN"),
        ("N", "EHE", ("EHZ", "EHE"), "EHE"),
        ("Z", "EHE", ("EHZ", "EHE"), "EHZ"),
        ("Z", "EHN", (), "EHN"),
        ("E", "EHN", ("HHE", "EHN"), "EHN"),  # another instrument's
    ],
)
def test_s_goes_out_on_the_component_that_the_style_says(
    component: str, put_on: str, channels: tuple[str, ...], expected: str
) -> None:
    style = PickStyle({"PICK_SCNL": SCNL}, s_component=component)
    assert scnl(style, channels, phase="S", channel=put_on).nslc.channel == expected


@pytest.mark.parametrize("component", ["N", "E", "Z"])
def test_p_stays_where_it_is(component: str) -> None:
    style = PickStyle({"PICK_SCNL": SCNL}, s_component=component)
    assert scnl(style, THREE, phase="P").nslc.channel == "EHZ"


@pytest.mark.parametrize(
    ("phase", "polarity", "motion"),
    [
        ("P", "up", "U"),
        ("P", "down", "D"),
        ("P", "unknown", "?"),
        ("S", "up", "?"),
        ("S", "down", "?"),
        ("S", "unknown", "?"),
    ],
)
def test_first_motions_are_of_p_only(phase: str, polarity: str, motion: str) -> None:
    assert scnl(phase=phase, polarity=polarity).first_motion == motion


@pytest.mark.parametrize("quality", range(5))
def test_the_quality_is_the_weight(quality: int) -> None:
    assert scnl(quality=quality).weight == quality


@pytest.mark.parametrize(
    ("amplitude", "counts"),
    [
        (math.nan, 0),
        (0.0, 0),
        (1234.5, 1234),
        (1235.5, 1236),
        (-20.0, 20),
        (0.3, 0),
        (1e15, 2**31 - 1),
    ],
)
def test_amplitudes_are_whole_counts_and_0_where_not_known(amplitude: float, counts: int) -> None:
    assert scnl(amplitude=amplitude).amplitudes == (counts, 0, 0)


def test_the_time_is_that_of_the_pick_not_of_its_peak() -> None:
    time = to_utc(1_251_073_207_720_499_999)
    pick = scnl(time=time, peak_time=time + 0.05)
    assert pick.time_ns == 1_251_073_207_720_000_000


@pytest.mark.parametrize(
    ("changes", "formats"),
    [
        ({"station": "TOOLONG"}, ("PICK_SCNL",)),
        ({"station": ""}, ("PICK_SCNL",)),
        ({"station": "SIXSIX"}, ("PICK2K",)),
        ({"network": "ABC"}, ("PICK2K",)),
    ],
)
def test_a_code_that_does_not_fit_is_a_message_error(
    changes: dict[str, str], formats: tuple[PickFormat, ...]
) -> None:
    logos: dict[PickFormat, Logo] = dict.fromkeys(formats, SCNL)
    with pytest.raises(MessageError):
        pick_messages(make_pick(**changes), 7, PickStyle(logos), THREE)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    number=st.integers(0, 2_147_483_640),
    time_ns=st.integers(0, 4_000_000_000 * NANOSECONDS),
    amplitude=st.floats(-1e15, 1e15) | st.just(math.nan),
    location=st.sampled_from(["", "00", "10"]),
    phase=st.sampled_from(["P", "S"]),
    quality=st.integers(0, 4),
    token=st.booleans(),
)
def test_whatever_is_picked_can_be_read_back(
    number: int,
    time_ns: int,
    amplitude: float,
    location: str,
    phase: str,
    quality: int,
    token: bool,
) -> None:
    style = PickStyle({"PICK_SCNL": SCNL, "PICK2K": TWO_K}, phase_token=token)
    pick = make_pick(
        time=to_utc(time_ns), amplitude=amplitude, location=location, phase=phase, quality=quality
    )
    (_, one), (_, two) = pick_messages(pick, number, style, THREE)
    first, second = decode_pick_scnl(one), decode_pick2k(two)
    assert first.sequence == number
    assert second.sequence == number % 10_000
    assert abs(first.time_ns - time_ns) <= 500_000
    assert abs(second.time_ns - time_ns) <= 5_000_000
    assert first.phase == (phase if token else None)
    assert first.nslc.location == location
    assert first.weight == second.weight == quality


# -- probabilities ----------------------------------------------------------------------------

WHO = Instrument("UW", "GNW", "00", "HH")
BEGIN_NS = 1_700_000_000 * NANOSECONDS + 3_200_000


def fragment(values: npt.ArrayLike, labels: tuple[str, ...], rate: float = 100.0) -> Fragment:
    rows = np.asarray(values, dtype=np.float32)
    return Fragment(WHO, "EQTransformer:original", labels, rate, 0, BEGIN_NS, rows)


def test_the_location_code_is_the_letters_of_model_and_weights() -> None:
    assert probability_location("EQTransformer", "original") == "EO"
    assert probability_location("PhaseNet", "stead") == "PS"
    assert probability_location("", "") == "--"


def test_the_channel_code_has_the_letter_of_the_label() -> None:
    codes = {
        label: probability_channel(WHO, label, "EO") for label in ("P", "S", "Detection", "Noise")
    }
    assert {label: nslc.channel for label, nslc in codes.items()} == {
        "P": "HHP",
        "S": "HHS",
        "Detection": "HHD",
        "Noise": "HHX",
    }
    assert {nslc[:3] for nslc in codes.values()} == {("UW", "GNW", "EO")}


def test_probabilities_are_scaled_whole_numbers_that_stock_readers_take() -> None:
    values = [[0.0, 0.25, 0.5, 1.0], [1e-7, 1e-6, 0.1234567, 0.9999999]]
    messages = list(probability_messages(fragment(values, ("P", "S")), "EO"))
    bufs = [decode_tracebuf2(payload) for payload in messages]
    assert [str(buf.nslc) for buf in bufs] == ["UW.GNW.EO.HHP", "UW.GNW.EO.HHS"]
    assert {buf.datatype for buf in bufs} == {"i4"}
    assert {start_ns(buf) for buf in bufs} == {BEGIN_NS}
    assert bufs[0].samples.tolist() == [0, 250_000, 500_000, 1_000_000]
    assert bufs[1].samples.tolist() == [0, 1, 123_457, 1_000_000]


def test_noise_and_other_labels_stay_at_home() -> None:
    labels = ("Noise", "P", "N", "polarity", "Detection", "S")
    messages = probability_messages(fragment(np.ones((6, 3)), labels), "PO")
    channels = [decode_tracebuf2(payload).nslc.channel for payload in messages]
    assert channels == ["HHP", "HHD", "HHS"]


def test_where_there_is_no_probability_the_message_is_split() -> None:
    row = np.linspace(0, 1, 20)
    row[[0, 7, 8, 19]] = np.nan
    bufs = [
        decode_tracebuf2(payload) for payload in probability_messages(fragment([row], ("P",)), "EO")
    ]
    assert [len(buf.samples) for buf in bufs] == [6, 10]
    assert [start_ns(buf) - BEGIN_NS for buf in bufs] == [10_000_000, 90_000_000]
    nothing = fragment([np.full(20, np.nan)], ("P",))
    assert list(probability_messages(nothing, "EO")) == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 3500),
    rate=st.sampled_from([50.0, 100.0, 200.0]),
    holes=st.lists(st.integers(0, 3499), max_size=4),
    seed=st.integers(0, 99),
)
def test_messages_together_are_the_probabilities(
    size: int, rate: float, holes: list[int], seed: int
) -> None:
    row = np.random.default_rng(seed).random(size).astype(np.float32)
    row[[hole for hole in holes if hole < size]] = np.nan
    found = np.full(size, np.nan)
    for payload in probability_messages(fragment([row], ("S",), rate), "EO"):
        buf = decode_tracebuf2(payload)
        assert len(payload) <= 4096
        first = round((start_ns(buf) - BEGIN_NS) * rate / NANOSECONDS)
        assert np.isnan(found[first : first + len(buf.samples)]).all()
        found[first : first + len(buf.samples)] = buf.samples.astype(np.float64)
    np.testing.assert_allclose(found / PROBABILITY_SCALE, row, atol=5.1e-7, equal_nan=True)


def test_codes_that_do_not_fit_are_a_message_error() -> None:
    wide = Fragment(
        Instrument("UW", "TOOLONGNAME", "", "HH"), "m", ("P",), 100.0, 0, BEGIN_NS,
        np.ones((1, 3), dtype=np.float32),
    )  # fmt: skip
    with pytest.raises(MessageError):
        list(probability_messages(wide, "EO"))
