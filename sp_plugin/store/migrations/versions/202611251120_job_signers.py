"""job signers: whose Filecoin signature a job came under

Revision: 202611251120, after 202611251030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611251120"
down_revision = "202611251030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup. Jobs of before have no signer: what stood in their Meta was not verified."""
    op.add_column("jobs", sa.Column("signer", sa.String(length=128), nullable=True))
