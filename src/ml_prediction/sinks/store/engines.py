"""Connections to SQLite files and PostgreSQL servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store.checks import without_password

PATIENCE_S: Final = 30
"""Seconds that SQLite waits for others to finish writing."""

IMMEDIATE: Final = {"sqlite_begin": "IMMEDIATE"}
"""Execution options of a transaction that writes: SQLite then waits for others at its start, and
not in its middle, where it can't."""


def make_engine(url: str, *, create: bool) -> tuple[sa.Engine, str]:
    """Engine for a URL, and the URL for messages, without its password.

    Raises
    ------
    ConfigurationError
        If the URL can't be understood, a library is missing, or there is no file and ``create``
        is False.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            f"{url.partition(':')[0]}://...: the URL can't be understood; e.g. "
            "postgresql://user@host:5432/name, with special characters as %XX."
        ) from error
    shown = without_password(parsed.render_as_string(hide_password=True))
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, create), shown
    return _postgresql(parsed), shown


def _sqlite(url: URL, create: bool) -> sa.Engine:
    name = url.database
    if not name or name == ":memory:" or url.host:
        raise ConfigurationError(
            f"{url} names no file: write sqlite:///picks.db, or sqlite:////path/to/picks.db."
        )
    path = Path(name)
    if not create and not path.exists():
        raise ConfigurationError(f"There is no store {path}: check the path.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"Folder {path.parent} can't be made ({error.strerror}): choose another."
        ) from error
    if "timeout" not in url.query:
        url = url.update_query_dict({"timeout": str(PATIENCE_S)})
    engine = sa.create_engine(url.set(drivername="sqlite+pysqlite"))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, so that migrations are whole, too
        cursor = connection.cursor()
        if create:  # a store has it for good; what is none is left as it is
            cursor.execute("PRAGMA journal_mode = WAL")  # one writes while others read
        cursor.execute("PRAGMA synchronous = FULL")  # a done unit outlives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        kind = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def _postgresql(url: URL) -> sa.Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "PostgreSQL needs psycopg: pip install 'ml-prediction[postgres]', or use SQLite "
            f"({error})."
        ) from error
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,  # the server may have been started anew since the last unit
        pool_size=2,
    )
