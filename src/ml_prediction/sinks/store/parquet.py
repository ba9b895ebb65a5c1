"""A store as a folder of Parquet files, which DuckDB, Polars and pandas read as one table.

::

    picks/network=UW/day=2017-05-01/GNW@RUN.parquet         one file for each unit that has any
    detections/network=UW/day=2017-05-01/GNW@RUN.parquet
    station_days/network=UW/day=2017-05-01/GNW@RUN.parquet
    runs/RUN.json                                           what the run is
    runs/RUN.jsonl                                          states of its units, a journal
    store.json                                              that this is a store, and its version

A unit's files are written whole, one after another, and then its line in the journal: that makes it
done. Readers of this package look at done units only.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError, DataError, InternalError, ServiceError
from ml_prediction.sinks.store.arrow_rows import (
    DETECTIONS,
    PICKS,
    ArrowCodec,
    count_picks,
    decode_days,
    encode_days,
    read_parquet,
    to_parquet,
)
from ml_prediction.sinks.store.base import (
    PickCounts,
    RunRecord,
    StationDay,
    UnitKey,
    UnitResult,
    UnitState,
)
from ml_prediction.sinks.store.checks import (
    check_new,
    check_result,
    check_resumable,
    check_run,
    choose_run,
    day_start_ns,
    now,
    storable,
)
from ml_prediction.sinks.store.journal import Journal, read_states
from ml_prediction.util.files import make_folders, make_result_folder, write_whole
from ml_prediction.util.times import NANOSECONDS, to_ns

FORMAT: Final = "ml_prediction store"
VERSION: Final = 2
"""Of the layout of the folder: since 2, a unit's line in the journal may have ``files``."""

NO_NETWORK: Final = "--"
"""Stands for an empty code in a folder's name, as in Earthworm: pandas can't read Hive's null."""

TABLES: Final = ("station_days", "detections", "picks")
"""Folders of a unit's files, in the order in which these are written."""

_KILLED: Final = {".store.json.part"}
"""What is in a folder whose first writer was killed."""

_ACROSS: Final = timedelta(minutes=1)
"""A pick's time may lie on another day than its peak, by far less than this."""


class ParquetStore:
    """Runs, units, picks, detections and statistics in a folder of Parquet files.

    Parameters
    ----------
    folder
        The store.
    create
        Make it where there is none.

    Raises
    ------
    ConfigurationError, ServiceError
        As `open_store` says.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self._folder = folder
        self._where = str(folder)
        self._begun: tuple[str, Journal] | None = None
        with self._disk():
            self._open(create)

    def _open(self, create: bool) -> None:
        mark = self._mark
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigurationError(
                f"{self._folder} is no folder: a file of SQLite is named sqlite:///{self._folder}, "
                "or ends in .db, .sqlite or .sqlite3."
            )
        if not mark.exists():
            if not create:
                raise ConfigurationError(f"There is no store {self._folder}: check the path.")
            others = self._folder.exists() and {e.name for e in self._folder.iterdir()} - _KILLED
            if others and not mark.exists():  # nobody else has just made it
                raise ConfigurationError(
                    f"{self._folder} is not a store and not empty: choose another folder."
                )
            make_result_folder(self._folder)
            try:
                self._put_mark()
            except FileNotFoundError:
                if not mark.exists():
                    raise
                # another process has made it meanwhile
        found = _read_json(mark)
        version = found.get("version") if isinstance(found, dict) else None
        if not isinstance(version, int) or found.get("format") != FORMAT:
            raise ConfigurationError(f"{mark} is not of a store of ml_prediction: check the path.")
        if version > VERSION:
            raise ConfigurationError(
                f"{self._folder} was made by a newer version of ml_prediction (layout "
                f"{version}; this one knows {VERSION}): update ml_prediction, or choose "
                "another store."
            )

    @property
    def _mark(self) -> Path:
        return self._folder / "store.json"

    def _put_mark(self) -> None:
        """Say that the folder is a store, and which."""
        content = {"format": FORMAT, "version": VERSION}
        write_whole(self._mark, json.dumps(content).encode(), sync=True)

    def begin(self, run: RunRecord, units: Sequence[UnitKey], *, resume: bool) -> None:
        """Register a run and its units, as `Store.begin` says."""
        run = check_run(run)
        self.close()
        record = self._record(run.run_id)
        with self._disk():
            if _read_json(self._mark)["version"] < VERSION:
                self._put_mark()
            make_folders(record.parent)
            if record.exists() and not resume:
                raise check_new(run.run_id, self._where)
            journal = Journal(self._journal(run.run_id))
            try:
                self._register(run, units, record, journal)
            except BaseException:
                journal.close()
                raise
        self._begun = run.run_id, journal

    def _register(
        self, run: RunRecord, units: Sequence[UnitKey], record: Path, journal: Journal
    ) -> None:
        new = not record.exists()
        if new:
            journal.clear()  # a begin that was killed
        else:
            check_resumable(_run_of(record), run, self._where)
        missing = [key for key in dict.fromkeys(units) if key not in journal.states]
        journal.append(UnitState(key, "planned") for key in missing)
        if new:
            content = asdict(run) | {"created": run.created.isoformat()}
            write_whole(record, json.dumps(content, indent=1).encode(), sync=True)

    def write(self, result: UnitResult) -> None:
        """Store a unit, as `Store.write` says."""
        run_id, journal = self._writing(result.key)
        check_result(result, run_id)
        state = UnitState(
            result.key,
            "done",
            result.attempts,
            storable(result.left_out),
            len(result.picks),
            len(result.detections),
            float(result.seconds),
            now(),
            result.files,
        )
        tables = (
            encode_days(result.statistics, run_id),
            DETECTIONS.encode(result.detections),
            PICKS.encode(result.picks),
        )
        with self._disk():
            if journal.states[result.key].state == "done":  # no reader sees old and new mixed
                journal.append([UnitState(result.key, "planned")])
            for name, table in zip(TABLES, tables, strict=True):
                self._put(self._path(name, result.key, run_id), table)
            journal.append([state])

    def fail(self, key: UnitKey, reason: str, attempts: int) -> None:
        """Set a unit to failed, as `Store.fail` says."""
        run_id, journal = self._writing(key)
        if journal.states[key].state != "done":
            with self._disk():
                for table in TABLES:  # of one who was killed before the unit was done
                    self._path(table, key, run_id).unlink(missing_ok=True)
                reason = storable(reason)
                journal.append([UnitState(key, "failed", attempts, reason, finished=now())])

    def runs(self) -> list[RunRecord]:
        """Runs, the oldest first."""
        with self._disk():
            found = [_run_of(path) for path in (self._folder / "runs").glob("*.json")]
        return sorted(found, key=lambda run: (run.created, run.run_id))

    def states(self, *, run_id: str | None = None) -> list[UnitState]:
        """States of a run's units, as `Store.states` says."""
        states = self._states(self._chosen(run_id))
        return sorted(states, key=lambda state: _by_day(state.key))

    def picks(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Pick]:
        """Picks of a run, read day by day, as `Store.picks` says."""
        run = self._chosen(run_id)
        keys = [state.key for state in self._states(run) if state.picks]
        chosen = _chosen(keys, networks, stations, start, end)
        return self._stream("picks", PICKS, run, chosen, start, end)

    def detections(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Detection]:
        """Detections of a run, read day by day, as `Store.detections` says."""
        run = self._chosen(run_id)
        keys = [state.key for state in self._states(run) if state.detections]
        chosen = _chosen(keys, networks, stations, start, end)
        return self._stream("detections", DETECTIONS, run, chosen, start, end)

    def statistics(self, *, run_id: str | None = None) -> Iterator[tuple[UnitKey, StationDay]]:
        """Statistics of a run's units, as `Store.statistics` says."""
        run = self._chosen(run_id)
        done = [state.key for state in self.states(run_id=run) if state.state == "done"]
        return self._statistics(run, done)

    def pick_counts(self, *, run_id: str | None = None) -> PickCounts:
        """Counts of a run's picks, file by file, as `Store.pick_counts` says."""
        run = self._chosen(run_id)
        by_station: Counter[tuple[str, str, str]] = Counter()
        by_kind: Counter[tuple[str, int, int, int]] = Counter()
        for key in sorted(state.key for state in self._states(run) if state.picks):
            with self._disk():
                for kind, count in count_picks(self._path("picks", key, run)).items():
                    by_station[key.network, key.station, kind[0]] += count
                    by_kind[kind] += count
        return PickCounts(dict(by_station), dict(by_kind))

    def close(self) -> None:
        """Let others write the run."""
        if self._begun is not None:
            self._begun[1].close()
            self._begun = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn errors of the disk into ours."""
        try:
            yield
        except OSError as error:
            where = error.filename or self._where
            said = f"{where}: {error.strerror or error}"
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise ConfigurationError(
                    f"{said}: change its rights, or choose another folder."
                ) from error
            raise ServiceError(
                f"{said}: is the disk full, or gone? Nothing half-written is left; try again, or "
                "give --resume later."
            ) from error

    def _record(self, run_id: str) -> Path:
        return self._folder / "runs" / f"{quote(run_id, safe='')}.json"

    def _journal(self, run_id: str) -> Path:
        return self._record(run_id).with_suffix(".jsonl")

    def _path(self, table: str, key: UnitKey, run_id: str) -> Path:
        """File of a unit; ``@`` is in no code that is quoted."""
        network = quote(key.network, safe="") or NO_NETWORK
        name = f"{quote(key.station, safe='')}@{quote(run_id, safe='')}.parquet"
        return self._folder / table / f"network={network}" / f"day={key.day}" / name

    def _put(self, path: Path, table: Any) -> None:
        if len(table):
            make_folders(path.parent)
            scratch = self._folder / ".scratch"  # Polars refuses folders with anything else in
            scratch.mkdir(exist_ok=True)
            write_whole(path, to_parquet(table), sync=True, scratch=scratch)
        else:
            path.unlink(missing_ok=True)

    def _writing(self, key: UnitKey) -> tuple[str, Journal]:
        if self._begun is None:
            raise InternalError(f"{self._where}: no run has begun.")
        if key not in self._begun[1].states:
            raise InternalError(f"{self._where}: run {self._begun[0]} has no unit {key}.")
        return self._begun

    def _chosen(self, run_id: str | None) -> str:
        known = [run.run_id for run in self.runs()]
        begun = self._begun[0] if self._begun else None
        return choose_run(run_id, begun, known, self._where)

    def _states(self, run_id: str) -> Collection[UnitState]:
        if self._begun is not None and self._begun[0] == run_id:
            return self._begun[1].states.values()
        with self._disk():
            return read_states(self._journal(run_id)).values()

    def _stream(
        self,
        name: str,
        codec: ArrowCodec,
        run_id: str,
        keys: Sequence[UnitKey],
        start: UTCDateTime | None,
        end: UTCDateTime | None,
    ) -> Iterator[Any]:
        first = None if start is None else to_ns(start)
        last = None if end is None else to_ns(end)
        held: list[Any] = []  # what may have to wait for the next day's
        for day, units in groupby(keys, key=lambda key: key.day):
            with self._disk():
                held += [codec.read(self._path(name, u, run_id), u.network) for u in units]
            table = codec.join(held)
            times = codec.times(table)
            over = times < day_start_ns(day + timedelta(days=1)) - _across_ns()
            held = [table.filter(~over)]
            yield from codec.decode(table.filter(over & _within(times, first, last)))
        table = codec.join(held)
        yield from codec.decode(table.filter(_within(codec.times(table), first, last)))

    def _statistics(
        self, run_id: str, keys: Sequence[UnitKey]
    ) -> Iterator[tuple[UnitKey, StationDay]]:
        for key in keys:
            path = self._path("station_days", key, run_id)
            with self._disk():
                table = read_parquet(path) if path.exists() else None
            if table is not None:
                yield from ((key, day) for day in decode_days(table, key))


def _across_ns() -> int:
    return int(_ACROSS.total_seconds()) * NANOSECONDS


def _within(times: Any, first: int | None, last: int | None) -> Any:
    """Mask of the times with ``first <= time < last``."""
    chosen = times == times
    if first is not None:
        chosen &= times >= first
    if last is not None:
        chosen &= times < last
    return chosen


def _by_day(key: UnitKey) -> tuple[date, str, str]:
    return key.day, key.network, key.station


def _chosen(
    keys: Sequence[UnitKey],
    networks: Collection[str] | None,
    stations: Collection[str] | None,
    start: UTCDateTime | None,
    end: UTCDateTime | None,
) -> list[UnitKey]:
    """Units that may have what is asked for, by day."""
    first = None if start is None else (start - _ACROSS.total_seconds()).date
    last = None if end is None else (end + _ACROSS.total_seconds()).date
    return sorted(
        (
            key
            for key in keys
            if (networks is None or key.network in networks)
            and (stations is None or key.station in stations)
            and (first is None or key.day >= first)
            and (last is None or key.day <= last)
        ),
        key=_by_day,
    )


def _run_of(path: Path) -> RunRecord:
    values = _read_json(path)
    return RunRecord(**(values | {"created": datetime.fromisoformat(values["created"])}))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): take a backup of it.") from error
