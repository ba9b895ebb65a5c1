"""A Ray cluster of the tests' own: nodes on this machine that can be killed as if their power went.

Each node is a session: a worker has a process group of its own, but stays in it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCE = Path(__file__).resolve().parents[1] / "src"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of nodes, and of those who use them: this source, Ray's files in a folder, one thread."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **own,
        "PYTHONPATH": str(SOURCE),
        "OMP_NUM_THREADS": "1",
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        **more,
    }


class RayCluster:
    """Nodes of one CPU each; the first is the head. All are killed at the end."""

    def __init__(self) -> None:
        # Short: a socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-ray-", dir="/tmp"))
        self.address = f"127.0.0.1:{free_port()}"
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.environment = environment(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self._nodes:
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def head(self) -> subprocess.Popen[bytes]:
        """The first node."""
        return self._nodes[0]

    def add_node(self) -> subprocess.Popen[bytes]:
        """Start a node; returns when it is ready."""
        number = len(self._nodes)
        port = self.address.rpartition(":")[2]
        log = self.folder / f"node{number}.log"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        command += ["--object-store-memory=80000000", "--node-ip-address=127.0.0.1"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--dashboard-agent-listen-port={free_port()}"]
        if number == 0:
            command += ["--head", f"--port={port}", "--include-dashboard=false"]
            command += [f"--temp-dir={self.folder}", "--disable-usage-stats"]
        else:
            command += [f"--address={self.address}"]
        with log.open("wb") as file:
            node = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._nodes.append(node)
        deadline = time.monotonic() + 60
        while b"Ray runtime started" not in log.read_bytes():
            said = log.read_text(errors="replace")
            assert node.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        return node

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Kill all processes of a node at once."""
        while members := list(processes_of(node.pid)):
            for pid, _ in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        node.wait()

    def workers(self, node: subprocess.Popen[bytes]) -> list[int]:
        """Processes of actors that pick on a node just now."""
        return [pid for pid, name in processes_of(node.pid) if name.startswith("ray::_Actor.work")]


def processes_of(session: int) -> Iterator[tuple[int, str]]:
    """Numbers and command lines of the living processes of a session."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command:  # a zombie has none
                    yield int(folder.name), command
        except (FileNotFoundError, ProcessLookupError):
            continue


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
