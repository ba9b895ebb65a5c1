"""What `ml-prediction fetch` says when its files in the folder are damaged, or lead elsewhere."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from fdsn_servers import Center
from kill_and_resume import checksums

from ml_prediction.cli import run


@pytest.fixture
def arguments(center: Center, scenario_file: str, tmp_path: Path) -> list[str]:
    """Of a run that has been made."""
    made = ["fetch", scenario_file, "--out", str(tmp_path / "out"), "--client", center.url]
    assert run(made) == 0
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What it has written."""
    return tmp_path / "out" / "Synthetic"


@pytest.mark.parametrize("name", ["../../victim.txt", "link/victim.txt", "{absolute}"])
def test_a_manifest_that_leads_out_of_the_folder_deletes_nothing(
    arguments: list[str],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path)
    table = json.loads((folder / "manifest.json").read_text("utf-8"))
    table["parts"][0]["files"][0]["path"] = name.format(absolute=victim)
    (folder / "manifest.json").write_text(json.dumps(table), encoding="utf-8")
    assert run(arguments) == 1
    assert victim.read_text("utf-8") == "precious"
    assert "leads out of the folder" in capsys.readouterr().err


NAMES = ["manifest.json", ".fetch/scenario.json", ".fetch/night/plan.json"]
NO_OBJECT = ["", "{", "[]", "\xff"]
CASES = [
    *product([*NAMES, ".fetch/night/absent.json"], NO_OBJECT),
    *product(NAMES[::2], ['{"parts":[{}]}', '{"parts": 3, "channels": 3, "gaps": ""}']),
]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_damaged_files_are_named_and_without_them_the_run_goes_on(
    arguments: list[str],
    folder: Path,
    center: Center,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
) -> None:
    before = checksums(folder)
    (folder / name).write_text(text, encoding="latin-1")
    assert run(arguments) == 1
    said = capsys.readouterr().err
    assert f"{folder / name}: damaged" in said
    assert "Remove" in said
    (folder / name).unlink()
    asked = len(center.requests("dataselect"))
    assert run(arguments) == 0
    assert len(center.requests("dataselect")) == asked  # what was got is kept
    assert checksums(folder) == before
