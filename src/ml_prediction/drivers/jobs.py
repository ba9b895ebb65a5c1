"""A run in several processes, each with its own instruments.

Instruments of different sites never need each other, so each process reads, picks and spools its
own; what they leave is merged by time. The picks are those of one process.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnContext
from typing import Any

from ml_prediction.drivers.share import Share, ShareResult, load_configured, run_share
from ml_prediction.drivers.signals import children_spared
from ml_prediction.drivers.warning_log import WarningLog, listening
from ml_prediction.sources.files import FileSource
from ml_prediction.util.codes import NSLC
from ml_prediction.util.machine import cores


@dataclass(frozen=True, slots=True)
class _Task:
    index: int
    source: FileSource
    share: Share
    threads: int


def split(channels: Sequence[NSLC], jobs: int, *, sites: bool = False) -> list[tuple[NSLC, ...]]:
    """Channels of each job: every instrument is whole, and in one of them.

    With ``sites``, so are the instruments of each site.
    """

    def group(channel: NSLC) -> tuple[str, ...]:
        return channel[:3] if sites else channel.instrument

    groups = sorted({group(channel) for channel in channels})
    owner = {each: i % jobs for i, each in enumerate(groups)}
    parts = [
        tuple(channel for channel in channels if owner[group(channel)] == job)
        for job in range(min(jobs, len(groups)))
    ]
    return [part for part in parts if part]


def run_jobs(
    sources: Sequence[FileSource], share: Share, progress: Callable[[int], None]
) -> list[ShareResult]:
    """Run each source in a process of its own; returns what the processes left.

    Raises
    ------
    ChildProcessError
        If a process was killed.
    """
    # Spawned, not forked: a fork of a process in which torch has threads may hang.
    context = multiprocessing.get_context("spawn")
    threads = share.config.threads or max(1, cores() // len(sources))
    tasks = [_Task(i, source, _own(share, i), threads) for i, source in enumerate(sources)]
    try:
        return _supervise(context, tasks, progress)
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process was killed, probably for lack of memory: use fewer --jobs, or a machine "
            "with more memory"
        ) from error


def _own(share: Share, index: int) -> Share:
    return replace(share, scratch=share.scratch / str(index))


def _supervise(
    context: SpawnContext, tasks: list[_Task], progress: Callable[[int], None]
) -> list[ShareResult]:
    # Plain shared memory, no queue or event: a process that is killed can't leave a lock behind.
    stop = context.RawValue("b", 0)
    done = context.RawArray("q", len(tasks))
    with children_spared():  # a helper process of multiprocessing starts here, the workers below
        pool = ProcessPoolExecutor(
            len(tasks), mp_context=context, initializer=_start, initargs=(stop, done)
        )
    try:
        with children_spared():
            futures = [pool.submit(_work, task) for task in tasks]
        pending: set[Future[ShareResult]] = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            progress(sum(done))
            for future in finished:
                future.result()  # raises what the process raised
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in futures]


_shared: dict[str, Any] = {}  # of a worker process: what the initializer was given


def _start(stop: Any, done: Any) -> None:
    """Set up a worker process."""
    end_with_parent()
    _shared.update(stop=stop, done=done)


def end_with_parent() -> None:
    """Let this worker process, busy or waiting for work, end when its parent has been killed."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)  # nobody is left to hand anything to, or to hear of it

    threading.Thread(target=watch, daemon=True).start()


def _work(task: _Task) -> ShareResult:
    config = task.share.config

    def tell(done: int) -> None:
        if _shared["stop"].value:
            raise KeyboardInterrupt
        _shared["done"][task.index] = done

    with listening(WarningLog()) as warned:
        models = load_configured(config, task.threads)
        result = run_share(task.source, models, task.share, tell)
    problems = [*task.source.problems, *result.problems]
    return replace(result, problems=problems, warnings=tuple(warned.sentences))
