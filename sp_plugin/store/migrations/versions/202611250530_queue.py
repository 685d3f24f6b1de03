"""queue: shares by submitter, deadlines, labels, lists

Revision: 202611250530, after 202611250230
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "202611250530"
down_revision = "202611250230"
branch_labels = None
depends_on = None

_BATCH = 200


def upgrade() -> None:
    """Apply it. There is no way back but a backup."""
    op.create_table(
        "job_labels",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_labels_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_labels")),
    )
    op.create_table(
        "submitter_hours",
        sa.Column("submitter", sa.String(length=256), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("compute_ms", sa.BigInteger(), nullable=False),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_start", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("submitter", "hour", name=op.f("pk_submitter_hours")),
    )
    for column in (
        sa.Column("spec_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("timed_out", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("first_queued_at", sa.BigInteger()),
        sa.Column("total_deadline", sa.BigInteger()),
        sa.Column("deadline", sa.BigInteger()),
    ):
        op.add_column("jobs", column)
    op.execute("UPDATE jobs SET submitter = '' WHERE submitter IS NULL")
    _fill()
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index("ix_jobs_queue", "jobs", ["state", "submitter", "priority", "created_at"])
    op.create_index("ix_jobs_created", "jobs", ["created_at", "id", "spec_bytes"])
    op.create_index("ix_jobs_modified", "jobs", ["modified_at", "id", "spec_bytes"])
    op.create_index("ix_jobs_name", "jobs", ["name"])
    op.create_index("ix_jobs_deadline", "jobs", ["deadline"])


def _fill() -> None:
    """Bring the jobs that are there into the shape of new ones, some at a time."""
    jobs = sa.table("jobs", *map(sa.column, ("id", "name", "namespace", "spec", "spec_bytes")))
    labels = sa.table("job_labels", *map(sa.column, ("job_id", "key", "value")))
    connection, last = op.get_bind(), ""
    while True:
        query = sa.select(jobs).where(jobs.c.id > last).order_by(jobs.c.id).limit(_BATCH)
        rows = connection.execute(query).all()
        if not rows:
            return
        for row in rows:
            last = row.id
            spec = json.loads(row.spec) | {"Name": row.name, "Namespace": row.namespace}
            for key, empty in (("Meta", {}), ("Labels", {}), ("Constraints", []), ("Tasks", [])):
                spec[key] = spec.get(key) or empty
            text = json.dumps(spec, sort_keys=True)
            values = {"spec": text, "spec_bytes": len(text)}
            connection.execute(sa.update(jobs).where(jobs.c.id == row.id).values(values))
            for key, value in spec["Labels"].items():
                values = {"job_id": row.id, "key": str(key)[:512], "value": str(value)}
                connection.execute(sa.insert(labels).values(values))
