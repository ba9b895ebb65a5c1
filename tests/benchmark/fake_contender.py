"""A contender for tests of the processes: it finds what it is told to, fails, or sleeps."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from ml_prediction.benchmark.contenders.base import Contender, Found, Job, NotInstalledError, Setup


class Fake:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.versions = {"fake": "1"}

    def run(self, job: Job) -> Any:
        sys.stdout.write("a library says something on stdout\n")
        os.write(1, b"and below Python\n")
        if job.batch_size == 666:
            raise RuntimeError("the devil is in the batch")
        if job.batch_size == 999:
            time.sleep(60)
        return job.folder.name

    def picks(self, result: Any, job: Job) -> list[Found]:
        threads = int(os.environ["OMP_NUM_THREADS"])
        return [Found(f"XX.{result}.", "P", 12_345_678_901_234_567, job.thresholds["P"] * threads)]

    def stages(self, result: Any) -> dict[str, float]:
        return {"reading": 0.25}

    def measure(self, seconds: float) -> dict[str, float]:
        return {"cache": float(os.environ["SEISBENCH_CACHE_ROOT"] == "cache"), "seconds": seconds}


def build(setup: Setup) -> Contender:
    if setup.model == "missing":
        raise NotInstalledError("not installed: pip install it")
    if setup.model == "broken":
        raise RuntimeError("no such thing")
    return Fake(setup)
