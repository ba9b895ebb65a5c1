"""The whole benchmark, in small: everyone finds the same picks, and the results are there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ml_prediction.benchmark.bench import run_bench
from ml_prediction.benchmark.options import BenchOptions
from ml_prediction.errors import ConfigurationError


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.mark.slow
@pytest.mark.timeout(900)  # contenders that wait for each other's threads are slow on busy machines
def test_everyone_finds_the_same_picks(tmp_path: Path) -> None:
    options = BenchOptions.make(
        tmp_path / "results",
        models=["EQTransformer"],
        workloads=["small", "snapshot"],
        quick=True,
        shared=tmp_path,
        threads=1,
    )
    assert run_bench(options, out=console(), err=console()) == 0
    (path,) = (tmp_path / "results").glob("*.json")
    results = json.loads(path.read_text(encoding="utf-8"))
    assert {item.name for item in (tmp_path / "results").iterdir()} == {
        path.name,
        "latest.md",
        "latest.png",
    }
    (model,) = results["models"]
    assert model["mflop_per_window"] == pytest.approx(257.5, abs=1)
    assert model["sgemm_gflops"] > 0
    assert model["forward_windows_per_s"]["ours"] > 0
    assert [cell["workload"] for cell in model["cells"]] == ["small", "snapshot"]
    for cell in model["cells"]:
        for entry in cell["contenders"]:
            if entry["contender"] == "slipstream" and entry["status"] == "missing":
                assert "pip install" in entry["note"]
                continue
            assert entry["status"] == "valid", entry["note"]
            assert entry["compared"]["reference"] >= 3
            assert entry["compared"]["missing"] == entry["compared"]["extra"] == 0
            assert entry["median_s"] > 0


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.write_text("mine")
    options = BenchOptions.make(target, models=["EQTransformer"], quick=True, shared=tmp_path)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        run_bench(options, out=console(), err=console())
