"""Execute the notebooks, and keep them without outputs.

python tools/notebooks.py run [NOTEBOOK ...] [--out notebooks-output]
    executes them (all of them, if none is named), each in its own folder and with this
    interpreter, and writes copies with their outputs; status 1 if a cell fails,
    2 if one is no notebook of ours
python tools/notebooks.py strip [NOTEBOOK ...]
    takes outputs, counts and leftovers of editors away: what is committed

"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.reader import NotJSONError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
SECONDS = 170.0
"""Longest time of one cell."""

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def all_notebooks() -> list[Path]:
    """Every notebook of the repository."""
    return sorted(p for p in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def execute(path: Path, out: Path) -> None:
    """Execute a notebook and write it with its outputs, those of a failure included.

    The kernel has ended when this returns.

    Raises
    ------
    CellExecutionError, CellTimeoutError, DeadKernelError
        If it does not run to its end.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory(prefix="nb-") as scratch:
        # Sockets in a folder of their own: free ports found by two runs at once may be the same.
        manager = AsyncKernelManager(
            kernel_name="python3",
            transport="ipc" if os.name == "posix" else "tcp",
            connection_file=str(Path(scratch) / "k.json"),
        )
        manager.kernel_spec.argv = [
            *(sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")
        ]
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS,
            resources={"metadata": {"path": str(path.parent)}},
        )
        environment = os.environ | {
            "IPYTHONDIR": scratch,  # nobody's start-up files
            "PYTHONPATH": str(ROOT / "src"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        try:
            client.execute(env=environment, cleanup_kc=True)  # by default only of its own making
        finally:
            out.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, out)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Copy without outputs, execution counts, and metadata that depend on who ran it."""
    clean = nbformat.from_dict(notebook)
    clean.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}},
    )
    for cell in clean.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return clean


def text_of(notebook: nbformat.NotebookNode) -> str:
    """As it stands in the file."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def run(paths: Sequence[Path], folder: Path) -> int:
    """Execute notebooks; 1 if one fails."""
    status = 0
    for path in paths:
        name = path.resolve().relative_to(FOLDER)
        begin = time.monotonic()
        try:
            execute(path.resolve(), folder / name)
            print(f"{name}: {time.monotonic() - begin:.0f} s, {folder / name}")
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"{name}: {str(error)[-2000:]}", file=sys.stderr)  # what was wrong comes last
            status = 1
    return status


def complaint(path: Path, *, inside: bool) -> str | None:
    """Why a file can't be taken as a notebook; None if it can."""
    try:
        nbformat.read(path, as_version=4)
    except OSError as error:
        return f"Can't read {path}: {error.strerror}."
    except (NotJSONError, nbformat.ValidationError, ValueError, KeyError) as error:
        return f"{path} is no notebook ({' '.join(str(error).split())[:100]})."
    if inside and not path.resolve().is_relative_to(FOLDER):
        return f"{path} is not in {FOLDER}: only the repository's notebooks are run."
    return None


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "strip"])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "notebooks-output")
    arguments = parser.parse_args()
    paths = arguments.notebooks or all_notebooks()
    wrong = [complaint(path, inside=arguments.what == "run") for path in paths]
    for said in filter(None, wrong):
        print(said, file=sys.stderr)
        return 2
    if arguments.what == "run":
        return run(paths, arguments.out)
    for path in paths:
        path.write_text(text_of(stripped(nbformat.read(path, as_version=4))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
