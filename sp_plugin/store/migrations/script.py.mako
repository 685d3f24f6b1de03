"""${message}

Revision: ${up_revision}, after ${down_revision or "nothing"}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    ${upgrades if upgrades else "pass"}
