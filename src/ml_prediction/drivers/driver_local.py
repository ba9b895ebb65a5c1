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
from ml_prediction.drivers.live.late_archive import LATE_SUFFIX
from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.drivers.report import Report, name_problems, show
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import Share, ShareResult, load_configured, run_share
from ml_prediction.drivers.warning_log import WarningLog, listening
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Ensemble, Model
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sources.files import FileSource, open_files
from ml_prediction.sources.foreign import READ_ERRORS
from ml_prediction.sources.problems import Problem

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
        Exit status 0. Inputs that were skipped are in the summary. That the table can't be
        printed is said on ``err``; the results are complete then all the same.

    Raises
    ------
    ConfigurationError
        If the folder is taken, an input does not exist, or the model can't be loaded.
    OSError
        If the disk is full, a process was killed, or the like. Nothing is written then.
    DataError
        If no input has anything that can be used. Nothing is written then.
    """
    started = time.perf_counter()
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    if all(map(_is_late, inputs)):
        run_id += "-late"
    _check_traces(config)
    folder = OutputFolder(config.out, overwrite=config.overwrite)
    old_pictures = _pictures_of_earlier_run(folder.path)
    warned = WarningLog(err)
    with (
        folder,
        TemporaryDirectory(prefix=".scratch-", dir=folder.path) as scratch,
        listening(warned),
    ):
        share = Share(config, run_id, Path(scratch), read_inventory(config.inventory))
        models = load_configured(config, config.threads)
        source = open_files(
            inputs, channels=config.channels, starttime=config.start, endtime=config.end
        )
        picking = time.perf_counter()
        results = _pick(source, models, share, err)
        for result in results:
            warned.take(result.warnings)
        problems = add_up([*source.problems, *(p for result in results for p in result.problems)])
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
            models=models,
            span=source.span,
            covered_s=source.covered_s,
            channels=source.channels,
            summary=summary,
            problems=problems,
            warnings=warned.sentences,
            picks_by_phase={**_no_picks(models), **delivered.picks_by_phase},
            detections=delivered.detections,
            picking_s=time.perf_counter() - picking,
            wall_s=time.perf_counter() - started,
            outputs=[*delivered.outputs, SUMMARY],
        )
        text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        # A file name that is no UTF-8 has surrogates: their escapes are JSON's own.
        folder.part(SUMMARY).write_bytes(f"{text}\n".encode(errors="backslashreplace"))
    for name in old_pictures - set(report.outputs):
        (folder.path / name).unlink(missing_ok=True)
    warned.show_rest()
    try:
        show(report, folder.path, out)
    except OSError as error:  # e.g. stdout is a full disk, or `| head`
        err.print(
            f"The results in {folder.path} are complete, but stdout can't be written "
            f"({error.strerror}).",
            markup=False,
        )
    return 0


def _pick(
    source: FileSource, models: Sequence[Model | Ensemble], share: Share, err: Console
) -> list[ShareResult]:
    """Everything through the pipeline, in this process or in several."""
    together = share.config.pipeline.site is not None
    parts = split(source.channels, share.config.jobs, sites=together)
    with ConsoleProgress(err, source.total_samples, source.covered_s) as progress:
        if len(parts) > 1:
            return run_jobs([source.select(part) for part in parts], share, progress.update)
        return [run_share(source, models, share, progress.update)]


def _check_traces(config: RunConfig) -> None:
    """Probability traces are named by channel alone: those of several models would be mixed."""
    wanted = ["plot"] * config.plot + ["the format mseed"] * ("mseed" in config.formats)
    if wanted and len(config.models) > 1 and config.combine is None:
        raise ConfigurationError(
            f"{' and '.join(wanted)} can show one model, not {', '.join(config.models)} side by "
            "side: combine them, or pick with one at a time."
        )


def add_up(problems: Sequence[Problem]) -> list[Problem]:
    """One problem for each file and reason, sorted; counts add up."""
    found: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        key = (str(problem.path), problem.reason, problem.unit)
        known = found.get(key)
        found[key] = problem if known is None else replace(known, count=known.count + problem.count)
    return [found[key] for key in sorted(found)]


def _is_late(name: str) -> bool:
    """Whether an input is what driver_ew has put aside because it came too late."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    return bool(files) and all(each.name.endswith(LATE_SUFFIX) for each in files)


def _no_picks(models: Sequence[Model | Ensemble]) -> dict[str, int]:
    """Zero for each phase that the models pick: none found is a result, too."""
    known = [label for model in models for label in model.spec.thresholds]
    return {label: 0 for label in known if label != "Detection"}


def read_inventory(path: str | None) -> Inventory | None:
    """Station metadata of a file; None for no file.

    Raises
    ------
    ConfigurationError
        If there is no such file, or ObsPy can't read it.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise ConfigurationError(f"Option 'inventory' = {path!r}: no such file; check the path.")
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
