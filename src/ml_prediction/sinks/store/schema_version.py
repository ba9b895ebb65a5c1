"""The schema of an SQL store: made, brought up to date, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store.schema import VERSION_TABLE, metadata

HEAD: Final = "0003"
"""The newest migration."""

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x6D6C70  # any number that nobody else uses


def upgrade(connection: sa.Connection, where: str, revision: str = HEAD) -> None:
    """Make the schema, or bring an older one up to date, in the transaction of the connection.

    Parameters
    ----------
    connection
        In a transaction, which the caller commits.
    where
        URL for messages.
    revision
        Where to stop.

    Raises
    ------
    ConfigurationError
        If the schema is newer than this version knows, or other programs' tables are in the way.
    """
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":  # else two first runs may both make tables
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    there = current(connection)
    known = {each.revision for each in script.walk_revisions()}
    if there is not None and there not in known:
        raise ConfigurationError(
            f"{where} was made by a newer version of ml_prediction (schema {there}; this one knows "
            f"{HEAD}): update ml_prediction, or choose another store."
        )
    if there is None:
        taken = sorted(set(sa.inspect(connection).get_table_names()) & set(metadata.tables))
        if taken:
            advice = (
                "choose another file."
                if connection.dialect.name == "sqlite"
                else "choose another database, or another schema (?options=-csearch_path%3Dpicks)."
            )
            raise ConfigurationError(
                f"{where} has tables of another program ({', '.join(taken)}): {advice}"
            )
    if there != revision:
        command.upgrade(config, revision)


def current(connection: sa.Connection) -> str | None:
    """Version of the schema; None where there is none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.execute(
        sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    ).scalar()
    return version
