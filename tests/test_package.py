"""The package as a whole: it imports, exports what it says, and its README tells the truth."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ml_prediction

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "ml_prediction"
MODULES = sorted(
    info.name for info in pkgutil.walk_packages(ml_prediction.__path__, "ml_prediction.")
)
README_BLOCKS = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def test_every_source_file_is_a_module() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py"]
    names = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in files}
    assert names <= set(MODULES)  # a package without __init__.py would be left out


def test_all_names_are_there() -> None:
    assert len(set(ml_prediction.__all__)) == len(ml_prediction.__all__)
    for name in ml_prediction.__all__:
        assert getattr(ml_prediction, name) is not None
    assert set(dir(ml_prediction)) == set(ml_prediction.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ml_prediction.nonsense  # type: ignore[attr-defined,unused-ignore]


def test_import_costs_next_to_nothing() -> None:
    code = (
        "import sys, ml_prediction; sys.exit(bool({'torch', 'obspy', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ml_prediction.__version__
    assert f"version: {ml_prediction.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_nobody_prints_or_stops(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "breakpoint", "exec", "eval"}


CLOCKS = {"time.time", "time.sleep", "datetime.now", "datetime.utcnow", "UTCDateTime.now"}


@pytest.mark.parametrize("path", sorted((SOURCE / "core").rglob("*.py")), ids=lambda p: p.stem)
def test_core_opens_nothing_and_reads_no_clock(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {"os", "pathlib", "socket", "subprocess", "tempfile"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {ast.unparse(call.func) for call in calls} & {"open", *CLOCKS}
    assert "UTCDateTime()" not in {ast.unparse(call) for call in calls}


OUTER = {
    "util": {"models", "core", "sources", "sinks", "drivers", "data", "cli"},
    "models": {"core", "sources", "sinks", "drivers", "data", "cli"},
    "core": {"sources", "sinks", "drivers", "data", "cli"},
    "sources": {"sinks", "drivers", "data", "cli"},
    "sinks": {"sources", "drivers", "data", "cli"},
    "data": {"explore", "cli"},
    "explore": {"drivers", "cli"},
    "drivers": {"data", "cli"},
}


def test_of_data_only_its_driver_imports_drivers() -> None:
    theirs = re.compile(r"^(from|import) ml_prediction\.drivers", re.MULTILINE)
    paths = (SOURCE / "data").rglob("*.py")
    found = {path.name for path in paths if theirs.search(path.read_text(encoding="utf-8"))}
    assert found == {"fetch_testdata.py"}


@pytest.mark.parametrize("layer", sorted(OUTER))
def test_imports_point_inwards(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            else:
                continue
            layers = {m.split(".")[1] for m in modules if m.startswith("ml_prediction.")}
            assert not layers & OUTER[layer], path


def test_readme_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert README_BLOCKS
    namespace: dict[str, object] = {}
    for block in README_BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)


def test_documents_link_to_files_that_exist() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
