"""The parent's end of a worker process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from ml_prediction.benchmark.contenders.base import Found, Job, Setup
from ml_prediction.benchmark.messages import (
    Ready,
    Round,
    decode_picks,
    encode_job,
    encode_setup,
)

_THREADS: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_LOAD_S: Final = 300.0


class ContenderFailedError(Exception):
    """A worker died, or took too long; the message says in a few words why.

    It never reaches the user as an error: a contender that fails is reported as such.
    """


@dataclass(slots=True)
class Worker:
    """A process of one contender. Use it as a context.

    Parameters
    ----------
    factory, setup
        What it is.
    cache
        For SEISBENCH_CACHE_ROOT.
    log
        File for its stderr.
    """

    factory: str
    setup: Setup
    cache: Path
    log: Path
    _process: subprocess.Popen[str] | None = None
    _answers: queue.SimpleQueue[str | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Ready:
        """Start the process, and wait until its contender is warm.

        Raises
        ------
        ContenderFailedError
            If it can't be loaded.
        """
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ml_prediction.benchmark.worker",
                    encode_setup(self.factory, self.setup),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=environment(self.setup.threads, self.cache),
            )
        self._answers = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(
            target=_forward, args=(self._process.stdout, self._answers), daemon=True
        ).start()
        return Ready(**self._hear(_LOAD_S))

    def run(self, job: Job, patience_s: float) -> tuple[Round, list[Found]]:
        """Run one round: its figures, and its picks.

        Raises
        ------
        ContenderFailedError
            If the process dies, or there is no answer within ``patience_s`` seconds.
        """
        answer = self._ask(encode_job(job), patience_s)
        return Round.from_dict(answer["round"]), decode_picks(answer["picks"])

    def measure(self, seconds: float) -> dict[str, float]:
        """Let the contender measure something of its own.

        Raises
        ------
        ContenderFailedError
            As for `run`.
        """
        return self._ask({"command": "measure", "seconds": seconds}, _LOAD_S)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was to be written found no reader
                    continue

    def _ask(self, command: Mapping[str, Any], patience_s: float) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None:
            raise ContenderFailedError("failed before")
        try:
            self._process.stdin.write(f"{json.dumps(command)}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ContenderFailedError(self._last_words()) from error
        return self._hear(patience_s)

    def _hear(self, patience_s: float) -> dict[str, Any]:
        assert self._answers is not None
        try:
            line = self._answers.get(timeout=patience_s)
        except queue.Empty:
            self.close()
            raise ContenderFailedError(f"no answer within {patience_s:.0f} s") from None
        if line is None:
            raise ContenderFailedError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """Why a process ended: its last line on stderr."""
        status = None if self._process is None else self._process.wait()
        self.close()
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"failed, exit status {status}: {said[-1] if said else 'it said nothing'}"


def environment(threads: int, cache: Path) -> dict[str, str]:
    """Environment of every worker: the same threads for all, and weights without a network."""
    return {
        **os.environ,
        **dict.fromkeys(_THREADS, str(threads)),
        "SEISBENCH_CACHE_ROOT": str(cache),
    }


def _forward(stdout: IO[str], answers: queue.SimpleQueue[str | None]) -> None:
    """Hand on lines as they come, and None at the end."""
    try:
        for line in stdout:
            answers.put(line)
    except ValueError:  # closed while it was read
        pass
    answers.put(None)
