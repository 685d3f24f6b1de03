"""What each submitter used by day, and which of its jobs comes next: the facts for fair shares and quotas."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    String,
    Table,
    func,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.fairness import Share
from sp_plugin.jobs.states import JobState
from sp_plugin.store.base import metadata
from sp_plugin.store.job_tables import jobs
from sp_plugin.store.jobs import JobRecord, find_jobs_of

__all__ = ["HEADS", "add_usage", "count_waiting", "queue_heads", "shares_of", "submitter_hours"]

_HOUR: Final = 3600 * 1_000_000_000
_DAY_HOURS: Final = 24

submitter_hours = Table(
    "submitter_hours",
    metadata,
    Column("submitter", String(256), primary_key=True),  # '' is nobody in particular
    Column("hour", Integer, primary_key=True, autoincrement=False),  # of Unix time
    Column("compute_ms", BigInteger, nullable=False),
    Column("output_bytes", BigInteger, nullable=False),
    Column("last_start", BigInteger, nullable=False),  # Unix nanoseconds
)

# Three seeks per submitter in the index ix_jobs_queue, however many jobs are queued: its name, its highest priority, the first
# job of that. In one step, a mixed order would be sorted anew for every job taken.
HEADS: Final = text("""
WITH RECURSIVE names(name) AS (
    SELECT min(submitter) FROM jobs WHERE state = 'Queued'
    UNION ALL
    SELECT (SELECT min(submitter) FROM jobs WHERE state = 'Queued' AND submitter > names.name)
    FROM names WHERE names.name IS NOT NULL
)
SELECT (
    SELECT id FROM jobs AS first WHERE first.state = 'Queued' AND first.submitter = names.name
    AND first.priority = (
        SELECT priority FROM jobs AS top WHERE top.state = 'Queued' AND top.submitter = names.name
        AND (top.not_before IS NULL OR top.not_before <= :now) ORDER BY top.priority DESC LIMIT 1
    )
    AND (first.not_before IS NULL OR first.not_before <= :now)
    ORDER BY first.created_at, first.id LIMIT 1
)
FROM names WHERE names.name IS NOT NULL
""")


async def queue_heads(connection: AsyncConnection, now: int) -> list[JobRecord]:
    """The first queued job of each submitter that need not wait: highest priority, then oldest."""
    found = [row[0] for row in await connection.execute(HEADS, {"now": now})]
    ids = [job_id for job_id in found if job_id is not None]  # None: all of its jobs wait
    return [job for job in await find_jobs_of(connection, ids) if job.state is JobState.QUEUED]


async def shares_of(connection: AsyncConnection, now: int) -> dict[str, Share]:
    """What each submitter runs, and used in the last 24 hours; those with nothing are not in it."""
    used = select(
        submitter_hours.c.submitter,
        text("0 AS running"),
        func.sum(submitter_hours.c.compute_ms),
        func.sum(submitter_hours.c.output_bytes),
        func.max(submitter_hours.c.last_start),
    )
    used = used.where(submitter_hours.c.hour > now // _HOUR - _DAY_HOURS).group_by(
        submitter_hours.c.submitter
    )
    running = select(
        jobs.c.submitter, func.count(), text("0 AS used"), text("0 AS written"), text("0 AS last")
    )
    running = running.where(jobs.c.state == JobState.RUNNING).group_by(jobs.c.submitter)
    shares: dict[str, Share] = {}
    for name, count, compute, output, last in await connection.execute(union_all(used, running)):
        known = shares.get(name or "", Share())
        shares[name or ""] = Share(
            known.running + int(count),
            known.compute_ms + int(compute),
            known.output_bytes + int(output),
            max(known.last_start, int(last)),
        )
    return shares


async def count_waiting(connection: AsyncConnection, submitter: str | None = None) -> int:
    """How many jobs wait to run, approved or not; of one submitter where it is given ('' is nobody)."""
    query = select(func.count()).where(jobs.c.state.in_([JobState.PENDING, JobState.QUEUED]))
    if submitter is not None:
        query = query.where(jobs.c.submitter == submitter)
    return int((await connection.execute(query)).scalar_one())


async def add_usage(
    connection: AsyncConnection,
    submitter: str,
    now: int,
    *,
    compute_ms: int = 0,
    output_bytes: int = 0,
    started: bool = False,
) -> None:
    """Count what a run used, in the hour in which it ended."""
    values = {
        "submitter": submitter,
        "hour": now // _HOUR,
        "compute_ms": compute_ms,
        "output_bytes": output_bytes,
        "last_start": now if started else 0,
    }
    await connection.execute(_adding(connection.dialect.name, started), values)


@cache
def _adding(dialect: str, started: bool) -> Any:
    make = postgres_insert if dialect == "postgresql" else sqlite_insert
    new, hours = make(submitter_hours), submitter_hours.c
    changes = {
        "compute_ms": hours.compute_ms + new.excluded.compute_ms,
        "output_bytes": hours.output_bytes + new.excluded.output_bytes,
    }
    if started:
        changes["last_start"] = new.excluded.last_start
    return new.on_conflict_do_update(index_elements=["submitter", "hour"], set_=changes)
