"""The benchmark as one call: measure, write the results, show them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ml_prediction.benchmark.machine import describe_machine, describe_software
from ml_prediction.benchmark.options import BenchOptions
from ml_prediction.benchmark.report import show, write
from ml_prediction.benchmark.results import SCHEMA
from ml_prediction.benchmark.session import ModelSession
from ml_prediction.errors import ConfigurationError


def run_bench(options: BenchOptions, *, out: Console, err: Console) -> int:
    """Run ours and its rivals, and write what came out.

    Parameters
    ----------
    options
        From `BenchOptions.make`.
    out, err
        The table goes to ``out``, progress to ``err``.

    Returns
    -------
    int
        Exit status 0. A contender that fails, is not installed, or finds other picks is in the
        results as such.

    Raises
    ------
    ConfigurationError
        If there is nothing to measure, or the folder can't be made.
    OSError
        If the disk is full.
    """
    if not options.models or not options.workloads:
        raise ConfigurationError("There is nothing to measure: name other models or workloads.")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(f"--out {options.out} is not a folder; choose another.") from error
    results = measure(options, err)
    paths = write(results, options.out)
    show(results, out)
    out.print(f"In {options.out}/: {', '.join(path.name for path in paths)}", markup=False)
    return 0


def measure(options: BenchOptions, err: Console) -> dict[str, Any]:
    """Run everything: plain JSON values."""
    started = time.monotonic()
    began = datetime.now(UTC)
    models = []
    with TemporaryDirectory(prefix="ml-prediction-bench-") as name:
        for number, model in enumerate(options.models):
            now = time.monotonic()
            left = max(0.0, started + options.minutes * 60 - now)
            share = model.share / sum(plan.share for plan in options.models[number:])
            folder = Path(name) / model.name
            folder.mkdir()
            session = ModelSession(model, options, folder, err)
            models.append(session.run(now + left * share))
    return {
        "schema": SCHEMA,
        "started": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(time.monotonic() - started, 1),
        "settings": {
            "minutes": options.minutes,
            "threads": options.threads,
            "quick": options.quick,
        },
        "machine": describe_machine(),
        "versions": describe_software(),
        "models": models,
    }
