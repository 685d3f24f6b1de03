"""retries that wait: when a queued job may be taken again

Revision: 202611251130, after 202611251120
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611251130"
down_revision = "202611251120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    op.add_column("jobs", sa.Column("not_before", sa.BigInteger(), nullable=True))
