"""Tables of jobs, their labels, executions and history. Times are Unix nanoseconds."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from sp_plugin.jobs.states import ExecutionState
from sp_plugin.store.base import metadata

__all__ = ["UNTRACED", "executions", "job_history", "job_labels", "jobs"]

_JSON: Final = Text  # canonical text written by us; SQLite and PostgreSQL then behave alike

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("namespace", String(256), nullable=False),
    Column("submitter", String(256)),  # token name or address; '': nobody in particular
    Column("signer", String(128)),  # whose Filecoin signature it carries, verified; NULL: nobody's
    Column("spec", _JSON, nullable=False),
    Column(
        "spec_bytes", BigInteger, nullable=False
    ),  # so that a page can end before it is too large
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("timed_out", Boolean, nullable=False),  # its total timeout passed while it ran
    Column("first_queued_at", BigInteger),
    Column("total_deadline", BigInteger),  # NULL: not queued yet, or no limit
    Column("deadline", BigInteger),  # of its present state; NULL: none
    Column("bundle_digest", String(64)),  # hexadecimal SHA-256; NULL until resolved
    Column("bundle", _JSON),
    Column("attempts", Integer, nullable=False),
    Column("not_before", BigInteger),  # a queued job waits until then; NULL: not at all
    Column("revision", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Index("ix_jobs_queue", "state", "submitter", "priority", "created_at"),
    Index("ix_jobs_created", "created_at", "id", "spec_bytes"),
    Index("ix_jobs_modified", "modified_at", "id", "spec_bytes"),
    Index("ix_jobs_name", "name"),
    Index("ix_jobs_deadline", "deadline"),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("key", String(512), primary_key=True),
    Column("value", Text, nullable=False),
)

executions = Table(
    "executions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node_id", String(128), nullable=False),
    Column("token", BigInteger, nullable=False),  # fencing token: rises with every lease of the job
    Column("lease_until", BigInteger),  # NULL once it has ended
    Column("state", Integer, nullable=False),
    Column("desired_state", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("outcome", String(32)),
    Column("exit_code", BigInteger),
    Column("run_output", _JSON),  # Bacalhau's RunOutput
    Column("published", _JSON),  # Bacalhau's PublishedResult
    Column("run_record", _JSON),
    Column("traced", Boolean, nullable=False, default=False),  # what it brought is in `outputs`
    Column("revision", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    UniqueConstraint("job_id", "token"),
)
Index("ix_executions_lease", executions.c.lease_until)
# Literal, since a partial index serves only queries that say the same.
UNTRACED: Final = text(f"state = {ExecutionState.COMPLETED.value} AND NOT traced")
Index(
    "ix_executions_untraced",
    executions.c.modified_at,
    executions.c.id,
    sqlite_where=UNTRACED,
    postgresql_where=UNTRACED,
)

job_history = Table(
    "job_history",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(64), ForeignKey("jobs.id"), nullable=False, index=True),
    Column("execution_id", String(64)),
    Column("at", BigInteger, nullable=False),
    Column("topic", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("details", _JSON, nullable=False),
    Column("previous_state", String(16)),  # a job's name, or an execution's number as text
    Column("new_state", String(16)),
)
