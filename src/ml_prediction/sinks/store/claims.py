"""One process writes a run: others that try are told so."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.util import locks

# The table's number tells schemas of one database apart.
_NUMBER: Final = "(to_regclass('run')::oid::bigint << 32) | :run"
_LOCK: Final = sa.text(f"SELECT pg_try_advisory_lock({_NUMBER})")
_UNLOCK: Final = sa.text(f"SELECT pg_advisory_unlock({_NUMBER})")

PATIENCE: Final = 5.0
"""Seconds until a server has surely noticed that a process was killed."""


@contextmanager
def claimed(engine: sa.Engine, run: int, run_id: str, where: str) -> Iterator[None]:
    """Keep other processes from writing a run; the claim ends with the process.

    Parameters
    ----------
    engine
        The store's.
    run, run_id
        Key and name of the run.
    where
        The store's URL, for messages.

    Raises
    ------
    ConfigurationError
        If another process writes the run.
    ServiceError
        If the file that says so can't be made.
    """
    taken = _server(engine, run) if engine.dialect.name == "postgresql" else _file(engine, run)
    with taken as free:
        if not free:
            raise ConfigurationError(
                f"Another process is writing run {run_id} in {where}: wait for it, or end it."
            )
        yield


@contextmanager
def _server(engine: sa.Engine, run: int) -> Iterator[bool]:
    """Whether the server gave the lock; it is the connection's, and gone if the server is."""
    numbers = {"run": run}
    until = time.monotonic() + PATIENCE
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # closed at the end, not kept for others with the lock
        while not (free := bool(connection.execute(_LOCK, numbers).scalar_one())):
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        yield free
        if free:
            with suppress(DBAPIError):  # the server may have gone
                connection.execute(_UNLOCK, numbers)


@contextmanager
def _file(engine: sa.Engine, run: int) -> Iterator[bool]:
    """Whether the file beside the database was ours to lock; it is gone at the end."""
    path = Path(f"{os.path.realpath(engine.url.database or '')}-run{run}.lock")
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ServiceError(f"{path} can't be made: {error.strerror}.") from error
        outcome = locks.take(descriptor)
        if outcome == "another's":
            os.close(descriptor)
            yield False
            return
        if outcome == "impossible" or _is(descriptor, path):
            break
        os.close(descriptor)  # of one who has just ended
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
