"""Figures are right, and every form of the results is there."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmark.samples import PICK, cell, entry
from rich.console import Console

from ml_prediction.benchmark.check import check
from ml_prediction.benchmark.machine import describe_machine, describe_software, slug
from ml_prediction.benchmark.report import show, to_markdown, write
from ml_prediction.benchmark.results import SCHEMA, cell_figures

ENTRY_KEYS = {
    "contender",
    "title",
    "batch_size",
    "status",
    "note",
    "rounds",
    "counted_rounds",
    "disturbed_rounds",
    "picks",
    "compared",
    "median_s",
    "fastest_s",
    "slowest_s",
    "windows_per_s",
    "times_real_time",
    "core_seconds_per_station_day",
    "share_of_floor",
    "peak_mib",
    "stages",
    "ratio_to_seisbench_best",
    "ratio_to_seisbench_annotate",
}


def figures() -> dict[str, Any]:
    board = cell(
        entry("ours", 1.0, 3.0, 2.0),
        entry("seisbench-annotate", 8.0),
        entry("seisbench-classify", 6.0),
        entry("slipstream", 0.5, found=[PICK._replace(phase="S")]),
        entry("loop"),
    )
    board.entries[4].status, board.entries[4].note = "left out", "a round would take about 400 s"
    check(board)
    return cell_figures(board, threads=2, gflops=100.0, mflop=250.0)


@pytest.fixture
def results() -> dict[str, Any]:
    model = {
        "model": "EQTransformer",
        "weights": "original",
        "window": 6000,
        "mflop_per_window": 250.0,
        "sgemm_gflops": 100.0,
        "floor_windows_per_s": 400.0,
        "seisbench_sweep": {"16": 4.0, "32": 3.5},
        "seisbench_best_batch": 32,
        "forward_windows_per_s": {"ours": 300.0},
        "versions": {},
        "skipped": ["real-hour: the recorded data are not here"],
        "cells": [figures()],
    }
    return {
        "schema": SCHEMA,
        "started": "2026-08-11T10:00:00Z",
        "seconds": 700.0,
        "settings": {"minutes": 12.0, "threads": 2, "quick": False},
        "machine": {
            "processor": "A (R) Processor @ 2 GHz",
            "cores": 2,
            "memory_gib": 8.0,
            "system": "Linux x86_64",
        },
        "versions": {"torch": "2.13.0"},
        "models": [model],
    }


def test_figures_of_a_cell() -> None:
    found = figures()
    assert (found["stations"], found["windows"], found["station_seconds"]) == (1, 19, 600.0)
    assert found["title"] == "1 station x 10 min"
    by_key = {item["contender"]: item for item in found["contenders"]}
    assert all(set(item) == ENTRY_KEYS for item in found["contenders"])
    ours = by_key["ours"]
    assert (ours["median_s"], ours["fastest_s"], ours["slowest_s"]) == (2.0, 1.0, 3.0)
    assert ours["windows_per_s"] == pytest.approx(9.5)
    assert ours["times_real_time"] == pytest.approx(300)
    assert ours["core_seconds_per_station_day"] == pytest.approx(2 * 2 * 144)
    assert ours["share_of_floor"] == pytest.approx(9.5 * 0.25 / 100)
    assert ours["peak_mib"] == 103.0
    assert ours["stages"] == {"rest": 1.0, "reading": 0.5}
    assert ours["ratio_to_seisbench_best"] == pytest.approx(3.0)  # classify is SeisBench's best
    assert ours["ratio_to_seisbench_annotate"] == pytest.approx(4.0)
    assert by_key["seisbench-classify"]["ratio_to_seisbench_best"] == 1.0


def test_rounds_during_which_others_were_busy_count_only_where_there_are_no_others() -> None:
    mixed, disturbed = entry("ours", 1.0, 9.0, 2.0), entry("seisbench-classify", 8.0, 6.0)
    for item in (mixed, disturbed):
        item.rounds[1] = replace(item.rounds[1], others=0.6)
    disturbed.rounds[0] = replace(disturbed.rounds[0], others=0.7)
    board = cell(mixed, disturbed)
    check(board)
    ours, classify = cell_figures(board, threads=2, gflops=None, mflop=None)["contenders"]
    assert (ours["median_s"], ours["slowest_s"], ours["counted_rounds"]) == (1.5, 2.0, 2)
    assert (classify["median_s"], classify["counted_rounds"]) == (7.0, 2)
    assert len(ours["rounds"]) == 3


def test_wrong_picks_have_no_ratio_and_are_not_seisbench_best() -> None:
    by_key = {item["contender"]: item for item in figures()["contenders"]}
    assert by_key["slipstream"]["status"] == "differs"
    assert by_key["slipstream"]["median_s"] == 0.5
    assert by_key["slipstream"]["ratio_to_seisbench_best"] is None
    board = cell(entry("seisbench-annotate", 4.0), entry("seisbench-classify", 1.0, found=[]))
    check(board)
    found = cell_figures(board, threads=2, gflops=None, mflop=None)
    assert found["contenders"][0]["ratio_to_seisbench_best"] == 1.0
    assert found["contenders"][0]["share_of_floor"] is None


def test_whoever_did_not_run_has_no_figures() -> None:
    (loop,) = [item for item in figures()["contenders"] if item["contender"] == "loop"]
    assert loop["median_s"] is None
    assert loop["rounds"] == []
    assert loop["status"] == "left out"


def test_all_forms_are_written(tmp_path: Path, results: dict[str, Any]) -> None:
    paths = write(results, tmp_path)
    assert [path.name for path in paths] == [
        "2026-08-11-a-r-processor-2-ghz.json",
        "latest.md",
        "latest.png",
    ]
    assert json.loads(paths[0].read_text(encoding="utf-8")) == results
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_the_page_says_who_was_how_fast_and_who_was_not_believed(results: dict[str, Any]) -> None:
    text = to_markdown(results, "raw.json")
    assert "| ml_prediction | 32 | 2.00 (1.00 to 3.00, 3) |" in text
    assert "| 3.00 |" in text
    assert "DIFFER: times invalid" in text
    assert "loop over windows: left out, a round would take about 400 s" in text
    assert "Left out: real-hour: the recorded data are not here." in text
    assert "ml_prediction, seconds by stage: rest 1.00, reading 0.50" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in rows}) == 1
    assert "quick" not in text
    results["settings"]["quick"] = True
    assert "says nothing about speed" in to_markdown(results, "raw.json")


def test_disturbed_rounds_are_told(results: dict[str, Any]) -> None:
    contender = results["models"][0]["cells"][0]["contenders"][0]
    contender["disturbed_rounds"] = 2
    text = to_markdown(results, "raw.json")
    assert "| ml_prediction | 32 | 2.00 (1.00 to 3.00, 3)* |" in text
    assert "*: other processes were busy during 2 of 6 rounds;" in text


def test_the_table_is_shown(results: dict[str, Any]) -> None:
    stream = io.StringIO()
    show(results, Console(file=stream, width=200))
    assert "SeisBench annotate" in stream.getvalue()


def test_nothing_measured_is_still_a_picture(tmp_path: Path, results: dict[str, Any]) -> None:
    results["models"] = []
    assert write(results, tmp_path)[2].stat().st_size > 0


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert platform.node() not in json.dumps(machine)
    assert {"python", "torch", "seisbench", "ml_prediction"} <= describe_software().keys()
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz") == "intel-r-xeon-r-cpu-2-20ghz"
