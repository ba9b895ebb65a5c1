"""Workers: every unit comes out once, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy.io.mseed import InternalMSEEDError
from small_archive import MIDNIGHT, station, write_sds

from ml_prediction.drivers.archive import workers as module
from ml_prediction.drivers.archive.picking import UnitPicks, pick_unit
from ml_prediction.drivers.archive.plan import Station, Unit, plan_units
from ml_prediction.drivers.archive.workers import (
    Failure,
    Job,
    Outcome,
    ProcessWorkers,
    UnitQueue,
    attempt,
    run_units,
)
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.models import Model

FIRST = date(2017, 5, 1)
NOWHERE: Station | None = None
NOTHING = UnitPicks([], [], [], (), 0.0)


def units_of(count: int) -> list[Unit]:
    return [Unit("XX", "AAA", FIRST + timedelta(days=n), (), ()) for n in range(count)]


@dataclass
class Puppets:
    """Workers that finish in some order, and fail as they are told."""

    places: int
    order: np.random.Generator
    failing: dict[Unit, int] = field(default_factory=dict)
    begun: list[Unit] = field(default_factory=list)
    busy: list[Unit] = field(default_factory=list)
    most: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    @property
    def idle(self) -> int:
        return self.places - len(self.busy)

    @property
    def wanted(self) -> Station | None:
        return None

    def start(self, unit: Unit) -> None:
        self.begun.append(unit)
        self.busy.append(unit)
        self.most = max(self.most, len(self.busy))

    def outcomes(self) -> list[Outcome]:
        count = int(self.order.integers(1, len(self.busy) + 1))
        found = [self.busy.pop(int(self.order.integers(len(self.busy)))) for _ in range(count)]
        return [(unit, self._outcome(unit)) for unit in found]

    def _outcome(self, unit: Unit) -> UnitPicks | Failure:
        if self.failing.get(unit, 0) > 0:
            self.failing[unit] -= 1
            return Failure("no mind for this", 0.0)
        return NOTHING


@settings(deadline=None)
@given(
    st.integers(0, 20),
    st.integers(1, 5),
    st.dictionaries(st.integers(0, 19), st.integers(1, 4)),
    st.integers(0, 2**32),
)
def test_every_unit_comes_out_once_tried_as_often_as_it_may(
    count: int, places: int, failing: dict[int, int], seed: int
) -> None:
    units = units_of(count)
    fails = {units[n]: times for n, times in failing.items() if n < count}
    puppets = Puppets(places, np.random.default_rng(seed), dict(fails))
    found = list(run_units(units, puppets, 3))
    assert sorted(unit.day for unit, _, _ in found) == [unit.day for unit in units]
    for unit, outcome, tried in found:
        times = fails.get(unit, 0)
        assert isinstance(outcome, Failure) == (times >= 3)
        assert tried == min(times + 1, 3) == puppets.begun.count(unit)
    assert puppets.most <= places
    firsts = list(dict.fromkeys(puppets.begun))
    assert firsts == units  # in order, for the sake of files that neighbours share


def test_nothing_is_begun_while_results_are_not_taken() -> None:
    puppets = Puppets(2, np.random.default_rng(1))
    results = run_units(units_of(10), puppets, 3)
    next(results)
    begun = len(puppets.begun)
    time.sleep(0.01)
    assert len(puppets.begun) == begun == 2


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.data())
def test_units_of_a_station_go_to_one_place_until_places_must_help_each_other(
    days: list[int], data: st.DataObject
) -> None:
    units = [
        Unit("XX", f"S{number}", FIRST + timedelta(days=day), (), ())
        for number, count in enumerate(days)
        for day in range(count)
    ]
    queue, last = UnitQueue(units), dict.fromkeys("ab", NOWHERE)
    order: list[Unit] = []
    begun_by: dict[str, str] = {}
    while queue:
        place = data.draw(st.sampled_from("ab"))
        untouched = {f"S{n}" for n in range(len(days))} - begun_by.keys()
        unit = queue.take(last[place])
        if untouched:
            assert begun_by.setdefault(unit.station, place) == place
        last[place] = (unit.network, unit.station)
        order.append(unit)
    assert sorted(order, key=str) == sorted(units, key=str)
    for station_units in ([u for u in order if u.station == f"S{n}"] for n in range(len(days))):
        assert [u.day for u in station_units] == sorted(u.day for u in station_units)


def test_one_machine_begins_units_in_the_order_of_the_plan() -> None:
    units = [Unit("XX", code, unit.day, (), ()) for code in "ABC" for unit in units_of(4)]
    queue, last = UnitQueue(units), NOWHERE
    order: list[Unit] = []
    while queue:
        order.append(queue.take(last))
        last = (order[-1].network, order[-1].station)
    assert order == units


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (ValueError("odd"), "ValueError: odd"),
        (ZeroDivisionError("x"), "ZeroDivisionError: x"),
    ],
    ids=str,
)
def test_a_failure_is_that_of_its_unit_alone(
    error: Exception, reason: str, eqt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(module, "pick_unit", fail)
    found = attempt(units_of(1)[0], Job(RunConfig(), "r", 1, None, 60.0), [eqt])
    assert isinstance(found, Failure)
    assert reason in found.reason


# -- real processes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Unit]:
    root = tmp_path_factory.mktemp("sds")
    for code in ("AAA", "BBB", "CCC"):
        stream = station(code, MIDNIGHT - 400, 800, [MIDNIGHT - 300, MIDNIGHT - 5.0])
        write_sds(root, stream)
    return plan_units(root, FIRST, FIRST + timedelta(days=2))


@pytest.fixture
def job() -> Job:
    return Job(RunConfig(device="cpu"), "run", 1, None, 120.0)


def ids(units: Sequence[Unit], outcomes: dict[Unit, UnitPicks | Failure]) -> list[str]:
    found = []
    for unit in units:
        outcome = outcomes[unit]
        assert isinstance(outcome, UnitPicks), outcome
        found += [pick.id for pick in outcome.picks]
    return found


def pids(workers: ProcessWorkers) -> list[int]:
    processes = [p for place in workers._places for p in (place.pool._processes or {}).values()]
    return [process.pid for process in processes if process.pid is not None]


def killing(workers: ProcessWorkers, times: int, ended: threading.Event) -> Iterator[int]:
    """Kill processes of the workers, now and then."""
    rng = np.random.default_rng(5)
    for _ in range(times):
        if ended.wait(rng.uniform(0.2, 2.0)):
            return
        running = [
            p.pid for place in workers._places for p in (place.pool._processes or {}).values()
        ]
        pid = running[int(rng.integers(len(running)))] if running else None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            yield pid


@pytest.mark.slow
def test_units_of_processes_that_are_killed_are_picked_again(
    archive: list[Unit], job: Job, eqt: Model
) -> None:
    expected = [
        pick.id for unit in archive for pick in pick_unit(unit, [eqt], job.config, None, "").picks
    ]
    assert len(expected) >= 12
    ended = threading.Event()
    with ProcessWorkers(job, 2) as workers:
        killed: list[int] = []
        killer = threading.Thread(target=lambda: killed.extend(killing(workers, 5, ended)))
        killer.start()
        found = {unit: outcome for unit, outcome, _ in run_units(archive, workers, 20)}
        ended.set()
        killer.join()
    assert killed
    assert ids(archive, found) == expected


@pytest.mark.slow
def test_a_unit_that_takes_too_long_is_given_up_and_the_next_one_is_picked(
    archive: list[Unit], job: Job
) -> None:
    with ProcessWorkers(replace(job, unit_timeout=1.0), 1) as workers:
        workers.start(archive[0])
        (pid,) = pids(workers)
        os.kill(pid, signal.SIGSTOP)
        ((unit, failure),) = workers.outcomes()
        assert unit == archive[0]
        assert isinstance(failure, Failure)
        assert failure.reason == "not done after 1 s"
        assert pid not in pids(workers)
        workers._job = job
        ((unit, outcome, tried),) = run_units(archive[1:2], workers, 1)
    assert isinstance(outcome, UnitPicks)
    assert tried == 1


@pytest.mark.parametrize("error", [MemoryError(), OSError("x"), RuntimeError("bad allocation")])
def test_a_model_that_can_not_be_loaded_costs_an_attempt_not_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> list[Any]:
        raise error

    done = UnitPicks([], [], [], (), 0.0)
    monkeypatch.setattr(module, "_own", {"job": Job(RunConfig(), "run", 1, None, 9.0)})
    monkeypatch.setattr(module, "load_configured", fail)
    monkeypatch.setattr(module, "pick_unit", lambda *_: done)
    outcome = module._work(units_of(1)[0])
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"the model could not be loaded: {str(error) or 'out of memory'}"
    monkeypatch.setattr(module, "load_configured", lambda *_: [])
    assert module._work(units_of(1)[0]) is done


@pytest.mark.parametrize(
    "error", [AttributeError("x"), AssertionError("x"), InternalMSEEDError("x")]
)
def test_no_fault_in_a_unit_ends_the_run(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> UnitPicks:
        raise error

    monkeypatch.setattr(module, "pick_unit", fail)
    outcome = attempt(units_of(1)[0], Job(RunConfig(), "run", 1, None, 9.0), [])
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"{type(error).__name__}: x"
