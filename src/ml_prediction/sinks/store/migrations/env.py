"""Alembic's entry: migrations run on the connection that `schema_version.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from ml_prediction.sinks.store.schema import VERSION_TABLE, metadata


def migrate() -> None:
    """Run the migrations that are asked for, in the caller's transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic runs it; anybody else only imports it
    migrate()
