"""traced executions: those whose results were not looked at yet are found without going through all

Revision: 202611251015, after 202611250535
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611251015"
down_revision = "202611250535"
branch_labels = None
depends_on = None

_UNTRACED = sa.text("state = 9 AND NOT traced")


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    column: sa.Column[bool] = sa.Column(
        "traced", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("executions", column)
    op.execute("UPDATE executions SET traced = true WHERE id IN (SELECT execution_id FROM outputs)")
    op.create_index(
        "ix_executions_untraced",
        "executions",
        ["modified_at", "id"],
        sqlite_where=_UNTRACED,
        postgresql_where=_UNTRACED,
    )
