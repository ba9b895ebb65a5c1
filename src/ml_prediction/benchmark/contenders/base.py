"""What a contender is told, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ml_prediction.errors import ConfigurationError


class NotInstalledError(ConfigurationError):
    """The package of a contender is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a contender must know before it starts.

    Attributes
    ----------
    model
        Architecture.
    weights
        Path of SeisBench's pair of files, version 1, without endings.
    for_ours
        Weights as our own `load_model` takes them.
    window
        Samples in a window.
    stacking, blinding
        How overlapping windows are merged.
    threads
        CPU threads.
    engine
        Of ours; others have none.
    """

    model: str
    weights: str
    for_ours: str
    window: int
    stacking: str
    blinding: tuple[int, int]
    threads: int
    engine: str = "auto"


@dataclass(frozen=True, slots=True)
class Job:
    """One round.

    Attributes
    ----------
    folder
        ``station/channel.mseed``, three components each.
    stride
        Samples from one window start to the next.
    thresholds
        Trigger threshold of each phase.
    batch_size
        Windows in one forward pass; None for a contender's own choice.
    """

    folder: Path
    stride: int
    thresholds: Mapping[str, float]
    batch_size: int | None = None


class Found(NamedTuple):
    """One pick.

    Attributes
    ----------
    station
        Network, station and location code, joined by dots.
    phase
        P or S.
    peak_ns
        Time of the highest probability, nanoseconds since 1970.
    probability
        The highest.
    """

    station: str
    phase: str
    peak_ns: int
    probability: float


def station_of(codes: Sequence[str]) -> str:
    """Name of a station: network, station and location code, the first of ``codes``."""
    return ".".join(codes[:3])


class Contender(Protocol):
    """Something that picks a folder; it is loaded and warm when it has been made."""

    def run(self, job: Job) -> Any:
        """Do all the work, from the files to the result. This is timed."""
        ...

    def picks(self, result: Any, job: Job) -> list[Found]:
        """Picks in a result of `run`. This is not timed."""
        ...

    def stages(self, result: Any) -> dict[str, float]:
        """Seconds of a result by stage, as far as they are known."""
        ...

    def measure(self, seconds: float) -> dict[str, float]:
        """Measure something of its own for about so long; empty if there is nothing."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages that do the work."""
        ...
