"""Channel codes, and the instrument and component that they mean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.util.codes import NSLC, Instrument

code = st.text("ABCXYZ0123", max_size=5)
blanks = st.text(" ", max_size=3)


def nslc(channel: str) -> NSLC:
    return NSLC("UW", "GNW", "", channel)


@pytest.mark.parametrize(
    ("channel", "prefix", "component"),
    [
        ("HHZ", "HH", "Z"),
        ("EN1", "EN", "1"),
        ("hhz", "hh", "Z"),
        ("Hhe", "Hh", "E"),
        ("Z", "", "Z"),
        ("", "", ""),
        ("UD", "", "Z"),
        ("NS", "", "N"),
        ("EW", "", "E"),
        ("ew", "", "E"),
        ("UD2", "UD", "2"),
    ],
)
def test_prefix_and_component(channel: str, prefix: str, component: str) -> None:
    assert nslc(channel).instrument == Instrument("UW", "GNW", "", prefix)
    assert nslc(channel).component == component


def test_japanese_components_are_one_instrument() -> None:
    assert len({nslc(channel).instrument for channel in ("UD", "NS", "EW")}) == 1


def test_six_components_are_two_instruments() -> None:
    channels = ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")
    assert {str(nslc(channel).instrument) for channel in channels} == {
        "UW.GNW..HH",
        "UW.GNW..EN",
    }


@settings(derandomize=True, deadline=None)
@given(code, code, code, code, blanks)
def test_clean_takes_blanks_off_and_nothing_else(
    network: str, station: str, location: str, channel: str, blank: str
) -> None:
    padded = NSLC.clean(network + blank, blank + station, location + blank, blank + channel)
    assert padded == NSLC(network, station, location, channel)


@pytest.mark.parametrize("location", ["--", "  ", "", " --"])
def test_every_form_of_the_empty_location(location: str) -> None:
    assert NSLC.clean("UW", "GNW", location, "HHZ") == nslc("HHZ")


def test_as_text() -> None:
    assert str(NSLC("UW", "GNW", "00", "HHZ")) == "UW.GNW.00.HHZ"
    assert str(NSLC("UW", "GNW", "", "HHZ").instrument) == "UW.GNW..HH"
