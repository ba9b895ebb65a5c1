"""Notebooks: valid, kept without outputs, and executed, in a kernel that ends with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import workbench

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
TOOL = ROOT / "tools" / "notebooks.py"
NOTEBOOKS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.ipynb"))


def environment(tmp_path: Path) -> dict[str, str]:
    """No network, no settings of whoever runs this, and everything small."""
    folders = {
        name: str(tmp_path / name)
        for name in (
            *("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
        )
    }
    return os.environ | folders | {workbench.SIZE: "small", workbench.DATA: "offline"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_valid_and_has_no_outputs(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    nbformat.validate(nbformat.reads(text, as_version=4))
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_to_its_end_and_draws(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "run", str(FOLDER / name), "--out", str(tmp_path)]
    done = subprocess.run(
        command, env=environment(tmp_path), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(tmp_path / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert code[-1].outputs, "the last cell says what the defaults are"
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "Warning" in text]


@pytest.mark.parametrize(
    ("what", "name", "words"),
    [
        ("run", "notebooks/nope.ipynb", "Can't read"),
        ("strip", "notebooks/nope.ipynb", "Can't read"),
        ("strip", "README.md", "is no notebook"),
        ("strip", "notebooks", "Can't read"),
    ],
)
def test_what_is_no_notebook_is_one_sentence(what: str, name: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), what, str(ROOT / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_notebook_of_another_folder_is_one_sentence(tmp_path: Path) -> None:
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "mine.ipynb")
    done = subprocess.run(
        [sys.executable, str(TOOL), "run", str(tmp_path / "mine.ipynb")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "only the repository's notebooks are run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("last", ["pass", "raise ValueError('as planned')"], ids=["good", "bad"])
def test_a_kernel_ends_with_its_notebook_and_outputs_are_kept(last: str, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(text) for text in ("import os; print(os.getpid())", last)
    ]
    nbformat.write(notebook, tmp_path / "in.ipynb")
    code = (
        "import contextlib, os, nbformat, notebooks\n"
        "from pathlib import Path\n"
        "with contextlib.suppress(notebooks.CellExecutionError):\n"
        "    notebooks.execute(Path('in.ipynb').resolve(), Path('out.ipynb'))\n"
        "pid = int(nbformat.read('out.ipynb', as_version=4).cells[0].outputs[0].text)\n"
        "try:\n"
        "    os.kill(pid, 0)\n"
        "except ProcessLookupError:\n"
        "    print('ended')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONPATH": str(TOOL.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["ended"], done.stderr
    (cell,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[1:]
    assert bool(cell.outputs) == (last != "pass")
