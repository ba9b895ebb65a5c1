"""What a store of an archive run is, and the values that go in and come out.

A run picks an archive in units; a unit is one station's day (UTC). A store keeps what came of each
unit, and which units are done, so that a run that was killed can go on where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.util.codes import Instrument

State = Literal["planned", "done", "failed"]


@dataclass(frozen=True, slots=True, order=True)
class UnitKey:
    """One station's day (UTC): a pick belongs to the day of its peak, a detection to its onset's.

    Attributes
    ----------
    network, station
        Codes.
    day
        Date, UTC.
    """

    network: str
    station: str
    day: date

    def __str__(self) -> str:
        return f"{self.network}.{self.station} {self.day}"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What makes the picks of a run comparable; resuming must agree on all but ``created``.

    Attributes
    ----------
    run_id
        Name of the run; one store may hold several.
    config_hash, config
        Settings, as JSON values, and the hash of those of the pipeline.
    models
        Each model's name, weights, hash of the weights and engine, as JSON values.
    versions
        Version by library.
    created
        When the run was begun; with a time zone.
    root
        Archive that was picked.
    """

    run_id: str
    config_hash: str
    config: dict[str, Any]
    models: list[dict[str, Any]]
    versions: dict[str, str]
    created: datetime
    root: str


@dataclass(frozen=True, slots=True)
class StationDay:
    """Statistics of one instrument's day.

    Attributes
    ----------
    instrument
        Of the unit's station.
    samples
        Samples that were used, of all components together.
    covered_s
        Seconds of the day that the data cover.
    gaps
        Gaps in the day.
    windows
        Windows that the model saw.
    picks, detections
        How many came out.
    skipped
        Count by reason of what didn't end in a result.
    """

    instrument: Instrument
    samples: int
    covered_s: float
    gaps: int
    windows: int
    picks: int
    detections: int
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """All that came of a unit.

    Attributes
    ----------
    key
        The unit.
    picks, detections
        Of its station and day only.
    statistics
        One entry for each instrument.
    seconds
        How long it took.
    attempts
        How often it was tried, this time included.
    left_out
        What of the day's files could not be used, in words.
    files
        What stands for the names of the files that it is made of; see `UnitState`.
    """

    key: UnitKey
    picks: Sequence[Pick]
    detections: Sequence[Detection]
    statistics: Sequence[StationDay]
    seconds: float
    attempts: int
    left_out: str = ""
    files: str = ""


@dataclass(frozen=True, slots=True)
class UnitState:
    """Where a unit stands.

    Attributes
    ----------
    key
        The unit.
    state
        ``planned``, ``done`` or ``failed``.
    attempts
        How often it was tried; 0 while it is planned.
    reason
        Why it failed; of a unit that is done, what of its files could not be used.
    picks, detections
        How many are stored.
    seconds
        How long it took.
    finished
        When it was done or failed (UTC); None while it is planned.
    files
        Of a unit that is done: what stands for the names of its files; empty if that is not
        known. With others it is not the same day any more.
    """

    key: UnitKey
    state: State
    attempts: int = 0
    reason: str = ""
    picks: int = 0
    detections: int = 0
    seconds: float = 0.0
    finished: datetime | None = None
    files: str = ""


@dataclass(frozen=True, slots=True)
class PickCounts:
    """How many picks a run has, by what they are of and how good they are.

    Attributes
    ----------
    by_station
        Count by network, station and phase.
    by_kind
        Count by phase, quality, and the bins of probability and sigma in which they are; see
        `ml_prediction.sinks.store.bins`.
    """

    by_station: dict[tuple[str, str, str], int]
    by_kind: dict[tuple[str, int, int, int], int]


class Store(Protocol):
    """Where the results of archive runs are kept; a context manager.

    One process writes a run; any number may read at the same time, and see whole units only.

    Every method may raise ``ServiceError`` when the database or the disk fails (server gone,
    locked, disk full). What was being written is then not there at all, and **calling again is
    safe**, with the same object, as soon as the cause is gone. ``ConfigurationError`` means that
    calling again won't help before something has been mended.
    """

    def begin(self, run: RunRecord, units: Sequence[UnitKey], *, resume: bool) -> None:
        """Register a run and its units; what is written afterwards belongs to it.

        Parameters
        ----------
        run
            The run.
        units
            What it consists of. Units that the store doesn't know are added; others stay as they
            are, done or failed.
        resume
            Go on with a run that the store has; one that it doesn't have is begun.

        Raises
        ------
        ConfigurationError
            If the store has the run and ``resume`` is False, if the run in the store differs in
            anything but ``created`` (the message names what), or if another process writes it.
        """

    def write(self, result: UnitResult) -> None:
        """Store a unit and set it to done, all at once; what was stored of it before goes.

        Raises
        ------
        InternalError
            If the unit is not of the run, or a pick, detection or instrument not of the unit.
        """

    def fail(self, key: UnitKey, reason: str, attempts: int) -> None:
        """Set a unit to failed; one that is done stays so.

        Raises
        ------
        InternalError
            If the unit is not of the run.
        """

    def runs(self) -> list[RunRecord]:
        """Runs that the store has, the oldest first."""

    def states(self, *, run_id: str | None = None) -> list[UnitState]:
        """Where every unit of a run stands, by day, network, station.

        Parameters
        ----------
        run_id
            None: the run that was begun with this object, else the only one that there is.

        Raises
        ------
        ConfigurationError
            If there is no such run, or no choice was made between several.
        """

    def picks(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Pick]:
        """Picks of a run's done units, in the order of their times (microseconds), then ids.

        They are read as they are asked for, so any number takes little memory.

        Parameters
        ----------
        run_id
            As for `states`.
        networks, stations
            Codes to choose; None chooses all.
        start, end
            Choose ``start <= time < end``.

        Raises
        ------
        ConfigurationError
            As for `states`; at once, not with the first pick.
        """

    def detections(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Detection]:
        """Detections of a run's done units, by onset, then id; parameters as for `picks`."""

    def statistics(self, *, run_id: str | None = None) -> Iterator[tuple[UnitKey, StationDay]]:
        """Statistics of a run's done units, by day, network, station, location, instrument."""

    def pick_counts(self, *, run_id: str | None = None) -> PickCounts:
        """How many picks a run's done units have; counted where they are, not read one by one."""

    def close(self) -> None:
        """Let go of files and connections. Closing twice does no harm."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
