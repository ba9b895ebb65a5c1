"""Stores in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa
from obspy import UTCDateTime
from sqlalchemy.dialects import postgresql, sqlite

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError, InternalError
from ml_prediction.sinks.store import schema
from ml_prediction.sinks.store.base import (
    PickCounts,
    RunRecord,
    StationDay,
    UnitKey,
    UnitResult,
    UnitState,
)
from ml_prediction.sinks.store.bins import PROBABILITY_EDGES, SIGMA_EDGES_S, bin_of
from ml_prediction.sinks.store.checks import (
    check_new,
    check_result,
    check_resumable,
    check_run,
    choose_run,
    now,
    storable,
    to_datetime,
)
from ml_prediction.sinks.store.claims import claimed
from ml_prediction.sinks.store.engines import IMMEDIATE, make_engine
from ml_prediction.sinks.store.schema_version import HEAD, current, upgrade
from ml_prediction.sinks.store.sql_errors import translated
from ml_prediction.sinks.store.sql_rows import DETECTIONS, PICKS, Codec, Method, method_of
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

ROWS_AT_ONCE: Final = 2000
"""Rows that are fetched at a time."""

_RUN: Final = tuple(field.name for field in fields(RunRecord))
_UNIT_NAME: Final = (schema.unit.c.day, schema.unit.c.network, schema.unit.c.station)


class SqlStore:
    """Runs, units, picks, detections and statistics in a relational database.

    Opened connections don't survive a fork: make worker processes first, or by spawn.

    Parameters
    ----------
    url
        ``sqlite:///...`` or ``postgresql://...``.
    create
        Make the file of SQLite where there is none. A database of PostgreSQL must be there.

    Raises
    ------
    ConfigurationError, ServiceError
        As `open_store` says.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._engine, self._where = make_engine(url, create=create)
        self._run: tuple[int, str] | None = None
        self._methods: dict[Method, int] = {}
        self._claim = ExitStack()
        self._held: Callable[[], None] = lambda: None
        try:
            with self._reading() as connection:
                version = current(connection)
            if version is None and not create:
                raise ConfigurationError(
                    f"{self._where} is not a store of ml_prediction: check the URL."
                )
            if version != HEAD:  # else readers need not wait for writers, nor be able to write
                with self._transaction() as connection:
                    upgrade(connection, self._where)
        except BaseException:
            self.close()
            raise

    def begin(self, run: RunRecord, units: Sequence[UnitKey], *, resume: bool) -> None:
        """Register a run and its units, as `Store.begin` says."""
        run = check_run(run)
        table = schema.run
        with self._transaction() as connection:
            old = connection.execute(sa.select(table).where(table.c.run_id == run.run_id)).first()
            if old is None:
                values = {name: getattr(run, name) for name in _RUN}
                added = table.insert().values(values).returning(table.c.key)
                key = connection.execute(added).scalar_one()
                # SQLite without foreign keys leaves the units of a run that was deleted, and
                # gives its key again.
                connection.execute(schema.unit.delete().where(schema.unit.c.run == key))
            elif not resume:
                raise check_new(run.run_id, self._where)
            else:
                check_resumable(_record(old), run, self._where)
                key = old.key
        with translated(self._where):
            self._claim.close()
            claim = claimed(self._engine, key, run.run_id, self._where)
            self._held = self._claim.enter_context(claim)
        with self._transaction() as connection:
            known = set(_unit_keys(connection, key))
            rows = [
                {"run": key, "network": u.network, "station": u.station, "day": u.day, **_PLANNED}
                for u in units
                if u not in known
            ]
            if rows:
                connection.execute(self._insert(schema.unit).on_conflict_do_nothing(), rows)
        self._run = key, run.run_id

    def write(self, result: UnitResult) -> None:
        """Store a unit in one transaction, as `Store.write` says."""
        run, run_id = self._begun()
        check_result(result, run_id)
        results: list[Pick | Detection] = [*result.picks, *result.detections]
        with self._transaction(held=True) as connection:
            unit = self._unit(connection, result.key)
            methods = self._with_keys(connection, {method_of(each) for each in results})
            for table in (schema.pick, schema.detection, schema.station_day):
                connection.execute(table.delete().where(table.c.unit == unit))
            for table, codec, rows in (
                (schema.pick, PICKS, result.picks),
                (schema.detection, DETECTIONS, result.detections),
            ):
                if rows:
                    encoded = [
                        codec.encode(row, run=run, unit=unit, method=methods[method_of(row)])
                        for row in rows
                    ]
                    connection.execute(table.insert(), encoded)
            if result.statistics:
                days = [_day_row(each, unit) for each in result.statistics]
                connection.execute(schema.station_day.insert(), days)
            done = {
                "state": "done",
                "attempts": result.attempts,
                "reason": storable(result.left_out),
                "picks": len(result.picks),
                "detections": len(result.detections),
                "seconds": float(result.seconds),
                "finished": now(),
                "files": result.files,
            }
            connection.execute(schema.unit.update().where(schema.unit.c.key == unit).values(done))
        self._methods = methods  # only now are they there to stay

    def fail(self, key: UnitKey, reason: str, attempts: int) -> None:
        """Set a unit to failed, as `Store.fail` says."""
        table = schema.unit
        failed = {
            "state": "failed",
            "reason": storable(reason),
            "attempts": attempts,
            "finished": now(),
        }
        with self._transaction(held=True) as connection:
            unit = self._unit(connection, key)
            chosen = (table.c.key == unit) & (table.c.state != "done")
            connection.execute(table.update().where(chosen).values(failed))

    def runs(self) -> list[RunRecord]:
        """Runs, the oldest first."""
        query = sa.select(schema.run).order_by(schema.run.c.created, schema.run.c.run_id)
        with self._reading() as connection:
            return [_record(row) for row in connection.execute(query)]

    def states(self, *, run_id: str | None = None) -> list[UnitState]:
        """States of a run's units, as `Store.states` says."""
        table = schema.unit
        with self._reading() as connection:
            run, _ = self._chosen(connection, run_id)
            query = sa.select(table).where(table.c.run == run).order_by(*_UNIT_NAME)
            return [
                UnitState(
                    UnitKey(row.network, row.station, row.day),
                    row.state,
                    row.attempts,
                    row.reason,
                    row.picks,
                    row.detections,
                    row.seconds,
                    row.finished,
                    row.files,
                )
                for row in connection.execute(query)
            ]

    def picks(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Pick]:
        """Picks of a run, streamed, as `Store.picks` says."""
        with self._reading() as connection:
            run = self._chosen(connection, run_id)
        chosen = _chosen(schema.pick, "time", run[0], networks, stations, start, end)
        return self._stream(schema.pick, PICKS, chosen, run[1])

    def detections(
        self,
        *,
        run_id: str | None = None,
        networks: Collection[str] | None = None,
        stations: Collection[str] | None = None,
        start: UTCDateTime | None = None,
        end: UTCDateTime | None = None,
    ) -> Iterator[Detection]:
        """Detections of a run, streamed, as `Store.detections` says."""
        with self._reading() as connection:
            run = self._chosen(connection, run_id)
        chosen = _chosen(schema.detection, "onset", run[0], networks, stations, start, end)
        return self._stream(schema.detection, DETECTIONS, chosen, run[1])

    def statistics(self, *, run_id: str | None = None) -> Iterator[tuple[UnitKey, StationDay]]:
        """Statistics of a run's units, as `Store.statistics` says."""
        with self._reading() as connection:
            run, _ = self._chosen(connection, run_id)
        return self._statistics(run)

    def pick_counts(self, *, run_id: str | None = None) -> PickCounts:
        """Counts of a run's picks, made by the database, as `Store.pick_counts` says."""
        table = schema.pick.c
        station = (table.network, table.station, table.phase)
        kind = (
            table.phase,
            table.quality,
            bin_of(table.probability, PROBABILITY_EDGES).label("probability_bin"),
            bin_of(table.sigma, SIGMA_EDGES_S).label("sigma_bin"),
        )
        with self._reading() as connection:
            run, _ = self._chosen(connection, run_id)
            found: list[dict[Any, int]] = []
            for by in (station, kind):
                query = sa.select(*by, sa.func.count()).where(table.run == run)
                # By place: PostgreSQL does not see that two CASEs with parameters are one.
                query = query.group_by(*(sa.text(str(n + 1)) for n in range(len(by))))
                found.append({tuple(row[:-1]): row[-1] for row in connection.execute(query)})
        return PickCounts(*found)

    def close(self) -> None:
        """Close all connections."""
        self._claim.close()
        self._engine.dispose()

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
    def _transaction(self, *, held: bool = False) -> Iterator[sa.Connection]:
        """All that is written in it, or nothing; ``held``: only while the run is ours."""
        with translated(self._where):
            if held:
                self._held()
            with self._engine.connect() as connection:
                connection.execution_options(**IMMEDIATE)
                with connection.begin():
                    yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with translated(self._where), self._engine.connect() as connection:
            yield connection

    def _insert(self, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
        """INSERT that may have ON CONFLICT."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        return postgresql.insert(table)

    def _begun(self) -> tuple[int, str]:
        if self._run is None:
            raise InternalError(f"{self._where}: no run has begun.")
        return self._run

    def _chosen(self, connection: sa.Connection, run_id: str | None) -> tuple[int, str]:
        """Key and name of the run to read."""
        known: dict[str, int] = {
            row.run_id: row.key
            for row in connection.execute(sa.select(schema.run.c.run_id, schema.run.c.key))
        }
        begun = self._run[1] if self._run else None
        name = choose_run(run_id, begun, known, self._where)
        return known[name], name

    def _unit(self, connection: sa.Connection, key: UnitKey) -> int:
        """Key of a unit; who writes the same one waits."""
        table = schema.unit
        run, run_id = self._begun()
        query = sa.select(table.c.key).where(
            table.c.run == run,
            table.c.day == key.day,
            table.c.network == key.network,
            table.c.station == key.station,
        )
        found: int | None = connection.execute(query.with_for_update()).scalar_one_or_none()
        if found is None:
            raise InternalError(f"{self._where}: run {run_id} has no unit {key}.")
        return found

    def _with_keys(
        self, connection: sa.Connection, wanted: Collection[Method]
    ) -> dict[Method, int]:
        """Keys of methods, by method; unknown ones are added."""
        keys = dict(self._methods)
        table = schema.method
        for each in sorted(set(wanted) - keys.keys()):
            same = sa.and_(*(table.c[name] == text for name, text in each._asdict().items()))
            connection.execute(self._insert(table).on_conflict_do_nothing(), [each._asdict()])
            keys[each] = connection.execute(sa.select(table.c.key).where(same)).scalar_one()
        return keys

    def _stream(
        self, table: sa.Table, codec: Codec, chosen: sa.ColumnElement[bool], run_id: str
    ) -> Iterator[Any]:
        order = table.c.time if table is schema.pick else table.c.onset
        query = sa.select(*(table.c[name] for name in codec.columns)).where(chosen)
        query = query.order_by(order, table.c.id)
        with self._reading() as connection:
            methods: dict[int, Method] = {
                row.key: Method(*row[1:]) for row in connection.execute(sa.select(schema.method))
            }
            options = {"yield_per": ROWS_AT_ONCE}  # a cursor on the server
            for row in connection.execute(query, execution_options=options):
                yield codec.decode(row, methods, run_id)

    def _statistics(self, run: int) -> Iterator[tuple[UnitKey, StationDay]]:
        table = schema.station_day
        query = (
            sa.select(table, *_UNIT_NAME)
            .join(schema.unit, schema.unit.c.key == table.c.unit)
            .where(schema.unit.c.run == run)
            .order_by(*_UNIT_NAME, table.c.location, table.c.prefix)
        )
        with self._reading() as connection:
            options = {"yield_per": ROWS_AT_ONCE}
            for row in connection.execute(query, execution_options=options):
                yield (
                    UnitKey(row.network, row.station, row.day),
                    StationDay(
                        Instrument(row.network, row.station, row.location, row.prefix),
                        row.samples,
                        row.covered_s,
                        row.gaps,
                        row.windows,
                        row.picks,
                        row.detections,
                        row.skipped,
                    ),
                )


_PLANNED: Final[Mapping[str, Any]] = {
    "state": "planned",
    "attempts": 0,
    "reason": "",
    "picks": 0,
    "detections": 0,
    "seconds": 0.0,
}


def _unit_keys(connection: sa.Connection, run: int) -> Iterator[UnitKey]:
    query = sa.select(*_UNIT_NAME).where(schema.unit.c.run == run)
    return (UnitKey(row.network, row.station, row.day) for row in connection.execute(query))


def _record(row: Any) -> RunRecord:
    return RunRecord(**{name: getattr(row, name) for name in _RUN})


def _day_row(day: StationDay, unit: int) -> dict[str, Any]:
    return {
        "unit": unit,
        "location": day.instrument.location,
        "prefix": day.instrument.prefix,
        "samples": int(day.samples),
        "covered_s": float(day.covered_s),
        "gaps": int(day.gaps),
        "windows": int(day.windows),
        "picks": int(day.picks),
        "detections": int(day.detections),
        "skipped": {reason: int(count) for reason, count in day.skipped.items()},
    }


def _chosen(
    table: sa.Table,
    time: str,
    run: int,
    networks: Collection[str] | None,
    stations: Collection[str] | None,
    start: UTCDateTime | None,
    end: UTCDateTime | None,
) -> sa.ColumnElement[bool]:
    """Condition on rows. Times are compared exactly; the rounded ones let an index be used."""
    conditions = [table.c.run == run]
    if networks is not None:
        conditions.append(table.c.network.in_(sorted(networks)))
    if stations is not None:
        conditions.append(table.c.station.in_(sorted(stations)))
    exact = table.c[f"{time}_ns"]
    if start is not None:
        conditions += [exact >= to_ns(start), table.c[time] >= to_datetime(start)]
    if end is not None:
        conditions += [exact < to_ns(end), table.c[time] <= to_datetime(end)]
    return sa.and_(*conditions)
