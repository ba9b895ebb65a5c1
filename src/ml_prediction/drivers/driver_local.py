"""driver_local: picks files. Joins a source, the pipeline and sinks, and says what happened."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import obspy
from obspy import Inventory
from rich.console import Console

from ml_prediction.core.stopwatch import Stopwatch
from ml_prediction.core.summary import Summary
from ml_prediction.drivers.delivery import deliver
from ml_prediction.drivers.jobs import run_jobs, split
from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.drivers.report import Report, name_problems, show
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import Share, ShareResult, run_share
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Model, load_model
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sources.files import FileSource, open_files
from ml_prediction.sources.foreign import READ_ERRORS
from ml_prediction.sources.problems import Problem
from ml_prediction.util.times import NANOSECONDS

SUMMARY: Final = "summary.json"


def run(inputs: Sequence[str], config: RunConfig, *, out: Console, err: Console) -> int:
    """Pick files into a folder.

    Parameters
    ----------
    inputs
        Files, folders, globs, or the root of an SDS archive.
    config
        Everything else.
    out, err
        The results' table goes to ``out``; progress, and what was skipped, to ``err``.

    Returns
    -------
    int
        Exit status 0. Inputs that were skipped are in the summary.

    Raises
    ------
    ConfigurationError
        If the folder is taken, an input does not exist, or the model can't be loaded.
    DataError
        If no input has anything that can be used. Nothing is written then.
    """
    started = time.perf_counter()
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    folder = OutputFolder(config.out, overwrite=config.overwrite)
    old_pictures = _pictures_of_earlier_run(folder.path)
    with folder, TemporaryDirectory(prefix=".scratch-", dir=folder.path) as scratch:
        share = Share(config, run_id, Path(scratch), _read_inventory(config.inventory))
        model = load_model(
            config.model, config.weights, device=config.device, threads=config.threads
        )
        source = open_files(
            inputs, channels=config.channels, starttime=config.start, endtime=config.end
        )
        picking = time.perf_counter()
        results, problems = _pick(inputs, source, model, share, err)
        name_problems(problems, err)
        summary = Summary()
        for result in results:
            summary.add(result.summary)
        if summary.windows == 0:
            raise DataError(_why_nothing(summary))
        with Stopwatch(summary.seconds, time.perf_counter).stage("writing"):
            delivered = deliver(results, config.formats, folder)
        report = Report(
            run_id=run_id,
            inputs=inputs,
            config=config,
            spec=model.spec,
            span=source.span,
            channels=source.channels,
            summary=summary,
            problems=problems,
            picks_by_phase=dict(delivered.picks_by_phase),
            detections=delivered.detections,
            picking_s=time.perf_counter() - picking,
            wall_s=time.perf_counter() - started,
            outputs=[*delivered.outputs, SUMMARY],
        )
        text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        folder.part(SUMMARY).write_text(text + "\n", encoding="utf-8")
    for name in old_pictures - set(report.outputs):
        (folder.path / name).unlink(missing_ok=True)
    show(report, folder.path, out)
    return 0


def _pick(
    inputs: Sequence[str], source: FileSource, model: Model, share: Share, err: Console
) -> tuple[list[ShareResult], list[Problem]]:
    """Everything through the pipeline, in this process or in several."""
    start_ns, end_ns = source.span
    seconds = (end_ns - start_ns) / NANOSECONDS
    parts = split(source.channels, share.config.jobs)
    with ConsoleProgress(err, source.total_samples, seconds) as progress:
        if len(parts) > 1:
            results, more = run_jobs(inputs, parts, share, progress.update)
            return results, add_up([*source.problems, *more])
        result = run_share(source, model, share, progress.update)
        return [result], source.problems


def add_up(problems: Sequence[Problem]) -> list[Problem]:
    """One problem for each file and reason; counts add up."""
    found: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        key = (str(problem.path), problem.reason, problem.unit)
        known = found.get(key)
        found[key] = problem if known is None else replace(known, count=known.count + problem.count)
    return list(found.values())


def _read_inventory(path: str | None) -> Inventory | None:
    if path is None:
        return None
    try:
        return obspy.read_inventory(path)
    except READ_ERRORS as error:
        raise ConfigurationError(
            f"{path} is no station metadata that ObsPy can read ({error}): give StationXML."
        ) from error


def _why_nothing(summary: Summary) -> str:
    reasons = [
        f"{reason} ({count:,}, e.g. {summary.examples.get(reason, '?')})"
        for reason, count in sorted(summary.skipped.items())
    ]
    why = "; ".join(reasons) or "there are no samples"
    return f"No window of the data could be used, nothing is written: {why}."


def _pictures_of_earlier_run(folder: Path) -> set[str]:
    """Pictures that an earlier run says it made: none of them is to stay beside new results."""
    try:
        outputs = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    names = [name for name in outputs if isinstance(name, str)]
    return {name for name in names if name.endswith(".png") and Path(name).name == name}
