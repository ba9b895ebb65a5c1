"""The pipeline's settings: strict, frozen, and identified by a hash."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from ml_prediction.config import PipelineConfig
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.frozen import FrozenMap


def test_the_defaults_are_those_of_the_design() -> None:
    config = PipelineConfig()
    assert config.stride is None
    assert config.horizon == math.inf
    assert config.lateness == 10.0
    assert config.one_component == "zero"
    assert config.resampling == "linear"
    assert config.response == "keep"


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 100, "horizon": 2.0},
        {"thresholds": {"P": 0.3, "S": 1.0}},
        {"lateness": 0.0},
        {"lateness": 3600.0},
        {"blinding": (0, 500)},
        {"blinding": [0, 500]},
        {"quality": (0.1, 0.1, 0.2, 0.3)},
        {"stacking": "mean", "one_component": "clone", "resampling": "minimum"},
    ],
    ids=str,
)
def test_allowed_values(options: dict[str, Any]) -> None:
    config = PipelineConfig.make(**options)
    assert config == PipelineConfig.make(**config.model_dump())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("stride", 0),
        ("stride", -5),
        ("stride", 1.5),
        ("horizon", 0.0),
        ("horizon", -1.0),
        ("horizon", math.nan),
        ("lateness", -0.1),
        ("lateness", 3601.0),
        ("lateness", math.inf),
        ("lateness", math.nan),
        ("thresholds", {"P": 0.0}),
        ("thresholds", {"P": 1.1}),
        ("thresholds", {"P": math.nan}),
        ("thresholds", 0.3),
        ("stacking", "median"),
        ("blinding", (500,)),
        ("blinding", (-1, 500)),
        ("one_component", "copy"),
        ("resampling", "zero"),
        ("response", "maybe"),
        ("quality", (0.5, 0.15, 0.05, 0.02)),
        ("quality", (0.1, 0.2, 0.3)),
        ("quality", (0.0, 0.1, 0.2, 0.3)),
        ("quality", (0.1, 0.2, 0.3, math.nan)),
        ("batch_size", 0),
    ],
    ids=str,
)
def test_a_wrong_value_is_one_sentence_that_names_option_and_value(
    option: str, value: object
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PipelineConfig.make(**{option: value})
    assert f"'{option}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown option 'strid'; known are: .*stride"):
        PipelineConfig.make(strid=100)


def test_every_complaint_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PipelineConfig.make(stride=0, lateness=-1.0, nonsense=1)
    for name in ("stride", "lateness", "nonsense"):
        assert f"'{name}'" in str(caught.value)


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError):
        PipelineConfig().stride = 5  # type: ignore[misc]


CHANGES: list[dict[str, Any]] = [
    {"stride": 100},
    {"horizon": 60.0},
    {"thresholds": {"P": 0.3}},
    {"stacking": "max"},
    {"blinding": (0, 0)},
    {"lateness": 5.0},
    {"one_component": "skip"},
    {"resampling": "minimum"},
    {"response": "remove"},
    {"quality": (0.02, 0.05, 0.15, 0.6)},
]


def test_each_setting_changes_the_hash() -> None:
    hashes = [PipelineConfig.make(**change).hash for change in [{}, *CHANGES]]
    assert len(set(hashes)) == len(hashes)
    assert all(len(h) == 12 and set(h) <= set("0123456789abcdef") for h in hashes)


def test_the_hash_is_of_the_settings_not_of_how_they_were_given() -> None:
    one = PipelineConfig.make(blinding=[0, 0], stride=100, lateness=10)
    assert one.hash == PipelineConfig.make(stride=100, blinding=(0, 0)).hash


def test_equal_configurations_have_equal_hashes() -> None:
    there = PipelineConfig.make(thresholds={"P": 0.3, "S": 0.2})
    back = PipelineConfig.make(thresholds={"S": 0.2, "P": 0.3})
    assert there == back
    assert there.hash == back.hash


def test_thresholds_are_frozen_too() -> None:
    given = {"P": 0.3}
    config = PipelineConfig.make(thresholds=given)
    given["P"] = 0.5
    assert isinstance(config.thresholds, FrozenMap)
    assert isinstance(PipelineConfig().thresholds, FrozenMap)
    assert dict(config.thresholds) == {"P": 0.3}
    with pytest.raises(TypeError):
        config.thresholds["P"] = 0.5  # type: ignore[index]
    assert hash(config) == hash(PipelineConfig.make(thresholds={"P": 0.3}))
    assert len({config, PipelineConfig(), PipelineConfig()}) == 2
    dumped = config.model_dump()["thresholds"]
    assert type(dumped) is dict
    assert PipelineConfig.make(thresholds=config.thresholds) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"blinding": "500"}, """Option 'blinding' = '500': a list is wanted, like ["500"]."""),
        ({"quality": 0.1}, """Option 'quality' = 0.1: a list is wanted, like ["..."]."""),
        (
            {"thresholds": 0.3},
            "Option 'thresholds' = 0.3: a table is wanted, with a name for each value.",
        ),
        (
            {"quality": (4, 3, 2, 1)},
            "Option 'quality' = (4, 3, 2, 1): the four limits must ascend.",
        ),
    ],
    ids=str,
)
def test_complaints_are_in_the_users_words(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PipelineConfig.make(**options)
    assert str(caught.value) == sentence
