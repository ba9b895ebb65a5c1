"""Databases and disks that fail: errors that say what to do, and nothing half-written."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer
from sqlalchemy import event
from store_results import contents, make_result, make_run, make_units

from ml_prediction.errors import ConfigurationError, DataError, MLPredictionError, ServiceError
from ml_prediction.sinks.store import UnitState, engines, open_store, without_password
from ml_prediction.sinks.store.sql import SqlStore
from ml_prediction.util.files import write_whole

HELD = "SELECT 1"
"""What a writer asks before each unit, to know whether the run is still its own."""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/picks", "mysql:// is no store: choose sqlite"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://host/picks.db", "names no file"),
        ("parquet://", "names no folder"),
        ("parquet://host/picks", "names no folder"),
        ("postgresql://user:p@ss:word@host:port/x", "can't be understood"),
        ("", "names no folder"),
        ("sqlite:///picks.db?timeout=soon", "the one option"),
        ("sqlite:///picks.db?mode=ro", "the one option"),
        ("postgresql://user:word@host:99999/x", "1 to 65535"),
        ("postgresql://user:word@localhost/x?foo=1", "mend its options"),
        ("postgresql://user:word@localhost/x?connect_timeout=soon", "mend its options"),
        ("postgresql://user:word@localhost/x?sslmode=perhaps", "mend its options"),
        ("postgresql://user:word@localhost/x?port=99999", "mend its options"),
        ("postgresql://user:word@localhost/x?host=a,b,c&port=1,2", "mend the URL"),
    ],
)
def test_urls_that_are_none(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_store(url)
    assert "word" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_paths_are_urls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("a.db", f"{tmp_path}/b.sqlite", "c", f"{tmp_path}/d e.f"):
        open_store(path).close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.db", "b.sqlite", "c", "d e.f"]
    assert (tmp_path / "c" / "store.json").is_file()


def test_psycopg_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ml-prediction\[postgres\]'"):
        open_store("postgresql://user@localhost/picks")


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database\n" * 100)
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        open_store(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(ConfigurationError, match="not a store and not empty"):
        open_store(f"parquet:///{tmp_path}")
    with pytest.raises(ConfigurationError, match=r"can't be made|choose another"):
        open_store(f"sqlite:///{tmp_path}/notes.db/picks.db")
    with pytest.raises(ConfigurationError, match="choose another"):
        open_store(f"parquet:///{tmp_path}/notes.db/picks")


def test_a_database_that_is_refused_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE run (x)")
    content = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"\(run\): choose another file"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writing", [False, True], ids=["nobody writes", "somebody writes"])
def test_a_file_that_can_not_be_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writing: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'a b#.db'}"
    (unit,) = make_units(1, 1)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(url))
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
        if not writing:
            stack.close()
        before = sorted(tmp_path.iterdir())
        monkeypatch.setattr(engines, "_writable", lambda _: False)
        with open_store(url, create=False) as reader:
            assert [pick.id for pick in reader.picks()] == [p.id for p in make_result(unit).picks]
            assert sorted(tmp_path.iterdir()) == before
            with pytest.raises(ConfigurationError, match="can't be written to"):
                reader.begin(make_run(run_id="june"), [unit], resume=False)


def test_a_newer_folder_is_refused(tmp_path: Path) -> None:
    open_store(f"parquet:///{tmp_path}/picks").close()
    (tmp_path / "picks/store.json").write_text('{"format": "ml_prediction store", "version": 9}')
    with pytest.raises(ConfigurationError, match="newer version"):
        open_store(f"parquet:///{tmp_path}/picks")


def test_an_older_folder_becomes_a_new_one_when_it_is_written_to(tmp_path: Path) -> None:
    url, mark = f"parquet:///{tmp_path}/picks", tmp_path / "picks" / "store.json"
    units = make_units(2, 1)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0]))
    mark.write_text('{"format": "ml_prediction store", "version": 1}')
    journal = tmp_path / "picks" / "runs" / "may.jsonl"
    journal.write_text(journal.read_text().replace(', "files": ""', ""))
    with open_store(url, create=False) as store:
        assert [state.state for state in store.states()] == ["done", "planned"]
        assert '"version": 1' in mark.read_text()
        store.begin(make_run(), units, resume=True)
        store.write(make_result(units[1], files="0123"))
        assert [state.files for state in store.states()] == ["", "0123"]
    assert '"version": 2' in mark.read_text()


def test_a_locked_file_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "picks.db"
    (unit,) = make_units(1, 1)
    with open_store(f"sqlite:///{path}?timeout=0.1") as store:
        store.begin(make_run(), [unit], resume=False)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError, match="another program keeps it locked"):
            store.write(make_result(unit))
        assert store.states() == [UnitState(unit, "planned")]
        other.execute("ROLLBACK")
        other.close()
        store.write(make_result(unit))
        assert len(list(store.picks())) == 5


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "picks.db"
    (unit,) = make_units(1, 1)
    with open_store(f"sqlite:///{path}") as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with open_store(f"sqlite:///{path}?timeout=0.1", create=False) as store:
        assert len(list(store.picks())) == 5
    writer.close()


def test_a_full_disk_can_be_tried_again(tmp_path: Path) -> None:
    full, roomy = make_units(2, 1)
    with SqlStore(f"sqlite:///{tmp_path}/picks.db") as store:
        store.begin(make_run(), [full, roomy], resume=False)
        store.write(make_result(roomy))
        before = contents(store)
        engine = store._engine

        @event.listens_for(engine, "begin")
        def limit(connection: sa.Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(ServiceError, match="disk is full"):
            store.write(make_result(full, count=2000))
        assert contents(store) == before
        event.remove(engine, "begin", limit)
        engine.dispose()
        store.write(make_result(full, count=2000))
        assert len(list(store.picks())) == 2005


@pytest.mark.parametrize("failing", range(1, 20))
def test_a_disk_of_parquet_files_that_fails_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whichever flush of a unit's files, folders and journal fails."""
    unit, other = make_units(2, 1)
    url = f"parquet:///{tmp_path}/picks"
    with open_store(url) as store:
        store.begin(make_run(), [unit, other], resume=False)
        store.write(make_result(other))
        before = contents(store)
        whole, left = os.fsync, failing

        def fsync(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            whole(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fsync)
            failed = False
            with suppress(ServiceError):  # a folder that can't be flushed is no obstacle
                failed = True
                store.write(make_result(unit))
                failed = False
        if failed:
            assert contents(store) == before
            with open_store(url) as reader:
                assert contents(reader) == before
        store.write(make_result(unit))
        assert len(list(store.picks())) == 10
    assert not list(tmp_path.rglob("*.part"))


def test_a_journal_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    url = f"parquet:///{tmp_path}/picks"
    units = make_units(3, 1)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0]))
        store.write(make_result(units[1]))
    journal = tmp_path / "picks/runs/may.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    with open_store(url) as reader:
        assert [state.state for state in reader.states()] == ["done", "planned", "planned"]
        assert len(list(reader.picks())) == 5
    with open_store(url) as store:
        store.begin(make_run(), units, resume=True)
        store.write(make_result(units[1]))
        assert [state.state for state in store.states()] == ["done", "done", "planned"]
    with open_store(url) as reader:
        assert [state.state for state in reader.states()] == ["done", "done", "planned"]


def test_damage_is_named(tmp_path: Path) -> None:
    url = f"parquet:///{tmp_path}/picks"
    (unit,) = make_units(1, 1)
    with open_store(url) as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
    (file,) = tmp_path.glob("picks/picks/*/*/*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with open_store(url) as store:
        with pytest.raises(DataError, match=r"S0@may.parquet is missing or damaged"):
            list(store.picks())
        file.unlink()
        with pytest.raises(DataError, match=r"S0@may.parquet is missing or damaged"):
            list(store.picks())
    journal = tmp_path / "picks/runs/may.jsonl"
    journal.write_bytes(b"{}\n" + journal.read_bytes())
    with open_store(url) as store, pytest.raises(DataError, match="line 1: damaged"):
        store.states()


@pytest.mark.parametrize(
    ("database", "password", "kind", "said"),
    [
        ("postgres", "wrong", ConfigurationError, "check user and password"),
        ("nothing", None, ConfigurationError, "createdb"),
    ],
    ids=["password", "database"],
)
def test_servers_that_refuse(
    postgres: PostgresServer,
    database: str,
    password: str | None,
    kind: type[MLPredictionError],
    said: str,
) -> None:
    url = postgres.plain_url(database, password) if password else postgres.plain_url(database)
    with pytest.raises(kind, match=said) as caught:
        open_store(url)
    assert "wrong" not in str(caught.value)
    assert "p@ss" not in str(caught.value)


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    with pytest.raises(ServiceError, match="is the server running"):
        open_store("postgresql://picker:secret@127.0.0.1:9/picks")


def test_a_user_that_may_not_write_is_told(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    engine.dispose()
    host = url.rpartition("@")[2]
    with pytest.raises(ConfigurationError, match="GRANT"):
        open_store(f"postgresql://guest:guest@{host}")


def test_a_connection_that_ends_in_the_middle_leaves_nothing(make_url: Any) -> None:
    """Before each statement of a unit in turn; the same object goes on afterwards."""
    url = make_url("postgresql")
    unit, other = make_units(2, 1)
    statements = 0
    with SqlStore(url) as store:
        store.begin(make_run(), [unit, other], resume=False)
        store.write(make_result(other))
        before = contents(store)
        for last in range(1, 12):
            statements = 0

            def cut(
                connection: sa.Connection, _: Any, statement: str, *__: Any, last: int = last
            ) -> None:
                nonlocal statements
                statements += statement != HELD
                if statements == last:
                    driver: Any = connection.connection.driver_connection
                    pid = driver.info.backend_pid
                    with psycopg.connect(url) as killer:
                        killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

            event.listen(store._engine, "before_cursor_execute", cut)
            try:
                store.write(make_result(unit))
            except ServiceError:
                pass
            else:
                break
            finally:
                event.remove(store._engine, "before_cursor_execute", cut)
            assert contents(store) == before
        assert 5 < last < 11
        assert len(list(store.picks())) == 10


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_nothing_half_written(
    postgres: PostgresServer, make_url: Any
) -> None:
    url = make_url("postgresql")
    units = make_units(2, 1)
    with SqlStore(url) as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0]))
        before = contents(store)
        done = False

        @event.listens_for(store._engine, "after_cursor_execute")
        def kill(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
            nonlocal done
            if statement.startswith("INSERT INTO pick") and not done:
                done = True
                postgres.kill()

        with pytest.raises(ServiceError):
            store.write(make_result(units[1]))
        assert done
        with pytest.raises(ServiceError, match="is the server running"):
            store.write(make_result(units[1]))
        postgres.start()
        assert contents(store) == before
        store.write(make_result(units[1]))
        assert len(list(store.picks())) == 10


def test_a_database_of_somebody_else_is_not_touched_by_readers(tmp_path: Path) -> None:
    foreign, empty = tmp_path / "foreign.db", tmp_path / "empty.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    empty.touch()
    for path in (foreign, empty):
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match=f"{path} is not a store"):
            open_store(str(path), create=False)
        assert path.read_bytes() == before


def test_a_run_deleted_without_foreign_keys_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    path, (unit,) = tmp_path / "p.db", make_units(1, 1)
    with open_store(str(path)) as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DELETE FROM run")
    connection.close()
    with open_store(str(path)) as store:
        store.begin(make_run(run_id="june"), [unit], resume=False)
        assert [state.state for state in store.states()] == ["planned"]
        assert not list(store.picks())
        assert not list(store.statistics())


def test_a_folder_that_another_process_makes_at_the_same_time_is_one_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: Path, data: bytes, **options: Any) -> None:
        write_whole(path, data, **options)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("ml_prediction.sinks.store.parquet.write_whole", late)
        open_store(str(tmp_path / "store")).close()
    with open_store(str(tmp_path / "store"), create=False) as store:
        assert store.runs() == []


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"version": 1}', '{"format": "ml_prediction store"}']
)
def test_a_mark_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"store.json is not of a store"):
        open_store(str(tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:se/cr@et@host/name",
        "postgresql://host/name?user=u&password=se/cr@et",
        "postgresql://host/name?sslpassword=se/cr@et&user=u",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    shown = without_password(url)
    assert "cr" not in shown
    assert "***" in shown
    assert shown.startswith("postgresql://")
