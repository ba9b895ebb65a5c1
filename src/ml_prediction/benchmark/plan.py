"""What is measured: models and workloads, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ml_prediction.errors import ConfigurationError

RATE: Final = 100
"""Sampling rate of all data in Hz."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model as everyone is to run it.

    Attributes
    ----------
    name
        SeisBench's class name.
    window, stride
        Length of a window, and samples from one window start to the next.
    lone_stride
        Stride that gives one window for data as long as a window: those before and after it hold
        less than a fifth of the data, and ours leaves such windows out.
    stacking, blinding
        How overlapping windows are merged, and samples at their ends that are not used.
    thresholds
        Trigger threshold of each phase.
    share
        Part of the whole time, relative to the other models'.
    """

    name: str
    window: int
    stride: int
    lone_stride: int
    stacking: Literal["max", "mean"]
    blinding: tuple[int, int]
    thresholds: tuple[tuple[str, float], ...]
    share: float


@dataclass(frozen=True, slots=True)
class Workload:
    """An amount of data.

    Attributes
    ----------
    key
        Name on the command line.
    stations, seconds
        Three components each, and about how long; it is rounded down to whole windows. Zero
        stations for real data, which are as long as they are.
    lone
        One window for each station, whatever ``seconds`` says.
    stride
        Samples; None for the model's.
    models
        Names of the models that it is for; empty for all.
    ours_only
        Nobody else is measured.
    """

    key: str
    stations: int = 0
    seconds: int = 0
    lone: bool = False
    stride: int | None = None
    models: tuple[str, ...] = ()
    ours_only: bool = False

    @property
    def is_real(self) -> bool:
        """Whether the data are recorded ones."""
        return self.stations == 0

    def stride_for(self, model: ModelPlan) -> int:
        """Samples from one window start to the next."""
        if self.lone:
            return model.lone_stride
        return self.stride or model.stride

    def samples_for(self, model: ModelPlan) -> int:
        """Length of each channel: a window and a whole number of strides."""
        if self.lone:
            return model.window
        return whole_windows(self.seconds * RATE, model.window, self.stride_for(model))


MODELS: Final = (
    ModelPlan("EQTransformer", 6000, 3000, 5000, "max", (500, 500), (("P", 0.1), ("S", 0.1)), 0.62),
    ModelPlan("PhaseNet", 3001, 1500, 3000, "mean", (0, 0), (("P", 0.3), ("S", 0.3)), 0.38),
)

# From small to large: what an earlier workload left in memory doesn't count for a later one.
WORKLOADS: Final = (
    Workload("small", 20, 600),
    Workload("snapshot", 580, lone=True),
    Workload("real-earthquake"),
    Workload("real-hour"),
    Workload("day", 1, 86_400),
    Workload("network", 200, 600),
    Workload("dense", 200, 180, stride=RATE, models=("PhaseNet",), ours_only=True),
)

QUICK: Final = (
    Workload("small", 3, 240),
    Workload("snapshot", 6, lone=True),
    Workload("day", 1, 600),
    Workload("network", 6, 240),
    Workload("dense", 2, 120, stride=RATE, models=("PhaseNet",), ours_only=True),
)
"""The same in seconds instead of minutes: for tests, and to see whether all works."""

WARM_UP: Final = Workload("warm-up", 2, 240)
"""Everyone does this once before anything is measured."""


def whole_windows(samples: int, window: int, stride: int) -> int:
    """Longest length of at most so many samples that is a window and a number of strides.

    Zero where not even one window fits.
    """
    return window + (samples - window) // stride * stride if samples >= window else 0


def windows_in(samples: int, window: int, stride: int) -> int:
    """Windows that lie wholly within so many samples."""
    return (samples - window) // stride + 1 if samples >= window else 0


def select_models(names: Iterable[str]) -> tuple[ModelPlan, ...]:
    """Plans of models by name, in the order of `MODELS`.

    Raises
    ------
    ConfigurationError
        If one is not known.
    """
    wanted = known_names(names, [plan.name for plan in MODELS], "model")
    return tuple(plan for plan in MODELS if plan.name in wanted)


def select_workloads(keys: Iterable[str], *, quick: bool) -> tuple[Workload, ...]:
    """Workloads by name, in the order of `WORKLOADS`.

    Raises
    ------
    ConfigurationError
        If one is not known.
    """
    known = QUICK if quick else WORKLOADS
    wanted = known_names(keys, [workload.key for workload in WORKLOADS], "workload")
    return tuple(workload for workload in known if workload.key in wanted)


def known_names(given: Iterable[str], known: Sequence[str], kind: str) -> set[str]:
    """Names that were given; all known ones if there are none.

    Raises
    ------
    ConfigurationError
        If one is not known.
    """
    wanted = set(given) or set(known)
    strange = sorted(wanted.difference(known))
    if strange:
        raise ConfigurationError(
            f"Unknown {kind} {', '.join(strange)}; known are: {', '.join(known)}."
        )
    return wanted
