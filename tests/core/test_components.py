"""Which channel becomes which component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.components import Orientation, assign
from ml_prediction.util.codes import NSLC


def orient(
    codes: Iterable[str], dips: Mapping[str, float] | None = None, components: str = "ENZ"
) -> Orientation:
    channels = [(code, NSLC("", "", "", code).component) for code in codes]
    return assign(channels, components, dips or {})


def best(found: Orientation) -> dict[str, str]:
    """First choice for each component."""
    return {component: codes[0] for component, codes in found.slots.items()}


@pytest.mark.parametrize(
    ("codes", "slots"),
    [
        (["HHZ", "HHN", "HHE"], {"Z": "HHZ", "N": "HHN", "E": "HHE"}),
        (["HHZ", "HH1", "HH2"], {"Z": "HHZ", "N": "HH1", "E": "HH2"}),
        (["hhz", "hhn", "hhe"], {"Z": "hhz", "N": "hhn", "E": "hhe"}),
        (["UD", "NS", "EW"], {"Z": "UD", "N": "NS", "E": "EW"}),
        (["EHZ"], {"Z": "EHZ"}),
        (["HH1", "HH2"], {"N": "HH1", "E": "HH2"}),
        (["HHN", "HHE"], {"N": "HHN", "E": "HHE"}),
        (["HHZ", "HHN", "HH2"], {"Z": "HHZ", "N": "HHN", "E": "HH2"}),
        ([], {}),
    ],
)
def test_usual_sets(codes: list[str], slots: dict[str, str]) -> None:
    found = orient(codes)
    assert best(found) == slots
    assert found.unused == ()
    assert not found.assumed


def test_of_1_2_3_without_metadata_1_is_the_vertical() -> None:
    found = orient(["BH1", "BH2", "BH3"])
    assert best(found) == {"Z": "BH1", "N": "BH2", "E": "BH3"}
    assert found.assumed


@pytest.mark.parametrize("dip", [90.0, -90.0, 60.1, -75.0])
@pytest.mark.parametrize(
    ("vertical", "slots"),
    [
        ("BH1", {"Z": "BH1", "N": "BH2", "E": "BH3"}),
        ("BH2", {"Z": "BH2", "N": "BH1", "E": "BH3"}),
        ("BH3", {"Z": "BH3", "N": "BH1", "E": "BH2"}),
    ],
)
def test_of_1_2_3_the_one_that_dips_is_the_vertical(
    vertical: str, slots: dict[str, str], dip: float
) -> None:
    dips = dict.fromkeys(["BH1", "BH2", "BH3"], 0.0) | {vertical: dip}
    found = orient(["BH1", "BH2", "BH3"], dips)
    assert best(found) == slots
    assert not found.assumed


def test_sixty_degrees_are_not_steep() -> None:
    assert orient(["BH1", "BH2", "BH3"], {"BH3": 60.0}).assumed


def test_one_dip_is_enough_metadata() -> None:
    found = orient(["BH1", "BH2", "BH3"], {"BH3": -90.0})
    assert best(found)["Z"] == "BH3"
    assert not found.assumed


def test_a_lone_third_component_stands_for_itself() -> None:
    assert "BH3" in best(orient(["BH3"])).values()


def test_a_renamed_sensor_is_the_second_choice() -> None:
    found = orient(["HHZ", "HHN", "HHE", "HH1", "HH2"])
    assert found.slots == {"Z": ("HHZ",), "N": ("HHN", "HH1"), "E": ("HHE", "HH2")}
    assert found.unused == ()


def test_upper_case_goes_before_lower_case_of_one_code() -> None:
    assert orient(["HHZ", "HHz", "HHN", "HHE"]).slots["Z"] == ("HHZ", "HHz")


def test_north_and_east_stand_in_for_1_and_2() -> None:
    found = orient(["HHZ", "HHN", "HHE"], components="Z12")
    assert best(found) == {"Z": "HHZ", "1": "HHN", "2": "HHE"}


def test_a_model_of_one_component_uses_one() -> None:
    found = orient(["HHZ", "HHN", "HHE"], components="Z")
    assert best(found) == {"Z": "HHZ"}
    assert found.unused == ("HHE", "HHN")


def test_the_slots_are_in_the_models_order() -> None:
    assert "".join(orient(["HHZ", "HHN", "HHE"], components="ENZ").slots) == "ENZ"
    assert "".join(orient(["HHZ", "HHN", "HHE"], components="ZNE").slots) == "ZNE"


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["HHZ", "HHN", "HHE", "HH1", "HH2", "HH3"]), unique=True))
def test_every_channel_is_used_once_or_told_in_any_order(codes: list[str]) -> None:
    found = orient(codes)
    taken = [code for codes in found.slots.values() for code in codes]
    assert sorted([*taken, *found.unused]) == sorted(codes)
    assert len(set(taken)) == len(taken)
    assert orient(sorted(codes)) == found
