"""unseal requests

Revision: 202611250535, after 202611250530
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611250535"
down_revision = "202611250530"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    op.create_table(
        "unseal_requests",
        sa.Column("provider", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sector", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("asked_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "sector", "asked_at", name=op.f("pk_unseal_requests")),
    )
