"""`ml-prediction fetch` as a process that is killed at a chosen request, and what it leaves."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fdsn_servers import Center

SOURCE = Path(__file__).resolve().parents[1] / "src"


def command(*arguments: str) -> list[str]:
    """Command line of `ml-prediction fetch`."""
    return [sys.executable, "-m", "ml_prediction.cli", "fetch", *arguments]


def environment() -> dict[str, str]:
    """Of a process that imports this source."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), "no_proxy": "127.0.0.1"}


def fetch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, check=False
    )


def fetch_and_end(
    center: Center, requests: int, *arguments: str, number: signal.Signals = signal.SIGKILL
) -> tuple[int, str]:
    """Run until so many requests have come to the server, then send a signal.

    Returns
    -------
    int, str
        Exit status (minus the signal's number if it ended the process), and what it said. A run
        that ends before ends as usual.
    """
    before = len(center.log)
    process = subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(center.log) - before < requests:
        time.sleep(0.001)
    process.send_signal(number)
    said = process.communicate()[1]
    return process.returncode, said


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that is meant for the user."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".fetch" not in path.parts
    }
