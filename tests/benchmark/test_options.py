"""What a user may ask for, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_prediction.benchmark.contenders.registry import ENTRANTS, select_entrants
from ml_prediction.benchmark.options import MINUTES, BenchOptions, find_shared
from ml_prediction.benchmark.weights import phasenet_weights
from ml_prediction.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of shared data that has PhaseNet's weights."""
    models = tmp_path / "shared" / "models" / "phasenet"
    models.mkdir(parents=True)
    for name in ("original.pt.v1", "original.json.v1"):
        (models / name).write_text("{}")
    return tmp_path / "shared"


def test_nothing_said_is_everything(folder: Path) -> None:
    options = BenchOptions.make("out", shared=folder)
    assert [plan.name for plan in options.models] == ["EQTransformer", "PhaseNet"]
    assert options.weights == folder / "models" / "phasenet" / "original"
    assert options.minutes == MINUTES
    assert [item.key for item in options.entrants] == [
        item.key for item in ENTRANTS if item.by_default
    ]


def test_without_weights_there_is_no_phasenet(tmp_path: Path) -> None:
    options = BenchOptions.make("out", shared=tmp_path)
    assert [plan.name for plan in options.models] == ["EQTransformer"]
    with pytest.raises(ConfigurationError, match="give --weights PATH"):
        BenchOptions.make("out", shared=tmp_path, models=["PhaseNet"])


def test_weights_may_be_given(folder: Path, tmp_path: Path) -> None:
    path = folder / "models" / "phasenet" / "original"
    assert phasenet_weights(path, None) == path
    with pytest.raises(ConfigurationError, match="no weights at"):
        BenchOptions.make("out", shared=folder, weights=tmp_path / "nothing")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"minutes": 0}, "--minutes 0 is impossible"),
        ({"minutes": float("nan")}, "--minutes nan is impossible"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"contenders": ["cat"]}, "Unknown contender cat; known are: ours,"),
        ({"workloads": ["cat"]}, "Unknown workload cat"),
        ({"shared": "/no/such/folder"}, "no such folder"),
    ],
)
def test_nonsense_is_refused(folder: Path, wrong: dict[str, object], complaint: str) -> None:
    arguments: dict[str, Any] = {"shared": folder, **wrong}
    with pytest.raises(ConfigurationError, match=complaint):
        BenchOptions.make("out", **arguments)


def test_contenders_keep_their_order() -> None:
    assert [item.key for item in select_entrants(["loop", "ours-torch"])] == ["ours-torch", "loop"]


def test_the_shared_folder_need_not_be_there(tmp_path: Path) -> None:
    assert find_shared(tmp_path) == tmp_path
    beside = find_shared(None)
    assert beside is None or (beside / "data").is_dir()
