"""Errors of databases as ours: what happened, and what to do."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from ml_prediction.errors import (
    ConfigurationError,
    DataError,
    InternalError,
    MLPredictionError,
    ServiceError,
)

_AGAIN: Final = "Nothing half-written is left; try again, or give --resume later."

_SQLITE: Final[dict[int, tuple[type[MLPredictionError], str]]] = {
    sqlite3.SQLITE_BUSY: (ServiceError, f"another program keeps it locked. {_AGAIN}"),
    sqlite3.SQLITE_LOCKED: (ServiceError, f"another program keeps it locked. {_AGAIN}"),
    sqlite3.SQLITE_FULL: (ServiceError, f"the disk is full: make room. {_AGAIN}"),
    sqlite3.SQLITE_IOERR: (ServiceError, f"the disk refuses; is it full, or gone? {_AGAIN}"),
    sqlite3.SQLITE_CANTOPEN: (
        ConfigurationError,
        "it can't be opened: check the path and the rights of file and folder (SQLite writes "
        "beside its file, also when it only reads).",
    ),
    sqlite3.SQLITE_PERM: (ConfigurationError, "you may not: change the rights of the file."),
    sqlite3.SQLITE_READONLY: (
        ConfigurationError,
        "it can't be written to: change the rights of file and folder.",
    ),
    sqlite3.SQLITE_NOTADB: (ConfigurationError, "it is not an SQLite database: choose another."),
    sqlite3.SQLITE_CORRUPT: (DataError, "it is damaged: take a backup of it, or begin anew."),
}
"""By primary result code; https://www.sqlite.org/rescode.html."""

_POSTGRES: Final[dict[str, tuple[type[MLPredictionError], str]]] = {
    "08": (ServiceError, f"the connection broke. {_AGAIN}"),
    "22": (DataError, "it can't hold such a value."),
    "25": (ConfigurationError, "it can't be written to: choose one that can."),
    "28": (ConfigurationError, "check user and password (PGPASSWORD, or ~/.pgpass)."),
    "3D": (ConfigurationError, "make the database first (createdb), or check its name."),
    "3F": (ConfigurationError, "make the schema first, or check search_path."),
    "40": (ServiceError, f"somebody else wrote the same. {_AGAIN}"),
    "42501": (ConfigurationError, "GRANT the user CREATE on its schema, and all on its tables."),
    "53": (ServiceError, f"the server lacks room, memory or connections. {_AGAIN}"),
    "55": (ServiceError, f"it is in use. {_AGAIN}"),
    "57": (ServiceError, f"the server was stopped, or ended the connection. {_AGAIN}"),
    "58": (ServiceError, f"the server's disk fails. {_AGAIN}"),
    "URL": (ConfigurationError, "mend its options."),
}
"""By SQLSTATE or its class, and ``URL`` before a server is asked; https://www.postgresql.org/docs/current/errcodes-appendix.html."""

_REFUSALS: Final = {
    "permission denied": "42501",
    "password": "28",
    "authentication": "28",
    "pg_hba.conf": "28",
    "role": "28",
    "database": "3D",
}
"""What servers say when they refuse a connection, the telling words first: there is no SQLSTATE."""

_SENSELESS: Final = re.compile(r"bad value for|invalid [a-z ]*(?:option|value|number)\b")
"""What the client's library says of options before it asks a server."""

_PASSING: Final = ("starting up", "shutting down", "recovery", "too many", "terminating")
"""Refusals that end by themselves, and contain words of the others."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn errors of the database into ours.

    Parameters
    ----------
    where
        URL of the store, without its password.
    """
    try:
        yield
    except DBAPIError as error:
        raise _ours(error, where) from error


def _ours(error: DBAPIError, where: str) -> MLPredictionError:
    said = " ".join(str(error.orig).split())
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0)
        known = _SQLITE.get(code & 0xFF)
    else:
        state = getattr(error.orig, "sqlstate", None) or _guess(said)
        known = _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    if known is None and isinstance(error, OperationalError | InterfaceError):
        known = ServiceError, f"is the server running, and is its address right? {_AGAIN}"
    if known is None:
        what = "A key is taken" if isinstance(error, IntegrityError) else "The database refuses"
        return InternalError(f"{where}: {what}: {said}.")
    kind, advice = known
    return kind(f"{where}: {said.rstrip('.')}: {advice}")


def _guess(said: str) -> str:
    """SQLSTATE of a refused connection, by the words of a server that speaks English."""
    if "FATAL" not in said:
        return "URL" if _SENSELESS.search(said) else ""
    if any(words in said for words in _PASSING):
        return "57"
    return next((state for words, state in _REFUSALS.items() if words in said), "")
