"""Which round comes next: contenders in turn, and again as long as there is time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from ml_prediction.benchmark.contenders.base import Found
from ml_prediction.benchmark.contenders.registry import Entrant
from ml_prediction.benchmark.datasets import Dataset
from ml_prediction.benchmark.messages import Round
from ml_prediction.benchmark.picks import Agreement
from ml_prediction.benchmark.plan import ModelPlan, Workload
from ml_prediction.benchmark.processes import ContenderFailedError

ENOUGH: Final = 3
"""Rounds of the essential contenders, before the others have a second one: a median needs them."""

Status = Literal["waiting", "valid", "differs", "unchecked", "missing", "left out", "failed"]


@dataclass(slots=True)
class Entry:
    """One contender in one cell, and what became of it.

    Attributes
    ----------
    entrant
        Who.
    batch_size
        Windows in a forward pass; None for its own choice.
    status, note
        What its times are worth, and why.
    rounds
        Figures of each.
    found
        Picks of the first round.
    agreement
        Of these with the reference's.
    """

    entrant: Entrant
    batch_size: int | None = None
    status: Status = "waiting"
    note: str = ""
    rounds: list[Round] = field(default_factory=list)
    found: list[Found] | None = None
    agreement: Agreement | None = None

    @property
    def runs(self) -> bool:
        """Whether it has run, and may run again."""
        return bool(self.rounds) and self.status not in {"failed", "left out", "missing"}


@dataclass(slots=True)
class Cell:
    """One model on one workload."""

    model: ModelPlan
    workload: Workload
    dataset: Dataset
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to go on.

    Attributes
    ----------
    deadline
        On the clock, when no more rounds begin.
    round_s
        Longest round of a contender that is not essential, in seconds.
    rounds
        Most of them for each contender in each cell.
    rates
        Windows per second of each contender, as far as they are known beforehand.
    """

    deadline: float
    round_s: float
    rounds: int
    rates: Mapping[str, float] = field(default_factory=dict)


def play(
    cells: Sequence[Cell],
    run: Callable[[Cell, Entry], None],
    limits: Limits,
    clock: Callable[[], float],
) -> None:
    """Run rounds: each contender in each cell, then the essential ones until they have ENOUGH.

    Where there is time then, all go on; where there is not enough for all of a cell's contenders,
    the essential ones alone.

    Parameters
    ----------
    cells
        With their entries, which are changed.
    run
        Runs one round and puts it into the entry.
    limits
        How long.
    clock
        Monotonic seconds.
    """
    for cell in cells:
        for entry in cell.entries:
            if entry.status != "waiting":  # not installed, or it could not be loaded
                continue
            expected = expected_seconds(cells, cell, entry, limits.rates)
            if not entry.entrant.essential and expected > limits.round_s:
                entry.status = "left out"
                entry.note = f"a round would take about {expected:.0f} s"
            elif not entry.entrant.essential and clock() > limits.deadline:
                entry.status, entry.note = "left out", "there was no time left"
            else:
                _attempt(run, cell, entry)
    for chosen, rounds in ((True, min(ENOUGH, limits.rounds)), (False, limits.rounds)):
        for number in range(1, rounds):
            for cell in cells:
                again = [entry for entry in cell.entries if entry.runs]
                again = [entry for entry in again if len(entry.rounds) == number]
                essential = [entry for entry in again if entry.entrant.essential]
                left = limits.deadline - clock()
                groups = (essential,) if chosen else (again, essential)
                for entry in next((some for some in groups if _needed(some) <= left), []):
                    _attempt(run, cell, entry)


def expected_seconds(
    cells: Iterable[Cell], cell: Cell, entry: Entry, known: Mapping[str, float]
) -> float:
    """How long a first round may take, from the same contender's in other cells; 0 if unknown.

    Parameters
    ----------
    cells
        All of them.
    cell, entry
        What is about to run.
    known
        Windows per second of contenders that have run nowhere yet.
    """
    rates = [
        other.dataset.windows / median(item.seconds for item in same.rounds)
        for other in cells
        for same in other.entries
        if same.entrant == entry.entrant and same.rounds
    ]
    rate = max(rates) if rates else known.get(entry.entrant.key, 0.0)
    return cell.dataset.windows / rate if rate > 0 else 0.0


def _needed(entries: Iterable[Entry]) -> float:
    return sum(entry.rounds[-1].seconds for entry in entries)


def _attempt(run: Callable[[Cell, Entry], None], cell: Cell, entry: Entry) -> None:
    try:
        run(cell, entry)
    except ContenderFailedError as error:
        entry.status, entry.note = "failed", str(error)
