"""Units of work in several processes, each of which is replaced when it dies."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from types import TracebackType
from typing import Any, Final, Protocol, Self

from obspy import Inventory

from ml_prediction.drivers.archive.picking import UnitPicks, pick_unit
from ml_prediction.drivers.archive.plan import Station, Unit
from ml_prediction.drivers.jobs import end_with_parent
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import load_configured
from ml_prediction.drivers.signals import children_spared
from ml_prediction.errors import MLPredictionError

LOOK_SECONDS: Final = 0.5
"""From one look at the clock to the next, for units that take too long."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know of a run, besides its units.

    Attributes
    ----------
    config, run_id
        Of the run.
    threads
        CPU threads of the model in each worker.
    inventory
        Station metadata, or None.
    unit_timeout
        Seconds after which a unit is given up.
    """

    config: RunConfig
    run_id: str
    threads: int
    inventory: Inventory | None
    unit_timeout: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit has no picks; ``seconds`` that it took."""

    reason: str
    seconds: float


Outcome = tuple[Unit, UnitPicks | Failure]


class Workers(Protocol):
    """Something that works on units, wherever. A context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def idle(self) -> int:
        """Units that can be handed over now without waiting behind others."""
        ...

    @property
    def wanted(self) -> Station | None:
        """Station of which the next unit had best be, for the sake of files that were just read."""
        ...

    def start(self, unit: Unit) -> None:
        """Hand a unit over."""
        ...

    def outcomes(self) -> list[Outcome]:
        """Wait until something has come out; what has.

        Nothing if nobody works, or if meanwhile somebody has become idle.
        """
        ...


@dataclass(slots=True)
class _Place:
    """A process that works on one unit at a time, and what it works on."""

    pool: ProcessPoolExecutor
    unit: Unit | None = None
    future: Future[UnitPicks | Failure] | None = None
    since: float = 0.0


class ProcessWorkers:
    """Processes of this machine.

    Each is a pool of its own, so that one that is killed, e.g. for lack of memory, costs only the
    unit that it was at.

    Parameters
    ----------
    job
        What they need to know.
    count
        How many.
    """

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        # Spawned, not forked: a fork of a process in which an engine has threads may hang.
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._places = [_Place(self._new_pool()) for _ in range(count)]
        self._last: Station | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for place in self._places:
            _end(place.pool)

    @property
    def idle(self) -> int:
        """Processes that have nothing to do."""
        return sum(place.unit is None for place in self._places)

    @property
    def wanted(self) -> Station | None:
        """The station that was begun last."""
        return self._last

    def start(self, unit: Unit) -> None:
        """Hand a unit to an idle process."""
        self._last = unit.network, unit.station
        place = next(place for place in self._places if place.unit is None)
        place.unit, place.since = unit, time.monotonic()
        try:
            place.future = self._submit(place.pool, unit)
        except BrokenProcessPool:  # it died with nothing to do
            place.pool = self._replaced(place.pool)
            place.future = self._submit(place.pool, unit)

    def outcomes(self) -> list[Outcome]:
        """What is done, at least one, unless nobody works."""
        while busy := [place for place in self._places if place.future is not None]:
            futures = [place.future for place in busy if place.future is not None]
            wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            found = [outcome for place in busy if (outcome := self._outcome(place)) is not None]
            if found:
                return found
        return []

    def _outcome(self, place: _Place) -> Outcome | None:
        """What came of the unit that a process is at; None if it still is."""
        unit, future = place.unit, place.future
        if unit is None or future is None:
            return None
        seconds = time.monotonic() - place.since
        result: UnitPicks | Failure
        if future.done():
            try:
                result = future.result()
            except BrokenProcessPool:
                result = Failure("the process was killed, perhaps for lack of memory", seconds)
                place.pool = self._replaced(place.pool)
        elif seconds > self._job.unit_timeout:
            result = Failure(f"not done after {self._job.unit_timeout:g} s", seconds)
            place.pool = self._replaced(place.pool)
        else:
            return None
        place.unit = place.future = None
        return unit, result

    def _submit(self, pool: ProcessPoolExecutor, unit: Unit) -> Future[UnitPicks | Failure]:
        with children_spared():
            return pool.submit(_work, unit)

    def _replaced(self, pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
        _end(pool)
        return self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        with children_spared():
            return ProcessPoolExecutor(
                1, mp_context=self._context, initializer=_start, initargs=(self._job,)
            )


def _end(pool: ProcessPoolExecutor) -> None:
    """End a pool's process at once: what it has not handed over is picked again."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)


_own: dict[str, Any] = {}  # of a worker process


def _start(job: Job) -> None:
    """Set up a worker process."""
    end_with_parent()
    _own.update(job=job)


def _work(unit: Unit) -> UnitPicks | Failure:
    job: Job = _own["job"]
    if "models" not in _own:
        started = time.monotonic()
        try:
            _own["models"] = load_configured(job.config, job.threads)
        except (MemoryError, OSError, RuntimeError) as error:  # it was there when the run began
            why = str(error) or "out of memory"
            return Failure(f"the model could not be loaded: {why}", time.monotonic() - started)
    return attempt(unit, job, _own["models"])


def attempt(unit: Unit, job: Job, models: Sequence[Any]) -> UnitPicks | Failure:
    """Pick a unit; a failure that another unit need not share is returned, not raised."""
    started = time.monotonic()
    try:
        return pick_unit(unit, models, job.config, job.inventory, job.run_id)
    except MemoryError:
        reason = "out of memory"
    except (MLPredictionError, OSError) as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours costs this unit, not the run
        reason = f"{type(error).__name__}: {error}"
    return Failure(reason, time.monotonic() - started)


class UnitQueue:
    """Units that wait, by station.

    Parameters
    ----------
    units
        Those of a station next to each other.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._fresh: dict[Station, deque[Unit]] = {}
        for unit in units:
            self._fresh.setdefault((unit.network, unit.station), deque()).append(unit)
        self._begun: dict[Station, deque[Unit]] = {}

    def __bool__(self) -> bool:
        return bool(self._fresh or self._begun)

    def take(self, wanted: Station | None) -> Unit:
        """The next unit of a station; if it has no more, of the first that nobody has begun."""
        if wanted in self._fresh:
            station, source = wanted, self._fresh
        elif wanted in self._begun:
            station, source = wanted, self._begun
        else:
            source = self._fresh or self._begun
            station = next(iter(source))
        days = source.pop(station)
        unit = days.popleft()
        if days:
            self._begun[station] = days
        return unit


def run_units(
    units: Sequence[Unit], workers: Workers, attempts: int
) -> Iterator[tuple[Unit, UnitPicks | Failure, int]]:
    """All units through the workers; one that fails is tried again after the others.

    Parameters
    ----------
    units
        In the order in which they are begun, as far as nothing else is better for the workers.
    workers
        Who works.
    attempts
        How often a unit is tried.

    Yields
    ------
    unit, outcome, attempts
        Each unit once, as it is done or given up. Until the caller asks for the next, no more
        units are begun: what is done but not written stays bounded.
    """
    waiting = UnitQueue(units)
    again: list[Unit] = []
    tried: dict[Unit, int] = {}
    busy = 0
    while waiting or again or busy:
        while workers.idle and (waiting or again):
            unit = waiting.take(workers.wanted) if waiting else again.pop(0)
            tried[unit] = tried.get(unit, 0) + 1
            workers.start(unit)
            busy += 1
        for unit, outcome in workers.outcomes():
            busy -= 1
            if isinstance(outcome, Failure) and tried[unit] < attempts:
                again.append(unit)
            else:
                yield unit, outcome, tried.pop(unit)
