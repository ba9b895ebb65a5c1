"""What is shipped is complete: built and unpacked, it picks without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_has_every_file_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "ml_prediction"
    wanted = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= names
    assert {name.rsplit("/", 1)[1] for name in names if "licenses/" in name} == {
        "LICENSE",
        "NOTICE",
    }


def test_the_wheel_picks_without_the_repository(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import obspy, ml_prediction as mlp; "
        f"assert mlp.__file__.startswith({str(tmp_path)!r}), mlp.__file__; "
        "picks = mlp.pick(obspy.read(), mlp.load_model(device='cpu')).picks; "
        "assert [p.phase for p in picks] == ['P', 'S'], picks"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_source_distribution_can_be_tested(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {
        *("Makefile", "pyproject.toml", "constraints.txt", "README.md", "CONTRIBUTING.md"),
        *("CHANGELOG.md", "NOTICE", "LICENSE", ".ci/run", "tests/conftest.py"),
        *("tools/setup_env.py", "docs/architecture.md"),
    } <= names
