"""Connections to SQLite files and PostgreSQL servers."""

from __future__ import annotations

import math
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store.checks import without_password
from ml_prediction.sinks.store.schema import VERSION_TABLE
from ml_prediction.util.files import make_result_folder

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
    place = parsed(url)
    shown = without_password(place.render_as_string(hide_password=True))
    path = file_of(place)
    return (_postgresql(place) if path is None else _sqlite(place, path, create)), shown


def parsed(url: str) -> URL:
    """Parts of the URL of a database.

    Raises
    ------
    ConfigurationError
        If it can't be understood, names no file, or has options that there aren't.
    """
    try:
        place = make_url(url)
        port = place.port
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            f"{url.partition(':')[0]}://...: the URL can't be understood; e.g. "
            "postgresql://user@host:5432/name, with special characters as %XX."
        ) from error
    if port is not None and not 0 < port < 65536:
        raise ConfigurationError(f"{without_password(url)}: a port is from 1 to 65535.")
    if place.get_backend_name() == "sqlite":
        if not place.database or place.database == ":memory:" or place.host:
            raise ConfigurationError(
                f"{url} names no file: write sqlite:///picks.db, or sqlite:////path/to/picks.db."
            )
        if place.query.keys() - {"timeout"} or not 0 <= _timeout(place) < 1e6:
            raise ConfigurationError(
                f"{url}: the one option is ?timeout=SECONDS, to wait for others that write."
            )
    return place


def _timeout(place: URL) -> float:
    """Seconds that SQLite waits for others to finish writing; NaN if it makes no sense."""
    try:
        return float(str(place.query.get("timeout", PATIENCE_S)))
    except ValueError:
        return math.nan


def file_of(place: URL) -> Path | None:
    """The file of SQLite; None for other databases."""
    is_file = place.get_backend_name() == "sqlite"
    return Path(place.database) if is_file and place.database else None


def _sqlite(url: URL, path: Path, create: bool) -> sa.Engine:
    if create:
        make_result_folder(path.parent)
    elif not path.exists():
        raise ConfigurationError(f"There is no store {path}: check the path.")
    timeout = _timeout(url)
    url = url.update_query_dict({"timeout": str(timeout)}).set(drivername="sqlite+pysqlite")
    if create or _writable(path):
        engine = sa.create_engine(url)
    else:
        engine = sa.create_engine(url, creator=partial(_unchanging, path, timeout))
    wal = create and not _foreign(path)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, so that migrations are whole, too
        cursor = connection.cursor()
        if wal:  # a store has it for good; what is none is left as it is
            cursor.execute("PRAGMA journal_mode = WAL")  # one writes while others read
        cursor.execute("PRAGMA synchronous = FULL")  # a done unit outlives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        kind = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def _writable(path: Path) -> bool:
    """Whether SQLite may write a file, and those that it makes beside it also when it reads."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _unchanging(path: Path, timeout: float) -> sqlite3.Connection:
    """Connection to a file that we can't write.

    While others write it they have a log beside it, which can be read where it is. Without a
    log nobody does, and nothing is made beside it.
    """
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    where = f"file:{quote(os.path.realpath(path))}?{mode}"
    return sqlite3.connect(where, timeout, uri=True, check_same_thread=False)


def _foreign(path: Path) -> bool:
    """Whether a file is a database of another program, or none at all."""
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(path, PATIENCE_S)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = {name for (name,) in connection.execute(query)}
    except sqlite3.Error:  # which is told when it is opened
        return True
    return bool(tables) and VERSION_TABLE not in tables


def _postgresql(url: URL) -> sa.Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "PostgreSQL needs psycopg: pip install 'ml-prediction[postgres]', or use SQLite "
            f"({error})."
        ) from error
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # the server may have been started anew since the last unit
            pool_size=2,
        )
    except ArgumentError as error:  # of several hosts
        shown = without_password(url.render_as_string(hide_password=True))
        raise ConfigurationError(f"{shown}: {error}: mend the URL.") from error
