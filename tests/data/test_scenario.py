from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_prediction.cli import run
from ml_prediction.data.scenario import load, names, read
from ml_prediction.errors import ConfigurationError

PLAN = ("Analogue_EQs", "Bremerton_6C", "Full_Array", "Gappy_Data")


def test_the_plans_scenarios_are_there() -> None:
    assert set(PLAN) == set(names())


@pytest.mark.parametrize("name", PLAN)
def test_a_scenario_is_read_and_called_as_its_file(name: str) -> None:
    scenario = load(name.lower())
    assert scenario.name == name
    assert scenario.why
    assert scenario.licence
    for part in scenario.parts:
        assert part.expect.stations
        assert part.expect.channels
        assert part.expect.events >= len(part.event_ids)


def test_list_shows_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "--list"]) == 0
    said = capsys.readouterr().out
    for name in PLAN:
        assert f"{name}: " in said
        assert all(f"    {part.name}: " in said for part in load(name).parts)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("licence =", "license =", "Unknown option 'license'; known are: licence, name"),
        ("radius_km = 200", "radius = 200", "known are: latitude, longitude, min_radius_km"),
        ("codes = [", "stationz = [", "known are: channel_days, channels, codes, events, stations"),
        ("start = 2024-05-01T23:51:00.25Z", "start = 2025-05-01", "end must be later than start"),
        ("latitude = 47.6", "latitude = 97.6", "latitude"),
        ('name = "night"', 'name = "../night"', "parts.0.name"),
        ("region =", "[parts.x]\nregion =", "Unknown option 'parts.0.x'"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(
    scenario_file: str, old: str, new: str, words: str
) -> None:
    path = Path(scenario_file)
    path.write_text(path.read_text("utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"synthetic\.toml") as caught:
        read(path)
    assert words in str(caught.value)


def test_all_the_world_is_refused(scenario_file: str) -> None:
    path = Path(scenario_file)
    lines = [x for x in path.read_text("utf-8").splitlines() if not x.startswith("region")]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="all the world"):
        read(path)


def test_a_time_without_zone_is_utc(scenario_file: str) -> None:
    path = Path(scenario_file)
    text = path.read_text("utf-8").replace("2024-05-02T00:09:00Z", "2024-05-02T00:09:00")
    path.write_text(text, encoding="utf-8")
    assert read(path).parts[0].end == datetime(2024, 5, 2, 0, 9, tzinfo=UTC)


@pytest.mark.parametrize("arguments", [["fetch"], ["fetch", "Nonsense"], ["fetch", "no.toml"]])
def test_wrong_use_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("ml-prediction: ")


def test_the_hash_is_of_what_is_fetched_and_not_of_words(scenario_file: str) -> None:
    path = Path(scenario_file)
    first = read(path).hash
    text = path.read_text("utf-8").replace("A test.", "Another.").replace("stations = 3", "")
    path.write_text("# a remark\n" + text.replace("{ , ", "{ "), encoding="utf-8")
    assert read(path).hash == first
    path.write_text(path.read_text("utf-8").replace("00:09:00", "00:08:00"), encoding="utf-8")
    assert read(path).hash != first
