"""What a run of the benchmark can be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from ml_prediction.benchmark.contenders.registry import Entrant, select_entrants
from ml_prediction.benchmark.plan import ModelPlan, Workload, select_models, select_workloads
from ml_prediction.benchmark.weights import phasenet_weights
from ml_prediction.errors import ConfigurationError

MINUTES: Final = 13.0
THREADS: Final = 2
_QUICK_MINUTES: Final = 10.0  # it takes one or two, and leaves nothing out


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Everything that one run of the benchmark is told; make it with `make`.

    Attributes
    ----------
    out
        Folder of the results.
    minutes
        About how long the whole may take.
    threads
        CPU threads of each contender.
    models, workloads, entrants
        What is measured.
    weights
        Path of PhaseNet's weights; None if there are none.
    shared
        Folder of real data; None if there is none.
    quick
        Tiny workloads, one round.
    """

    out: Path
    minutes: float
    threads: int
    models: tuple[ModelPlan, ...]
    workloads: tuple[Workload, ...]
    entrants: tuple[Entrant, ...]
    weights: Path | None
    shared: Path | None
    quick: bool

    @classmethod
    def make(
        cls,
        out: str | Path,
        *,
        minutes: float | None = None,
        threads: int = THREADS,
        models: Iterable[str] = (),
        workloads: Iterable[str] = (),
        contenders: Iterable[str] = (),
        weights: str | Path | None = None,
        shared: str | Path | None = None,
        quick: bool = False,
    ) -> Self:
        """Options from what a user may write; an empty list is everything.

        Raises
        ------
        ConfigurationError
            If a name is not known, a number impossible, or a path not there.
        """
        length = minutes if minutes is not None else (_QUICK_MINUTES if quick else MINUTES)
        if not length > 0:
            raise ConfigurationError(f"--minutes {length:g} is impossible; use e.g. {MINUTES:g}.")
        if threads < 1:
            raise ConfigurationError(f"--threads must be at least 1, not {threads}.")
        folder = find_shared(None if shared is None else Path(shared))
        pair = phasenet_weights(None if weights is None else Path(weights), folder)
        named = tuple(models)
        plans = select_models(named)
        if pair is None:
            if "PhaseNet" in named:
                raise ConfigurationError(
                    "PhaseNet's weights are not in the package: give --weights PATH, a .pt/.json "
                    "pair as SeisBench writes it."
                )
            plans = tuple(plan for plan in plans if plan.name != "PhaseNet")
        return cls(
            Path(out),
            length,
            threads,
            plans,
            select_workloads(workloads, quick=quick),
            select_entrants(contenders),
            pair,
            folder,
            quick,
        )


def find_shared(given: Path | None) -> Path | None:
    """Folder of shared data: the given one, or the one beside the checkout if it is there.

    Raises
    ------
    ConfigurationError
        If the given one is not there.
    """
    if given is not None:
        if not given.is_dir():
            raise ConfigurationError(f"--shared {given}: no such folder; check the path.")
        return given
    beside = Path(__file__).resolve().parents[4] / "shared"
    return beside if (beside / "data").is_dir() else None
