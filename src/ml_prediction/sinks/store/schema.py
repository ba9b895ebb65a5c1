"""Tables of the SQL stores. Migrations make them; a test holds the two together.

::

    run ──< unit ──< pick >── method
                 ──< detection >── method
                 ──< station_day

Times are exact as nanoseconds since 1970 (UTC) in ``*_ns``; ``time`` and ``onset`` are the same to
the microsecond, for people. NaN is NULL. The views (migration 0002) join names to numbers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

VERSION_TABLE: Final = "ml_prediction_schema"
"""Holds the schema's version; not Alembic's usual name, since a database may be shared."""

Text: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")
"""Text sorts by its bytes everywhere, as it does in Python."""

Json: Final = sa.JSON().with_variant(JSONB(), "postgresql")


class Utc(sa.TypeDecorator[datetime]):
    """Time with a time zone, where the database has such a type; UTC in any case."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give SQLite the digits of UTC, others the whole."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Say that it is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _reference(name: str, target: str, **options: Any) -> sa.Column[Any]:
    key = sa.ForeignKey(f"{target}.key", **options)
    return sa.Column(name, sa.Integer, key, nullable=False)


run: Final = sa.Table(
    "run",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    _needed("run_id", Text),
    _needed("created", Utc()),
    _needed("root", Text),
    _needed("config_hash", Text),
    _needed("config", Json),
    _needed("models", Json),
    _needed("versions", Json),
    sa.UniqueConstraint("run_id"),
)

method: Final = sa.Table(
    "method",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    _needed("model", Text),
    _needed("weights", Text),
    _needed("weights_sha256", Text),
    _needed("versions", Text),
    _needed("config_hash", Text),
    sa.UniqueConstraint("model", "weights", "weights_sha256", "versions", "config_hash"),
)
"""What every pick says of its making, once: it is longer than the rest of a pick."""

unit: Final = sa.Table(
    "unit",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    _reference("run", "run", ondelete="CASCADE"),
    _needed("network", Text),
    _needed("station", Text),
    _needed("day", sa.Date),
    _needed("state", Text),
    _needed("attempts", sa.Integer),
    _needed("reason", Text),
    _needed("picks", sa.Integer),
    _needed("detections", sa.Integer),
    _needed("seconds", sa.Double),
    sa.Column("finished", Utc()),
    sa.Column("files", Text, nullable=False, server_default=""),
    sa.UniqueConstraint("run", "day", "network", "station"),
    sa.CheckConstraint("state IN ('planned', 'done', 'failed')", name="state"),
)

pick: Final = sa.Table(
    "pick",
    metadata,
    _needed("id", Text),
    _needed("run", sa.Integer),
    _reference("unit", "unit", ondelete="CASCADE"),
    _reference("method", "method"),
    _needed("network", Text),
    _needed("station", Text),
    _needed("location", Text),
    _needed("channel", Text),
    _needed("phase", Text),
    _needed("time", Utc()),
    _needed("time_ns", sa.BigInteger),
    sa.Column("sigma", sa.Double),
    sa.Column("probability", sa.Double),
    sa.Column("scale", sa.Double),
    _needed("quality", sa.SmallInteger),
    _needed("onset_ns", sa.BigInteger),
    _needed("end_ns", sa.BigInteger),
    sa.Column("misfit", sa.Double),
    _needed("polarity", Text),
    sa.Column("amplitude", sa.Double),
    sa.Column("snr", sa.Double),
    _needed("peak_time_ns", sa.BigInteger),
    sa.Column("width", sa.Double),
    sa.Column("mu_error", sa.Double),
    _needed("fit_ok", sa.Boolean),
    sa.Column("coverage", sa.Double),
    _needed("members", Json),
    sa.Column("detection_id", Text),
    sa.Column("polarity_confidence", sa.Double),
    sa.Column("amplitude_physical", sa.Double),
    sa.Column("amplitude_unit", Text),
    sa.PrimaryKeyConstraint("id", "run"),
    sa.Index(None, "time"),
    sa.Index(None, "run", "time"),
    sa.Index(None, "network", "station", "time"),
    sa.Index(None, "unit"),
)

detection: Final = sa.Table(
    "detection",
    metadata,
    _needed("id", Text),
    _needed("run", sa.Integer),
    _reference("unit", "unit", ondelete="CASCADE"),
    _reference("method", "method"),
    _needed("network", Text),
    _needed("station", Text),
    _needed("location", Text),
    _needed("channel", Text),
    _needed("onset", Utc()),
    _needed("onset_ns", sa.BigInteger),
    _needed("end_ns", sa.BigInteger),
    sa.Column("probability", sa.Double),
    _needed("peak_time_ns", sa.BigInteger),
    _needed("pick_ids", Json),
    sa.PrimaryKeyConstraint("id", "run"),
    sa.Index(None, "onset"),
    sa.Index(None, "run", "onset"),
    sa.Index(None, "network", "station", "onset"),
    sa.Index(None, "unit"),
)

station_day: Final = sa.Table(
    "station_day",
    metadata,
    _reference("unit", "unit", ondelete="CASCADE"),
    _needed("location", Text),
    _needed("prefix", Text),
    _needed("samples", sa.BigInteger),
    _needed("covered_s", sa.Double),
    _needed("gaps", sa.Integer),
    _needed("windows", sa.Integer),
    _needed("picks", sa.Integer),
    _needed("detections", sa.Integer),
    _needed("skipped", Json),
    sa.PrimaryKeyConstraint("unit", "location", "prefix"),
)
