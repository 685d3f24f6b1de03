"""sub-pieces: the confirmed segments of aggregates

Revision: 202611251030, after 202611251015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611251030"
down_revision = "202611251015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it. There is no way back but a backup. Pieces verified earlier are looked into again, one after the other."""
    op.create_table(
        "piece_indexes",
        sa.Column("outer_cid", sa.String(length=200), nullable=False),
        sa.Column("outer_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("fault_count", sa.Integer(), nullable=False),
        sa.Column("faults", sa.Text(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("outer_cid", "outer_size", name=op.f("pk_piece_indexes")),
    )
    op.create_table(
        "sub_pieces",
        sa.Column("outer_cid", sa.String(length=200), nullable=False),
        sa.Column("outer_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("piece_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("padded_size", sa.BigInteger(), nullable=False),
        sa.Column("piece_cid", sa.String(length=200), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("payload_size", sa.BigInteger(), nullable=True),
        sa.Column("roots", sa.Text(), nullable=False),
        sa.Column("confirmed_by", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint(
            "outer_cid", "outer_size", "piece_offset", name=op.f("pk_sub_pieces")
        ),
    )
    op.create_index("ix_sub_pieces_piece_cid", "sub_pieces", ["piece_cid"])
