"""The tables. A migration never changes and never imports the schema, which does."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _codes() -> list[sa.Column[Any]]:
    return [_needed(name, _TEXT) for name in ("network", "station", "location", "channel")]


def _references(table: str) -> list[Any]:
    return [
        _needed("id", _TEXT),
        _needed("run", sa.Integer()),
        _needed("unit", sa.Integer()),
        _needed("method", sa.Integer()),
        sa.PrimaryKeyConstraint("id", "run", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["unit"], ["unit.key"], name=f"fk_{table}_unit", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["method"], ["method.key"], name=f"fk_{table}_method"),
    ]


def _indices(table: str, time: str) -> None:
    for columns in ((time,), ("run", time), ("network", "station", time), ("unit",)):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "run",
        sa.Column("key", sa.Integer()),
        _needed("run_id", _TEXT),
        _needed("created", _TIME),
        _needed("root", _TEXT),
        _needed("config_hash", _TEXT),
        _needed("config", _JSON),
        _needed("models", _JSON),
        _needed("versions", _JSON),
        sa.PrimaryKeyConstraint("key", name="pk_run"),
        sa.UniqueConstraint("run_id", name="uq_run_run_id"),
    )
    method = ("model", "weights", "weights_sha256", "versions", "config_hash")
    op.create_table(
        "method",
        sa.Column("key", sa.Integer()),
        *(_needed(name, _TEXT) for name in method),
        sa.PrimaryKeyConstraint("key", name="pk_method"),
        sa.UniqueConstraint(*method, name=f"uq_method_{'_'.join(method)}"),
    )
    op.create_table(
        "unit",
        sa.Column("key", sa.Integer()),
        _needed("run", sa.Integer()),
        _needed("network", _TEXT),
        _needed("station", _TEXT),
        _needed("day", sa.Date()),
        _needed("state", _TEXT),
        _needed("attempts", sa.Integer()),
        _needed("reason", _TEXT),
        _needed("picks", sa.Integer()),
        _needed("detections", sa.Integer()),
        _needed("seconds", sa.Double()),
        sa.Column("finished", _TIME),
        sa.PrimaryKeyConstraint("key", name="pk_unit"),
        sa.ForeignKeyConstraint(["run"], ["run.key"], name="fk_unit_run", ondelete="CASCADE"),
        sa.UniqueConstraint(
            "run", "day", "network", "station", name="uq_unit_run_day_network_station"
        ),
        sa.CheckConstraint("state IN ('planned', 'done', 'failed')", name=op.f("ck_unit_state")),
    )
    op.create_table(
        "pick",
        *_references("pick"),
        *_codes(),
        _needed("phase", _TEXT),
        _needed("time", _TIME),
        _needed("time_ns", sa.BigInteger()),
        sa.Column("sigma", sa.Double()),
        sa.Column("probability", sa.Double()),
        sa.Column("scale", sa.Double()),
        _needed("quality", sa.SmallInteger()),
        _needed("onset_ns", sa.BigInteger()),
        _needed("end_ns", sa.BigInteger()),
        sa.Column("misfit", sa.Double()),
        _needed("polarity", _TEXT),
        sa.Column("amplitude", sa.Double()),
        sa.Column("snr", sa.Double()),
        _needed("peak_time_ns", sa.BigInteger()),
        sa.Column("width", sa.Double()),
        sa.Column("mu_error", sa.Double()),
        _needed("fit_ok", sa.Boolean()),
        sa.Column("coverage", sa.Double()),
        _needed("members", _JSON),
        sa.Column("detection_id", _TEXT),
        sa.Column("polarity_confidence", sa.Double()),
        sa.Column("amplitude_physical", sa.Double()),
        sa.Column("amplitude_unit", _TEXT),
    )
    _indices("pick", "time")
    op.create_table(
        "detection",
        *_references("detection"),
        *_codes(),
        _needed("onset", _TIME),
        _needed("onset_ns", sa.BigInteger()),
        _needed("end_ns", sa.BigInteger()),
        sa.Column("probability", sa.Double()),
        _needed("peak_time_ns", sa.BigInteger()),
        _needed("pick_ids", _JSON),
    )
    _indices("detection", "onset")
    op.create_table(
        "station_day",
        _needed("unit", sa.Integer()),
        _needed("location", _TEXT),
        _needed("prefix", _TEXT),
        _needed("samples", sa.BigInteger()),
        _needed("covered_s", sa.Double()),
        _needed("gaps", sa.Integer()),
        _needed("windows", sa.Integer()),
        _needed("picks", sa.Integer()),
        _needed("detections", sa.Integer()),
        _needed("skipped", _JSON),
        sa.PrimaryKeyConstraint("unit", "location", "prefix", name="pk_station_day"),
        sa.ForeignKeyConstraint(
            ["unit"], ["unit.key"], name="fk_station_day_unit", ondelete="CASCADE"
        ),
    )
