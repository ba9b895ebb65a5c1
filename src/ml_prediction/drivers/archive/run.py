"""driver for archives: units of work to workers, what comes out into a store, again after kills."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ml_prediction.drivers.archive.picking import UnitPicks
from ml_prediction.drivers.archive.plan import Unit, plan_units
from ml_prediction.drivers.archive.ray_workers import RayWorkers
from ml_prediction.drivers.archive.workers import Failure, Job, ProcessWorkers, Workers, run_units
from ml_prediction.drivers.driver_local import read_inventory
from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.drivers.report import describe_model, json_values, name_problems, versions
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import load_configured
from ml_prediction.errors import ConfigurationError, DataError, InternalError, ServiceError
from ml_prediction.models import Ensemble, Model
from ml_prediction.sinks.store import (
    RunRecord,
    Store,
    UnitKey,
    UnitResult,
    UnitState,
    check_url,
    open_store,
    store_file,
    without_password,
)
from ml_prediction.sinks.store.checks import check_new, check_resumable, nothing_to_resume
from ml_prediction.sources.problems import UNREADABLE, ProblemLedger
from ml_prediction.util.codes import fits_any
from ml_prediction.util.digests import sha256
from ml_prediction.util.machine import cores

ATTEMPTS: Final = 3
"""How often a unit is tried."""

MOST_REFUSED: Final = 3
"""Units in a row that a store may refuse: more are no matter of the units."""

PATIENCE: Final = 600.0
"""Seconds that a store may be away, e.g. while a database server is started again."""

DONE, NOT_ALL = 0, 4
"""Exit status: all units are done; some failed."""

_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """What `archive` is told, besides the run's configuration.

    Attributes
    ----------
    root, first, end, networks
        The archive, and which of it; see `plan_units`.
    store
        Where results go; see `ml_prediction.sinks.store.open_store`.
    jobs
        Processes of this machine; with ``ray``, actors at most. None: as many as there is room for.
    ray
        Address of a Ray cluster, if the work is to be done there; see `RayWorkers`.
    resume
        Whether to go on with a run that the store has.
    redo_partial
        Whether units are picked again that are done, but without a part of their files, or with
        others than are there now.
    unit_timeout
        Seconds after which a unit is given up.
    run_id
        Name of the run; None for one that is made of settings, weights and metadata.
    """

    root: Path
    first: date
    end: date
    networks: tuple[str, ...]
    store: str
    jobs: int | None
    resume: bool
    unit_timeout: float = 3600.0
    ray: str | None = None
    run_id: str | None = None
    redo_partial: bool = False


def run_archive(options: ArchiveOptions, config: RunConfig, *, out: Console, err: Console) -> int:
    """Pick an archive into a store.

    Returns
    -------
    int
        Exit status: 0 if every unit is done, 4 if some failed (the store says which, and why) or
        a folder could not be listed, or a file looked at.

    Raises
    ------
    ConfigurationError
        If an option is wrong, the model can't be loaded, or the store has another run, or this
        one, and it is not to be resumed.
    DataError
        If the archive has nothing of these days, or the store is damaged.
    ServiceError
        If the store can't be reached for ten minutes, or the cluster is gone; the run can be
        resumed.
    """
    _check(options)
    inventory = read_inventory(config.inventory)
    models = load_configured(config, config.threads or 1)  # what is wrong is found before all else
    record = record_of(options.root, config, models, options.run_id)
    _check_store(options, record)
    problems = ProblemLedger()
    units = plan_units(
        options.root,
        options.first,
        options.end,
        networks=options.networks,
        channels=config.channels,
        problems=problems,
        tell=partial(err.print, markup=False),
    )
    name_problems(problems.all, err, most=None)
    job = Job(config, record.run_id, config.threads or 1, inventory, options.unit_timeout)
    with ExitStack() as stack:
        # Before the store is made: a cluster that is not there leaves nothing behind.
        workers = stack.enter_context(_workers(options, job, models, len(units), err))
        store = stack.enter_context(open_store(options.store))
        if options.resume and not store.runs():  # one that was killed before it had begun
            where = without_password(options.store)
            err.print(f"{where} has no run to resume: {record.run_id} begins.", markup=False)
        store.begin(record, [unit.key for unit in units], resume=options.resume)
        states = store.states()
        again = _to_redo(units, states, redo=options.redo_partial, err=err)
        done = {state.key for state in states if state.state == "done"} - again
        todo = [unit for unit in units if unit.key not in done]
        if done:
            err.print(f"{len(units) - len(todo)} of {len(units)} units are done already.")
        _tell_gone(options, units, states, err)
        totals = _work(todo, again, workers, store, err)
    out.print(
        f"{len(units)} units, {len(todo)} of them now: {totals['picks']:,} picks, "
        f"{totals['detections']:,} detections, {totals['failed']} units failed. "
        f"In {without_password(options.store)}.",
        markup=False,
    )
    if totals["failed"]:
        kept = totals["kept"]
        own = f"; {kept} keep what they had, --redo-partial tries these again" if kept else ""
        err.print(
            "Failed units: ml-prediction archive status --store "
            f"{without_password(options.store)}; --resume tries them again{own}.",
            markup=False,
        )
    unseen = sum(problem.reason == UNREADABLE for problem in problems.all)
    if unseen:
        err.print(
            f"Folders and files that could not be looked at: {unseen}. Days that may be in them "
            "are not among the units, or went without them; once that is mended, --resume "
            "--redo-partial does them."
        )
    return NOT_ALL if totals["failed"] or unseen else DONE


def _check(options: ArchiveOptions) -> None:
    """Find what is wrong with options before anything is loaded or made."""
    if options.run_id is not None and not _RUN_ID.fullmatch(options.run_id):
        raise ConfigurationError(
            f"--run-id {options.run_id!r}: letters, digits, '.', '_' and '-', 64 at most; the "
            "first a letter or digit."
        )
    if options.redo_partial and not options.resume:
        raise ConfigurationError("--redo-partial is of a run that goes on: give --resume, too.")
    check_url(options.store)


def _check_store(options: ArchiveOptions, record: RunRecord) -> None:
    """Find early what a store will say to the run: looking at an archive may take hours."""
    where = without_password(options.store)
    path = store_file(options.store)
    if path is not None and (not path.exists() or _is_empty(path)):
        return  # it is made when it is needed
    try:
        store = open_store(options.store, create=path is not None)
    except ConfigurationError:
        if path is None:  # an empty database
            return
        raise
    with store:
        known = {run.run_id: run for run in store.runs()}
    if not options.resume:
        if record.run_id in known:
            raise check_new(record.run_id, where)
    elif record.run_id in known:
        check_resumable(known[record.run_id], record, where)
    elif known:
        raise nothing_to_resume(record, list(known.values()), where)


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else not path.stat().st_size


def _to_redo(
    units: Sequence[Unit], states: Sequence[UnitState], *, redo: bool, err: Console
) -> set[UnitKey]:
    """Units that are done, but not as they would be done now."""
    made_of = {unit.key: unit.made_of for unit in units}
    changed = {
        state.key
        for state in states
        if state.state == "done" and state.files and state.files != made_of.get(state.key, "")
    } & made_of.keys()
    if redo:
        return changed | {state.key for state in states if state.state == "done" and state.reason}
    if changed:
        err.print(
            f"Done with other files than they, or their neighbours, have now: {len(changed):,} "
            "units; --redo-partial does them again."
        )
    return set()


def _tell_gone(
    options: ArchiveOptions, units: Sequence[Unit], states: Sequence[UnitState], err: Console
) -> None:
    """Tell of units that are not done, of the days and networks asked for, and have no files."""
    keys = {unit.key for unit in units}
    gone = [
        state.key
        for state in states
        if state.state != "done"
        and state.key not in keys
        and options.first <= state.key.day < options.end
        and fits_any(state.key.network, options.networks)
    ]
    if gone:
        err.print(
            f"Units that are not done and have no files now: {len(gone):,}, e.g. {gone[0]}. "
            "They stay as they are.",
            markup=False,
        )


def record_of(
    root: Path,
    config: RunConfig,
    models: Sequence[Model | Ensemble],
    run_id: str | None = None,
) -> RunRecord:
    """What makes the picks of a run comparable; its id says so, unless it is given."""
    described = [describe_model(model) for model in models]
    said: dict[str, Any] = {
        "pipeline": json_values(config.pipeline.model_dump()),
        "channels": list(config.channels),
        "inventory": None if config.inventory is None else _digest(Path(config.inventory)),
        "calibration": None if config.calibration is None else _digest(Path(config.calibration)),
    }
    identity = json.dumps([said, [model["sha256"] for model in described]], sort_keys=True)
    return RunRecord(
        run_id=run_id or f"archive-{sha256(identity.encode())[:12]}",
        config_hash=config.pipeline.hash,
        config=said,
        models=described,
        versions=versions(),
        created=datetime.now(UTC),
        root=str(root.resolve()),
    )


def _workers(
    options: ArchiveOptions,
    job: Job,
    models: Sequence[Model | Ensemble],
    most: int,
    err: Console,
) -> Workers:
    """Whoever works on at most so many units at once."""
    if options.ray is None:
        jobs = options.jobs or max(1, cores() // job.threads)
        return ProcessWorkers(job, min(jobs, most))
    return RayWorkers(
        job,
        options.ray,
        root=options.root,
        models=models,
        most=min(options.jobs or most, most),
        tell=partial(err.print, markup=False),
    )


def _work(
    units: Sequence[Unit],
    again: Collection[UnitKey],
    workers: Workers,
    store: Store,
    err: Console,
) -> Counter[str]:
    """Units through the workers into the store; those of ``again`` were done before.

    Raises
    ------
    DataError, InternalError
        If the store refuses several units in a row: the fault is not theirs.
    """
    totals: Counter[str] = Counter()
    refused = 0
    days = f"{len(units):,} station-days"
    with ConsoleProgress(err, len(units), 0.0, label=days, rate=_per_hour) as progress:
        for unit, outcome, attempts in run_units(units, workers, ATTEMPTS):
            failure = outcome
            if isinstance(outcome, UnitPicks):
                try:
                    _patiently(partial(store.write, _result(unit, outcome, attempts)), err)
                except (DataError, InternalError) as error:
                    refused += 1
                    if refused == MOST_REFUSED:
                        raise
                    failure = Failure(f"its picks can't be stored: {error}", outcome.seconds)
                else:
                    refused = 0
                    for problem in outcome.problems:
                        err.print(f"{unit}: {problem}", markup=False)
                    totals.update(picks=len(outcome.picks), detections=len(outcome.detections))
            if isinstance(failure, Failure):
                _fail(unit, failure, attempts, store, err)
                totals.update(failed=1, kept=int(unit.key in again))
            totals["units"] += 1
            progress.update(totals["units"])
    return totals


def _fail(unit: Unit, failure: Failure, attempts: int, store: Store, err: Console) -> None:
    _patiently(partial(store.fail, unit.key, failure.reason, attempts), err)
    err.print(f"failed: {unit}: {failure.reason}", markup=False)


def _result(unit: Unit, found: UnitPicks, attempts: int) -> UnitResult:
    return UnitResult(
        unit.key,
        found.picks,
        found.detections,
        found.statistics,
        found.seconds,
        attempts,
        " ".join(found.problems),
        unit.made_of,
    )


def _patiently(action: Callable[[], None], err: Console) -> None:
    """Do something with the store, again and again while it is away."""
    until = time.monotonic() + PATIENCE
    pause = 1.0
    while True:
        try:
            return action()
        except ServiceError as error:
            if time.monotonic() + pause > until:
                raise
            err.print(f"waiting for the store: {error}", markup=False)
        time.sleep(pause)
        pause = min(2 * pause, 30.0)


def _per_hour(done: int, seconds: float) -> str:
    return f"{done / max(seconds, 1e-9) * 3600:,.0f} station-days an hour"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes())
