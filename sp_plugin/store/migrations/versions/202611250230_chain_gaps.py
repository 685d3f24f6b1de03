"""chain gaps

Revision: 202611250230, after 202611222201
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611250230"
down_revision = "202611222201"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    op.create_table(
        "chain_gaps",
        sa.Column("provider", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("from_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("to_epoch", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "kind", "from_epoch", name=op.f("pk_chain_gaps")),
    )
