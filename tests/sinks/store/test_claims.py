"""One process writes a run, whatever becomes of the server."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer
from sqlalchemy import event
from store_results import make_result, make_run, make_units

from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.sinks.store import claims, open_store
from ml_prediction.sinks.store.sql import SqlStore

HELD = "SELECT 1"
"""What a writer asks before each unit, to know whether the run is still its own."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.5)


def test_two_writers_of_a_run_are_one_too_many(url: str, tmp_path: Path) -> None:
    with open_store(url) as first, open_store(url) as second, open_store(url) as third:
        first.begin(make_run(), [], resume=False)
        with pytest.raises(ConfigurationError, match=r"Another process is writing (this )?run"):
            second.begin(make_run(), [], resume=True)
        third.begin(make_run(run_id="june"), [], resume=False)
        first.begin(make_run(), [], resume=True)
        first.close()
        second.begin(make_run(), [], resume=True)
    assert not list(tmp_path.glob("*.lock"))


def test_a_second_writer_that_is_refused_plans_nothing(tmp_path: Path) -> None:
    path, units = str(tmp_path / "p.db"), make_units(1, 2)
    with open_store(path) as store, open_store(path) as other:
        store.begin(make_run(), units[:1], resume=False)
        with pytest.raises(ConfigurationError, match="Another process is writing"):
            other.begin(make_run(), units, resume=True)
        assert [state.key for state in store.states()] == units[:1]


def test_two_names_of_one_database_are_one(tmp_path: Path) -> None:
    url, other = (f"sqlite:///{tmp_path / name}" for name in ("p.db", "link.db"))
    (tmp_path / "link.db").symlink_to(tmp_path / "p.db")
    with open_store(url) as first, open_store(other) as second:
        first.begin(make_run(), make_units(1, 1), resume=False)
        with pytest.raises(ConfigurationError, match="Another process is writing"):
            second.begin(make_run(), [], resume=True)


@pytest.mark.slow
def test_a_server_that_begins_anew_lets_one_writer_go_on(
    postgres: PostgresServer, make_url: Any
) -> None:
    url = make_url("postgresql")
    (unit,) = make_units(1, 1)
    with open_store(url) as first, open_store(url) as second:
        first.begin(make_run(), [unit], resume=False)
        postgres.kill()
        postgres.start()
        second.begin(make_run(), [unit], resume=True)
        with pytest.raises(ServiceError, match=r"Another process.*started anew"):
            first.write(make_result(unit))
        with pytest.raises(ServiceError, match=r"Another process.*started anew"):
            first.fail(unit, "reason", 1)
        second.close()
        first.write(make_result(unit))
        with open_store(url) as third, pytest.raises(ConfigurationError, match="Another process"):
            third.begin(make_run(), [unit], resume=True)


def test_a_connection_that_is_lost_does_not_stand_in_its_own_way(make_url: Any) -> None:
    """The server may take its time to notice, and keeps the run for the old one until then."""
    url = make_url("postgresql")
    (unit,) = make_units(1, 1)
    with SqlStore(url) as store, ExitStack() as stack:
        store.begin(make_run(), [unit], resume=False)
        claim: Any = None

        @event.listens_for(store._engine, "before_cursor_execute")
        def lose(connection: sa.Connection, _: Any, statement: str, *__: Any) -> None:
            nonlocal claim
            if statement == HELD and claim is None:
                claim = connection.connection.dbapi_connection
                number = claim.fileno()
                stack.callback(os.close, os.dup(number))  # so the server does not miss us
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, number)
                os.close(nothing)

        store.write(make_result(unit))
        assert claim is not None
        with open_store(url) as other, pytest.raises(ConfigurationError, match="Another process"):
            other.begin(make_run(), [unit], resume=True)
        assert len(list(store.picks())) == 5


@pytest.mark.parametrize("name", ["picks.db", "picks"])
def test_a_file_system_without_locks_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    (unit,) = make_units(1, 1)
    with open_store(str(tmp_path / name)) as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
    (told,) = caplog.messages
    assert str(tmp_path / name) in told
    assert "one process alone" in told
