"""A process of one contender: loads it, then runs one round for each line on stdin.

    python -m ml_prediction.benchmark.worker '{"factory": ..., "setup": ...}'

It answers each command with one line of JSON on stdout. Whatever libraries print goes to stderr.
A contender that fails ends the process; the parent reads the reason on stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

from ml_prediction.benchmark.contenders.base import Contender, NotInstalledError
from ml_prediction.benchmark.load import busy_seconds, others_cores
from ml_prediction.benchmark.memory import peak_mib, reset_peak
from ml_prediction.benchmark.messages import Ready, Round, decode_job, decode_setup


def main() -> None:
    """Serve until stdin ends."""
    answers = _claim_stdout()
    warnings.simplefilter("ignore")
    factory, setup = decode_setup(sys.argv[1])
    module, _, function = factory.partition(":")
    try:
        contender: Contender = getattr(importlib.import_module(module), function)(setup)
    except NotInstalledError as error:
        _say(answers, asdict(Ready(missing=str(error))))
        return
    _say(answers, asdict(Ready(contender.versions)))
    serve(contender, sys.stdin, answers)


def serve(contender: Contender, commands: Iterable[str], answers: TextIO) -> None:
    """Answer commands, one a line.

    Parameters
    ----------
    contender
        Loaded and warm.
    commands
        Lines of JSON: ``{"command": "run", "job": ...}`` or ``{"command": "measure", "seconds":
        ...}``.
    answers
        Where a line of JSON for each goes.
    """
    for line in commands:
        values = json.loads(line)
        if values["command"] == "run":
            _say(answers, run_round(contender, values))
        else:
            _say(answers, contender.measure(values["seconds"]))


def run_round(contender: Contender, values: dict[str, Any]) -> dict[str, Any]:
    """One timed round: its figures, and its picks, which are not in its time."""
    job = decode_job(values)
    reset_peak()
    busy, cpu, wall = busy_seconds(), time.process_time(), time.perf_counter()
    result = contender.run(job)
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    others = others_cores(busy, busy_seconds(), used, seconds)
    figures = Round(seconds, used, peak_mib(), contender.stages(result), others)
    return {"round": asdict(figures), "picks": contender.picks(result, job)}


def _claim_stdout() -> TextIO:
    """Stdout for answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, values: dict[str, Any]) -> None:
    answers.write(f"{json.dumps(values)}\n")
    answers.flush()


if __name__ == "__main__":
    main()
