"""Notebooks: valid, and kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_valid_and_has_no_outputs(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    nbformat.validate(nbformat.reads(text, as_version=4))
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
