"""The schema is made by migrations, brought up to date, and refused where it is newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_results import contents, make_result, make_run, make_units

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store import open_store, schema_version
from ml_prediction.sinks.store.engines import IMMEDIATE, make_engine
from ml_prediction.sinks.store.schema import VERSION_TABLE, metadata
from ml_prediction.sinks.store.schema_version import HEAD, current, upgrade

SQL = ["sqlite", "postgresql"]


@pytest.mark.parametrize("kind", SQL)
def test_migrations_make_what_the_schema_says(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    open_store(url).close()
    engine, _ = make_engine(url, create=False)
    with engine.connect() as connection:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert current(connection) == HEAD
        # What Alembic doesn't compare:
        for table in metadata.tables:
            checks = sa.inspect(connection).get_check_constraints(table)
            assert {c["name"] for c in checks} == ({"ck_unit_state"} if table == "unit" else set())
            for key in sa.inspect(connection).get_foreign_keys(table):
                options = {} if key["referred_table"] == "method" else {"ondelete": "CASCADE"}
                assert key["options"] == options
    engine.dispose()


@pytest.mark.parametrize("kind", SQL)
def test_an_older_schema_is_brought_up_to_date_with_all_it_holds(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    engine, where = make_engine(url, create=True)
    with engine.connect().execution_options(**IMMEDIATE) as connection:
        upgrade(connection, where, revision="0001")
        connection.commit()
        assert current(connection) == "0001"
        assert not sa.inspect(connection).get_view_names()
    engine.dispose()
    (unit,) = make_units(1, 1)
    with open_store(url) as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit))
        before = contents(store)
    with engine.begin() as connection:  # back to the first
        for view in sa.inspect(connection).get_view_names():
            connection.exec_driver_sql(f"DROP VIEW {view}")
        connection.exec_driver_sql("ALTER TABLE unit DROP COLUMN files")
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    engine.dispose()
    with open_store(url, create=False) as store:
        assert contents(store) == before
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM picks").scalar() == 5
        assert current(connection) == HEAD
    engine.dispose()


def test_the_newest_migration_is_known() -> None:
    migrations = Path(schema_version.__file__).with_name("migrations")
    assert ScriptDirectory(str(migrations)).get_heads() == [HEAD]


@pytest.mark.parametrize("kind", SQL)
def test_a_newer_schema_is_refused(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    open_store(url).close()
    engine, _ = make_engine(url, create=False)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigurationError, match=r"newer version .*schema 9999.*update"):
        open_store(url)


@pytest.mark.parametrize("kind", SQL)
def test_tables_of_another_program_are_left_alone(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    engine, _ = make_engine(url, create=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE run (number integer)")
    with pytest.raises(ConfigurationError, match=r"tables of another program \(run\)"):
        open_store(url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["run"]
    engine.dispose()


@pytest.mark.parametrize("kind", SQL)
def test_deleting_a_run_deletes_all_of_it(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    (unit,) = make_units(1, 1)
    with open_store(url) as store:
        for run_id in ("a", "b"):
            store.begin(make_run(run_id=run_id), [unit], resume=False)
            store.write(make_result(unit, run_id))
    engine, _ = make_engine(url, create=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run WHERE run_id = 'a'")
        for view, count in (("picks", 5), ("detections", 3), ("units", 1), ("station_days", 2)):
            found = connection.exec_driver_sql(f"SELECT run_id FROM {view}").scalars().all()
            assert found == ["b"] * count
    engine.dispose()


@pytest.mark.parametrize("kind", SQL)
def test_people_can_ask_in_sql(kind: str, make_url: Any) -> None:
    url = make_url(kind)
    units = make_units(2, 2)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=False)
        for unit in units:
            store.write(make_result(unit))
    engine, _ = make_engine(url, create=False)
    query = """
        SELECT station, count(*) FROM picks
        WHERE run_id = 'may' AND network = 'UW' AND model = 'EQTransformer'
              AND time >= '2017-05-02 00:00' AND time < '2017-05-02 03:30'
        GROUP BY station ORDER BY station
        """
    with engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == [("S0", 3), ("S1", 3)]
    engine.dispose()
