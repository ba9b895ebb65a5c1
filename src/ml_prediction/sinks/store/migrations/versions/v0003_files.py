"""What a unit was made of, so that it is seen when its files are others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column; of older units nothing is known."""
    op.add_column("unit", sa.Column("files", _TEXT, nullable=False, server_default=""))
