"""Make .venv with the pinned versions, or do nothing when it is up to date.

Run by ``make setup`` with the interpreter that the environment is to have; standard library only.
The variables VENV and EXTRAS name another environment and other extras (``make test-comcat``).
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / os.environ.get("VENV", ".venv")
EXTRAS = os.environ.get("EXTRAS", "dev")
STAMP = VENV / "ready.txt"


def main() -> int:
    """Check, build, stamp. Returns the exit status."""
    if sys.version_info < OLDEST:
        return complain(
            f"{sys.executable} is Python {sys.version.split()[0]}, but 3.11 or newer is needed. "
            "Install one, or name it: make setup PYTHON=python3.12"
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return complain(
            f"{sys.executable} comes without venv or ensurepip. On Debian and Ubuntu: "
            "sudo apt install python3-venv. Or name another Python: make setup PYTHON=python3.12"
        )
    os.chdir(ROOT)
    interpreter = digest(sys.version.encode(), sys.base_prefix.encode(), str(ROOT).encode())
    wanted = digest(
        EXTRAS.encode(),
        *(Path(name).read_bytes() for name in ("pyproject.toml", "constraints.txt")),
    )
    there = STAMP.read_text().split() if STAMP.is_file() else []
    if there == [interpreter, wanted]:
        return 0
    if there[:1] != [interpreter]:
        shutil.rmtree(VENV, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)
        if subprocess.call([base, "-m", "venv", str(VENV)]):
            return complain(f"{base} -m venv failed; see its message above.")
    STAMP.unlink(missing_ok=True)
    # The build backends first and pinned too: build isolation would fetch the newest. setuptools is
    # for portable-fdsnws-dataselect, a source package that venv's own is too old for.
    for what in (
        ["hatchling", "editables", "setuptools"],
        ["--no-build-isolation", "-e", f".[{EXTRAS}]"],
    ):
        python = str(VENV / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
        if subprocess.call([*pip, "-c", "constraints.txt", *what]):
            return complain("pip could not install the pinned packages; see its message above.")
    STAMP.write_text(f"{interpreter}\n{wanted}\n")
    return 0


def digest(*parts: bytes) -> str:
    """SHA-256 of several byte strings, hexadecimal."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def complain(message: str) -> int:
    """Message on stderr, exit status 1."""
    print(f"Set-up: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
