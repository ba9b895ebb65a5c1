"""A PostgreSQL server of the tests' own: the Debian package's, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

USER: Final = "picker"
PASSWORD: Final = "p@ss/word"


def binaries() -> Path | None:
    """Folder of the server's programs, the newest version; None where it can't be run."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    able = os.geteuid() != 0 or shutil.which("runuser")
    return found[-1] if found and able else None


class PostgresServer:
    """Server on localhost, with password; its files go when it is closed."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self._home = Path(tempfile.mkdtemp(prefix="mlp-pg-", dir="/tmp"))
        self._data = self._home / "data"
        self._as: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._home, "postgres", "postgres")
            self._as = ["runuser", "-u", "postgres", "--"]
        self.port = _free_port()
        self._databases = 0
        secret = self._home / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", self._data, "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it, after a kill, too."""
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += " -c unix_socket_directories=''"  # its lock would outlive a kill
        log = self._home / "log"
        self._run("pg_ctl", "-D", self._data, "-l", log, "-o", options, "-w", "start")

    def kill(self) -> None:
        """Kill it as a power cut would: no process of it says good-bye."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            os.kill(each, signal.SIGKILL)
        while any(_lives(each) for each in [pid, *map(int, children)]):
            time.sleep(0.01)  # a new server refuses while one of the old processes is there
        (self._data / "postmaster.pid").unlink()  # where nobody reaps it, its number stays taken

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        self._databases += 1
        name = f"picks{self._databases}"
        with psycopg.connect(self.plain_url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.plain_url(name)

    def plain_url(self, database: str, password: str = PASSWORD) -> str:
        """URL of a database that may exist or not."""
        quoted = password.replace("@", "%40").replace("/", "%2F")
        return f"postgresql://{USER}:{quoted}@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        """Stop it and remove its files."""
        subprocess.run(
            [*self._as, self._bin / "pg_ctl", "-D", self._data, "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
        )
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._as, str(self._bin / program), *map(str, arguments)]
        # A server that inherited a pipe would keep its reader waiting.
        done = subprocess.run(
            command, check=False, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        log = self._home / "log"
        assert done.returncode == 0, (command, log.read_text() if log.exists() else "")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
