"""One process writes a run: others that try are told so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.util import locks

# The table's number tells schemas of one database apart.
_NUMBER: Final = "(to_regclass('run')::oid::bigint << 32) | :run"
_LOCK: Final = sa.text(f"SELECT pg_try_advisory_lock({_NUMBER})")
_UNLOCK: Final = sa.text(f"SELECT pg_advisory_unlock({_NUMBER})")

_WHO: Final = sa.text(
    "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
)
_END: Final = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid = :pid AND backend_start = :backend_start"
)

PATIENCE: Final = 5.0
"""Seconds until a server has surely noticed that a process was killed."""


@contextmanager
def claimed(engine: sa.Engine, run: int, run_id: str, where: str) -> Iterator[Callable[[], None]]:
    """Keep other processes from writing a run; the claim ends with the process.

    Parameters
    ----------
    engine
        The store's.
    run, run_id
        Key and name of the run.
    where
        The store's URL, for messages.

    Yields
    ------
    callable
        To be called before each writing: a server that was started anew has forgotten the claim,
        and it is made again. Raises ``ServiceError`` where somebody else has it by then.

    Raises
    ------
    ConfigurationError
        If another process writes the run.
    ServiceError
        If the file that says so can't be made.
    """
    taken = f"Another process is writing run {run_id} in {where}: wait for it, or end it."
    if engine.dialect.name != "postgresql":
        with _file(engine, run) as free:
            if not free:
                raise ConfigurationError(taken)
            yield lambda: None
        return
    lock = _ServerLock(engine, run)
    try:
        if not lock.take():
            raise ConfigurationError(taken)

        def held() -> None:
            if not (lock.held or lock.take()):
                raise ServiceError(f"{taken} It began when the server was started anew.")

        yield held
    finally:
        lock.release()


class _ServerLock:
    """A lock that a server gives to a connection: it is gone when the server or that is."""

    def __init__(self, engine: sa.Engine, run: int) -> None:
        self._engine, self._numbers = engine, {"run": run}
        self._connection: sa.Connection | None = None
        self._driver: Any = None  # what SQLAlchemy forgets, and does not close, once it is lost
        self._session: dict[str, Any] | None = None

    def take(self) -> bool:
        """Try to get it, and wait a little for one who has just ended."""
        self._drop()
        connection = self._engine.connect()
        try:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # closed at the end, not kept for others with the lock
            if self._session is not None:  # the server may not have missed us yet
                connection.execute(_END, self._session)
            until = time.monotonic() + PATIENCE
            while not connection.execute(_LOCK, self._numbers).scalar_one():
                if time.monotonic() > until:
                    connection.close()
                    return False
                time.sleep(0.1)
            self._session = dict(connection.execute(_WHO).one()._mapping)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._driver = connection.connection.dbapi_connection
        return True

    @property
    def held(self) -> bool:
        """Whether the server still knows the connection."""
        if self._connection is None:
            return False
        try:
            self._connection.execute(sa.text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._connection is not None:
            with suppress(DBAPIError):  # the server may have gone
                self._connection.execute(_UNLOCK, self._numbers)
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.close()
            self._driver.close()


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
        if outcome == "impossible":
            locks.warn_of_none(Path(engine.url.database or ""))
            break
        if _is(descriptor, path):
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
