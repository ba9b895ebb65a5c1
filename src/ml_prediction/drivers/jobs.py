"""A run in several processes, each with its own instruments.

Instruments never need each other, so each process reads, picks and spools its own; what they
leave is merged by time. The picks are those of one process.
"""

from __future__ import annotations

import glob
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnContext
from queue import Empty
from typing import TYPE_CHECKING, Any

from ml_prediction.drivers.share import Share, ShareResult, run_share
from ml_prediction.models import load_model
from ml_prediction.sources.files import open_files
from ml_prediction.sources.problems import Problem
from ml_prediction.util.codes import NSLC

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

REPORT_EVERY_S = 0.5
"""Seconds between two progress messages of a process."""


@dataclass(frozen=True, slots=True)
class _Task:
    index: int
    inputs: tuple[str, ...]
    channels: tuple[NSLC, ...]
    share: Share
    threads: int


def split(channels: Sequence[NSLC], jobs: int) -> list[tuple[NSLC, ...]]:
    """Channels of each job: every instrument is whole, and in one of them."""
    instruments = sorted({channel.instrument for channel in channels})
    owner = {instrument: i % jobs for i, instrument in enumerate(instruments)}
    parts = [
        tuple(channel for channel in channels if owner[channel.instrument] == job)
        for job in range(min(jobs, len(instruments)))
    ]
    return [part for part in parts if part]


def run_jobs(
    inputs: Sequence[str],
    parts: Sequence[tuple[NSLC, ...]],
    share: Share,
    progress: Callable[[int], None],
) -> tuple[list[ShareResult], list[Problem]]:
    """Run each part in a process of its own.

    Returns
    -------
    results, problems
        What the processes left, and the problems that they met while decoding.
    """
    # Spawned, not forked: a fork of a process in which torch has threads may hang.
    context = multiprocessing.get_context("spawn")
    threads = share.config.threads or max(1, (os.cpu_count() or 1) // len(parts))
    tasks = [_Task(i, tuple(inputs), part, _own(share, i), threads) for i, part in enumerate(parts)]
    return _supervise(context, tasks, progress)


def _own(share: Share, index: int) -> Share:
    return replace(share, scratch=share.scratch / str(index))


def _supervise(
    context: SpawnContext, tasks: list[_Task], progress: Callable[[int], None]
) -> tuple[list[ShareResult], list[Problem]]:
    queue: Queue[tuple[int, int]] = context.Queue()
    stop = context.Event()
    done: Counter[int] = Counter()
    with ProcessPoolExecutor(
        len(tasks), mp_context=context, initializer=_start, initargs=(queue, stop)
    ) as pool:
        pending: set[Future[tuple[ShareResult, list[Problem]]]]
        futures = [pool.submit(_work, task) for task in tasks]
        try:
            pending = set(futures)
            while pending:
                finished, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
                _drain(queue, done)
                progress(done.total())
                for future in finished:
                    future.result()  # raises what the process raised
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    finished_tasks = [future.result() for future in futures]
    return (
        [result for result, _ in finished_tasks],
        [problem for _, problems in finished_tasks for problem in problems],
    )


def _drain(queue: Queue[tuple[int, int]], done: Counter[int]) -> None:
    while True:
        try:
            index, count = queue.get_nowait()
        except Empty:
            return
        done[index] = count


_shared: dict[str, Any] = {}  # of a worker process: what the initializer was given


def _start(queue: Queue[tuple[int, int]], stop: Event) -> None:
    """Set up a worker: an interrupt is the parent's business, which tells us through stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shared.update(queue=queue, stop=stop)


def _work(task: _Task) -> tuple[ShareResult, list[Problem]]:
    config = task.share.config
    model = load_model(config.model, config.weights, device=config.device, threads=task.threads)
    source = open_files(
        task.inputs,
        channels=[glob.escape(str(channel)) for channel in task.channels],
        starttime=config.start,
        endtime=config.end,
    )
    known = {_case(problem): problem.count for problem in source.problems}
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if _shared["stop"].is_set():
            raise KeyboardInterrupt
        if time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            _shared["queue"].put((task.index, done))

    result = run_share(source, model, task.share, tell)
    # The parent has looked at all files itself: only what decoding brought to light is new.
    new = [
        replace(problem, count=problem.count - known.get(_case(problem), 0))
        for problem in source.problems
        if problem.count > known.get(_case(problem), 0)
    ]
    return result, new


def _case(problem: Problem) -> tuple[str, str, str]:
    return str(problem.path), problem.reason, problem.unit
