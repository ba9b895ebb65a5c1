"""What a module's configuration file may say, and how it is told what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from ml_prediction.earthworm.config import (
    KEYWORDS,
    ChannelPattern,
    LiveConfig,
    field_of,
    read_config,
)
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.tables import Tables
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.frozen import FrozenMap

TABLES = Tables(
    FrozenMap({"WAVE_RING": 1000, "PICK_RING": 1005, "PROB_RING": 1007, "FLAG_RING": 9999}),
    FrozenMap({"MOD_WILDCARD": 0, "MOD_ML": 150, "MOD_SENDER": 3}),
    FrozenMap({"TYPE_WILDCARD": 0, "TYPE_TRACEBUF2": 19, "TYPE_TRACEBUF": 20, "TYPE_STOP": 113}),
    FrozenMap({"INST_WILDCARD": 0, "INST_UNKNOWN": 255}),
)
NEEDED: Final = {"MyModuleId": "MOD_ML", "InRing": "WAVE_RING", "OutRing": "PICK_RING"}
Read: TypeAlias = Callable[..., LiveConfig]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a configuration with the lines that are needed, and more."""

    def read(*lines: str, environment: dict[str, str] | None = None, **needed: str) -> LiveConfig:
        path = tmp_path / "ml_picker.d"
        text = [f"{keyword} {value}" for keyword, value in {**NEEDED, **needed}.items() if value]
        path.write_text("\n".join([*text, *lines]) + "\n", encoding="latin-1")
        return read_config(path, tmp_path, TABLES, environment or {})

    return read


def value_of(config: LiveConfig, keyword: str) -> Any:
    return getattr(config, "my_module_name" if keyword == "MyModuleId" else field_of(keyword))


GOOD: Final[list[tuple[str, str, object]]] = [
    ("MyModuleId", "MOD_SENDER", "MOD_SENDER"),
    ("InRing", "PROB_RING", RingName("PROB_RING", 1007)),
    ("OutRing", "WAVE_RING", RingName("WAVE_RING", 1000)),
    ("HeartBeatInt", "15", 15),
    ("LogFile", "2", 2),
    ("Debug", "1", True),
    ("GetLogo", "INST_UNKNOWN MOD_SENDER TYPE_TRACEBUF", (Logo(20, 3, 255),)),
    ("Model", "PhaseNet", ("PhaseNet",)),
    ("Model", "PhaseNet:stead", ("PhaseNet:stead",)),
    ("Weights", "stead", "stead"),
    ("Combine", "semblance", "semblance"),
    ("Shares", "2 1.5", (2.0, 1.5)),
    ("Calibration", "/data/calibration.json", Path("/data/calibration.json")),
    ("Engine", "torch", "torch"),
    ("Threads", "2", 2),
    ("Stride", "300", 300),
    ("Horizon", "2.5", 2.5),
    ("Horizon", "inf", math.inf),
    ("Threshold", "P 0.3", {"P": 0.3}),
    ("Stacking", "max", "max"),
    ("Blinding", "500 0", (500, 0)),
    ("OneComponent", "skip", "skip"),
    ("Site", "mean", "mean"),
    ("Channels", "HHZ", (ChannelPattern("*", "HHZ", "*", "*"),)),
    (
        "Channels",
        "EH?,BHZ",
        (ChannelPattern("*", "EH?", "*", "*"), ChannelPattern("*", "BHZ", "*", "*")),
    ),
    ("Channels", "ABC HH? XX --", (ChannelPattern("ABC", "HH?", "XX", "--"),)),
    ("StationFile", "/data/stations.xml", Path("/data/stations.xml")),
    ("QualityTable", "0.1 0.2 0.2 0.9", (0.1, 0.2, 0.2, 0.9)),
    ("AllowedLateness", "0", 0.0),
    ("SilenceTimeout", "60", 60.0),
    ("PickPhases", "P", "P"),
    ("PickPhases", "P S", "PS"),
    ("SComponent", "E", "E"),
    ("PickFormat", "PICK2K", ("PICK2K",)),
    ("PickFormat", "PICK2K PICK_SCNL PICK2K", ("PICK2K", "PICK_SCNL")),
    ("PhaseToken", "1", True),
    ("ProbabilityRing", "PROB_RING", RingName("PROB_RING", 1007)),
    ("Archive", "/data/archive", Path("/data/archive")),
    ("LateArchive", "/data/late", Path("/data/late")),
    ("MetricsPort", "9105", 9105),
    ("StatusFile", "/run/status.json", Path("/run/status.json")),
    ("StateDir", "/var/state", Path("/var/state")),
    ("SnapshotInt", "30", 30.0),
    ("QueueWindows", "100", 100),
    ("StandAlone", "1", True),
]

BAD: Final[list[tuple[str, str]]] = [
    ("InRing", "FLAG_RING"),
    ("OutRing", "FLAG_RING"),
    ("ProbabilityRing", "FLAG_RING"),
    ("Channels", ","),
    ("Channels", '" , "'),
    ("MyModuleId", "MOD_NONE"),
    ("MyModuleId", "MOD_WILDCARD"),
    ("InRing", "NO_RING"),
    ("OutRing", "1005"),
    ("HeartBeatInt", "0"),
    ("HeartBeatInt", "1.5"),
    ("LogFile", "3"),
    ("Debug", "yes"),
    ("GetLogo", "INST_UNKNOWN MOD_SENDER TYPE_STOP"),
    ("GetLogo", "INST_NONE MOD_SENDER TYPE_TRACEBUF2"),
    ("GetLogo", "MOD_SENDER TYPE_TRACEBUF2"),
    ("Combine", "median"),
    ("Site", "semblance"),
    ("Shares", "1 -2"),
    ("Engine", "abacus"),
    ("Threads", "0"),
    ("Stride", "-1"),
    ("Horizon", "0"),
    ("Horizon", "nan"),
    ("Threshold", "P 1.1"),
    ("Threshold", "P 0"),
    ("Threshold", "P"),
    ("Stacking", "sum"),
    ("Blinding", "500"),
    ("Blinding", "-1 5"),
    ("OneComponent", "CLONE"),
    ("Channels", "ABC HHZ"),
    ("QualityTable", "0.1 0.2 0.3"),
    ("QualityTable", "0.1 0.3 0.2 0.4"),
    ("QualityTable", "0 0.1 0.2 0.4"),
    ("AllowedLateness", "-1"),
    ("AllowedLateness", "ten"),
    ("SilenceTimeout", "0"),
    ("PickPhases", "Pn"),
    ("PickPhases", "P P"),
    ("SComponent", "1"),
    ("PickFormat", "PICK3K"),
    ("PickFormat", "PICK2K QUAKE"),
    ("PhaseToken", "2"),
    ("ProbabilityRing", "NO_RING"),
    ("MetricsPort", "0"),
    ("MetricsPort", "65536"),
    ("SnapshotInt", "0.5"),
    ("QueueWindows", "0"),
    ("StandAlone", "true"),
]


@pytest.mark.parametrize(("keyword", "value", "expected"), GOOD)
@pytest.mark.parametrize("comment", ["", "  # as we like it"])
def test_good_values_are_taken(
    read: Read, keyword: str, value: str, expected: object, comment: str
) -> None:
    text = value + comment
    needed = {keyword: text} if keyword in NEEDED else {}
    config = read(*([] if needed else [f"{keyword} {text}"]), **needed)
    assert value_of(config, keyword) == expected


@pytest.mark.parametrize(("keyword", "value"), BAD)
def test_bad_values_are_refused_with_file_line_and_keyword(
    read: Read, keyword: str, value: str
) -> None:
    needed = {keyword: value} if keyword in NEEDED else {}
    line = [*NEEDED].index(keyword) + 1 if needed else 4
    with pytest.raises(ConfigurationError, match=rf"ml_picker\.d, line {line}: ") as caught:
        read(*([] if needed else [f"{keyword} {value}"]), **needed)
    named = {keyword, *value.split()}  # of a name, the name is what people look for
    assert any(word in str(caught.value) for word in named)


def test_every_keyword_was_tried() -> None:
    assert {keyword for keyword, *_ in GOOD} == set(KEYWORDS)
    anything = {"Model", "Weights", "Calibration", "StationFile", "StateDir"}
    anything |= {"Archive", "LateArchive", "StatusFile"}
    assert {keyword for keyword, _ in BAD} == set(KEYWORDS) - anything


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_a_keyword_without_value_is_refused(read: Read, keyword: str) -> None:
    for nothing in ("", "  # nothing"):
        lines = [f"{name} {value}" for name, value in NEEDED.items() if name != keyword]
        without = dict.fromkeys(NEEDED, "")
        with pytest.raises(
            ConfigurationError,
            match=rf"line {len(lines) + 1}: {keyword} has 0 values, and needs more",
        ):
            read(*lines, keyword + nothing, **without)


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_wrong_capitals_are_told_the_right_ones(read: Read, keyword: str) -> None:
    for wrong in {keyword.lower(), keyword.upper()}:
        complaint = rf"line 4: the keyword '{wrong}' is unknown; write it {keyword}"
        with pytest.raises(ConfigurationError, match=complaint):
            read(f"{wrong} 1")


def test_unknown_keywords_are_told_all_that_are_known(read: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"line 4: .*'Bogus' is unknown") as caught:
        read("Bogus 1")
    assert all(keyword in str(caught.value) for keyword in KEYWORDS)


@pytest.mark.parametrize("keyword", NEEDED)
def test_what_is_needed_and_missing_is_named(read: Read, keyword: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"ml_picker\.d: {keyword} is missing"):
        read(**{keyword: ""})


@pytest.mark.parametrize(("keyword", "value"), [(k, v) for k, v, _ in GOOD])
def test_only_lists_may_be_given_twice(read: Read, keyword: str, value: str) -> None:
    line = f"{keyword} {value}"
    lines = [line] if keyword in NEEDED else [line, line]
    if keyword in ("GetLogo", "Channels"):
        assert len(value_of(read(*lines), keyword)) >= 2
        return
    if keyword == "Model":
        assert len(value_of(read(*lines, "Combine mean"), keyword)) == 2
        return
    with pytest.raises(ConfigurationError, match=rf"line \d: {keyword}.* twice"):
        read(*lines)


def test_several_models_must_pick_together(read: Read) -> None:
    with pytest.raises(ConfigurationError, match="line 5: a second Model needs Combine"):
        read("Model EQTransformer", "Model PhaseNet")


def test_weights_of_a_model_are_found_beside_the_configuration(read: Read, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    found = read("Model PhaseNet:mine.pt", "Model EQTransformer:stead", "Combine max").model
    assert found == (f"PhaseNet:{tmp_path / 'mine.pt'}", "EQTransformer:stead")


def test_a_repeated_keyword_says_where_it_was_first(read: Read) -> None:
    with pytest.raises(
        ConfigurationError, match=r"line 5: HeartbeatInt is given twice, first in .*line 4"
    ):
        read("HeartBeatInt 10", "HeartbeatInt 10")


@pytest.mark.parametrize(
    ("other", "keyword", "value"),
    [("HeartbeatInt", "HeartBeatInt", "7"), ("HeartBeatInterval", "HeartBeatInt", "7")],
)
def test_other_modules_names_of_keywords_are_understood(
    read: Read, other: str, keyword: str, value: str
) -> None:
    assert value_of(read(f"{other} {value}"), keyword) == 7


def test_my_mod_id_is_my_module_id(read: Read) -> None:
    config = read(MyModuleId="", MyModId="MOD_ML")
    assert (config.my_module_id, config.my_module_name) == (150, "MOD_ML")


def test_what_is_not_said_has_its_default(read: Read) -> None:
    config = read()
    given = {"path", "my_module_id", "my_module_name", "in_ring", "out_ring", "get_logo"}
    for each in fields(LiveConfig):
        if each.name in given:
            continue
        factory = each.default_factory
        default = factory() if callable(factory) else each.default
        assert getattr(config, each.name) == default, each.name
    assert config.get_logo == (Logo(19, 0, 0),)  # TRACEBUF2 of anybody
    assert config.name == "ml_picker"
    assert (config.in_ring, config.out_ring) == (
        RingName("WAVE_RING", 1000),
        RingName("PICK_RING", 1005),
    )


def test_every_attribute_has_its_keyword(read: Read) -> None:
    ours = {field_of(keyword) for keyword in KEYWORDS}
    names = {each.name for each in fields(LiveConfig)}
    assert names - ours == {"path", "my_module_name", "metrics_address"}
    assert ours <= names


def test_thresholds_add_up_but_not_for_the_same_phase(read: Read) -> None:
    assert read("Threshold P 0.3", "Threshold S 0.2").threshold == {"P": 0.3, "S": 0.2}
    with pytest.raises(ConfigurationError, match=r"line 5: Threshold P is given twice"):
        read("Threshold P 0.3", "Threshold P 0.2")


def test_paths_are_those_of_the_configuration(read: Read, tmp_path: Path) -> None:
    assert read("Archive here/archive").archive == tmp_path / "here" / "archive"
    assert read('StationFile "with blank.xml"').station_file == tmp_path / "with blank.xml"


def test_weights_are_a_name_or_a_path(read: Read, tmp_path: Path) -> None:
    assert read("Weights my_weights").weights == "my_weights"
    (tmp_path / "my_weights").mkdir()
    assert read("Weights my_weights").weights == str(tmp_path / "my_weights")


def test_metrics_may_be_served_at_another_address(read: Read) -> None:
    config = read("MetricsPort 9105 0.0.0.0")
    assert (config.metrics_port, config.metrics_address) == (9105, "0.0.0.0")
    assert read("MetricsPort 9105").metrics_address == "127.0.0.1"
    assert read("MetricsPort 9105 # for us").metrics_address == "127.0.0.1"


def test_variables_and_includes_work(read: Read, tmp_path: Path) -> None:
    (tmp_path / "more.d").write_text("\nStride 7\nHeartBeatInt ${BEAT}\n")
    assert read("@more.d", environment={"BEAT": "44"}).heart_beat_int == 44
    with pytest.raises(ConfigurationError, match=r"more\.d, line 3: HeartBeatInt '\$\{BEAT\}'"):
        read("@more.d")


def test_a_file_is_looked_for_among_the_configuration(read: Read, tmp_path: Path) -> None:
    read()
    assert read_config(Path("ml_picker.d"), tmp_path, TABLES, {}).name == "ml_picker"


def test_configurations_can_be_compared_and_shown(read: Read) -> None:
    assert read("Stride 7") == read("Stride 7")
    assert read("Stride 7") != read("Stride 8")
    assert re.search(r"stride=7\b", repr(read("Stride 7")))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (("*", "HH?", "*", "*"), ["XX.ABC..HHZ", "XX.ABC.00.HHN"], ["XX.ABC..EHZ", "XX.ABC..HZ"]),
        (("ABC", "*", "XX", "--"), ["XX.ABC..HHZ"], ["XX.ABC.00.HHZ", "XX.abc..HHZ"]),
        (("*", "*", "*", "0?"), ["XX.ABC.00.HHZ"], ["XX.ABC..HHZ", "XX.ABC.10.HHZ"]),
    ],
)
def test_patterns_of_channels(
    pattern: tuple[str, str, str, str], matching: list[str], others: list[str]
) -> None:
    for codes in matching + others:
        network, station, location, channel = codes.split(".")
        nslc = NSLC(network, station, location, channel)
        assert ChannelPattern(*pattern).matches(nslc) == (codes in matching)
