"""Compiled loops work, whatever has become of the cache on disk."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ml_prediction.util import jit

CODE = """
import logging
logging.basicConfig(format="%(message)s")
from ml_prediction.util.jit import compiled

@compiled("int64(int64)")
def double(number):
    return 2 * number

@compiled("int64(int64)")
def triple(number):
    return 3 * number

print(double(3), triple(3))
"""


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(CODE)
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=folder
    )


def test_what_was_compiled_is_kept_and_a_damaged_cache_costs_one_warning(tmp_path: Path) -> None:
    assert run(tmp_path).stdout == "6 9\n"
    kept = sorted(tmp_path.rglob("*.nbi"))
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(path.read_bytes()[:-20])
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "6 9\n")
    assert done.stderr.count("Compiled code can't be kept or read") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


@pytest.mark.parametrize("error", [RuntimeError("no locator"), OSError(28, "No space left")])
def test_without_room_for_a_cache_functions_are_compiled_all_the_same(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = jit._njit

    def full(function: object, signatures: tuple[str, ...], *, cache: bool) -> object:
        if cache:
            raise error
        return plain(function, signatures, cache=False)  # type: ignore[arg-type]

    monkeypatch.setattr(jit, "_njit", full)
    monkeypatch.setattr(jit, "_told", [])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert jit.compiled("int64(int64)")(_increased)(1) == 2
    assert len(caplog.records) == 1


def _increased(number: int) -> int:
    return number + 1
