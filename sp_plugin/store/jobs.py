"""Jobs, their executions and every transition in the store: the values that rows become, plain reads and writes.

Times are Unix nanoseconds and come from the caller. The rules of the queue are in `sp_plugin.jobs.queue`. Functions that read
take a connection of `Store.reading()` too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    bindparam,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.store.job_tables import UNTRACED, executions, job_history, jobs

__all__ = [
    "ExecutionRecord",
    "ExecutionResult",
    "HistoryItem",
    "HistoryRow",
    "JobNotFound",
    "JobRecord",
    "Lease",
    "LeaseLost",
    "add_history",
    "change_execution",
    "change_job",
    "find_execution",
    "find_executions",
    "find_history",
    "find_job",
    "find_jobs",
    "find_jobs_of",
    "find_untraced",
    "history_item",
    "job_of",
    "job_of_values",
    "lock_job",
]

# Made once: to make a statement takes longer than to run it.
_JOB: Final = select(jobs).where(jobs.c.id == bindparam("job"))
_JOBS: Final = select(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True)))
_JOB_LOCKED: Final = _JOB.with_for_update()
_REVISION_LOCKED: Final = (
    select(jobs.c.revision).where(jobs.c.id == bindparam("job")).with_for_update()
)
_EXECUTION: Final = select(executions).where(executions.c.id == bindparam("execution"))
_EXECUTIONS: Final = (
    select(executions).where(executions.c.job_id == bindparam("job")).order_by(executions.c.token)
)
_CHANGE_JOB: Final = (
    update(jobs).where(jobs.c.id == bindparam("job")).values(revision=jobs.c.revision + 1)
)
_CHANGE_EXECUTION: Final = (
    update(executions)
    .where(executions.c.id == bindparam("execution"))
    .values(revision=executions.c.revision + 1)
)
_ADD_HISTORY: Final = insert(job_history)


class JobNotFound(LookupError):
    """No job has this ID."""


class LeaseLost(Exception):
    """The lease expired or was given to another worker; what this worker did must not be recorded."""


HistoryRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as stored. `spec` is the wire form with exact casing; `signer` the address whose signature on it was verified."""

    id: str
    name: str
    namespace: str
    submitter: str | None
    spec: Mapping[str, Any]
    state: JobState
    message: str
    priority: int
    stop_requested: bool
    timed_out: bool
    first_queued_at: int | None
    total_deadline: int | None
    deadline: int | None
    bundle_digest: str | None
    bundle: Mapping[str, Any] | None
    attempts: int
    not_before: int | None = None
    revision: int
    created_at: int
    modified_at: int
    signer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One start of a job."""

    id: str
    job_id: str
    attempt: int
    node_id: str
    token: int
    lease_until: int | None
    state: ExecutionState
    desired_state: DesiredState
    message: str
    outcome: str | None
    exit_code: int | None
    run_output: Mapping[str, Any] | None
    published: Mapping[str, Any] | None
    run_record: Mapping[str, Any] | None
    revision: int
    created_at: int
    modified_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One transition or event; `execution_id` is `None` on the job's own level."""

    seq: int
    job_id: str
    execution_id: str | None
    at: int
    topic: str
    message: str
    details: Mapping[str, str]
    previous_state: str | None
    new_state: str | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a job until `until`; every report carries the token."""

    job: JobRecord
    execution_id: str
    attempt: int
    token: int
    until: int
    began_at: int | None = None  # of a run that began before this process; then it goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What a worker reports at the end of an execution."""

    state: ExecutionState  # Completed, Failed or Cancelled
    outcome: str
    message: str
    exit_code: int | None = None
    run_output: Mapping[str, Any] | None = None
    published: Mapping[str, Any] | None = None
    run_record: Mapping[str, Any] = field(default_factory=dict)


async def find_job(connection: AsyncConnection, job_id: str, *, lock: bool = False) -> JobRecord:
    """The job with exactly this ID; with `lock` nobody else can change it until the transaction ends.

    Raises:
        JobNotFound: there is none.
    """
    # locked for PostgreSQL; on SQLite every transaction of ours locks the whole database
    query = _JOB_LOCKED if lock else _JOB
    row = (await connection.execute(query, {"job": job_id})).one_or_none()
    if row is None:
        raise JobNotFound(f"job not found: {job_id}")
    return job_of(row)


async def find_jobs_of(connection: AsyncConnection, ids: Sequence[str]) -> list[JobRecord]:
    """The jobs with these IDs, in no order; those that are not there are left out."""
    if len(ids) == 1:  # by far the most frequent, and the quicker statement
        rows = (await connection.execute(_JOB, {"job": ids[0]})).all()
    else:
        rows = (await connection.execute(_JOBS, {"ids": ids})).all() if ids else []
    return [job_of(row) for row in rows]


async def lock_job(connection: AsyncConnection, job_id: str) -> int | None:
    """The revision of a job that nobody else can change until the transaction ends; a change of any kind raises it. None: it is gone."""
    revision: int | None = await connection.scalar(_REVISION_LOCKED, {"job": job_id})
    return revision


async def find_jobs(
    connection: AsyncConnection,
    *,
    states: Sequence[JobState] = (),
    limit: int = 100,
    offset: int = 0,
    newest_first: bool = True,
) -> list[JobRecord]:
    """Jobs in those states (none given: all), by the time of their creation."""
    query = select(jobs)
    if states:
        query = query.where(jobs.c.state.in_([state.value for state in states]))
    if newest_first:
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    else:
        query = query.order_by(jobs.c.created_at, jobs.c.id)
    rows = (await connection.execute(query.limit(limit).offset(offset))).all()
    return [job_of(row) for row in rows]


async def find_executions(connection: AsyncConnection, job_id: str) -> list[ExecutionRecord]:
    """A job's executions, oldest first."""
    rows = (await connection.execute(_EXECUTIONS, {"job": job_id})).all()
    return [execution_of(row) for row in rows]


async def find_execution(connection: AsyncConnection, execution_id: str) -> ExecutionRecord | None:
    """The execution with this ID, or `None`."""
    row = (await connection.execute(_EXECUTION, {"execution": execution_id})).one_or_none()
    return None if row is None else execution_of(row)


async def find_untraced(
    connection: AsyncConnection, after: tuple[int, str], limit: int
) -> list[ExecutionRecord]:
    """Completed executions that are not in `outputs` yet, by the time of their end, behind (time, ID)."""
    order = tuple_(executions.c.modified_at, executions.c.id)
    query = select(executions).where(UNTRACED, order > tuple_(*after))
    query = query.order_by(executions.c.modified_at, executions.c.id).limit(limit)
    return [execution_of(row) for row in (await connection.execute(query)).all()]


async def find_history(
    connection: AsyncConnection, job_id: str, *, after: int = 0, limit: int = 1000
) -> list[HistoryItem]:
    """A job's history behind the sequence number `after`, oldest first."""
    query = (
        select(job_history)
        .where(job_history.c.job_id == job_id, job_history.c.seq > after)
        .order_by(job_history.c.seq)
        .limit(limit)
    )
    return [_history_of(row) for row in (await connection.execute(query)).all()]


async def change_job(connection: AsyncConnection, job_id: str, **values: Any) -> None:
    """Give columns of a job other values; its revision rises."""
    await connection.execute(_CHANGE_JOB, {"job": job_id, **values})


async def change_execution(connection: AsyncConnection, execution_id: str, **values: Any) -> None:
    """The same of an execution."""
    await connection.execute(_CHANGE_EXECUTION, {"execution": execution_id, **values})


def history_item(
    job_id: str,
    now: int,
    topic: str,
    message: str,
    *,
    execution_id: str | None = None,
    details: Mapping[str, str] | None = None,
    previous: JobState | ExecutionState | None = None,
    new: JobState | ExecutionState | None = None,
) -> HistoryRow:
    """One item of a job's history as `add_history` takes it."""
    return {
        "job_id": job_id,
        "execution_id": execution_id,
        "at": now,
        "topic": topic,
        "message": message,
        "details": json.dumps(dict(details), sort_keys=True) if details else "{}",
        "previous_state": _state_text(previous),
        "new_state": _state_text(new),
    }


async def add_history(connection: AsyncConnection, *items: HistoryRow) -> None:
    """Append items to the histories of their jobs, in their order."""
    await connection.execute(_ADD_HISTORY, items[0] if len(items) == 1 else list(items))


def job_of(row: Row[Any]) -> JobRecord:
    """The value of a row of `jobs`."""
    return job_of_values(row._asdict())


def job_of_values(row: Mapping[str, Any]) -> JobRecord:
    """The value of a row's columns."""
    values = dict(row)
    del values["spec_bytes"]
    values["submitter"] = values["submitter"] or None
    values["spec"] = json.loads(values["spec"])
    values["bundle"] = _loaded(values["bundle"])
    values["state"] = JobState(values["state"])
    return JobRecord(**values)


def execution_of(row: Row[Any]) -> ExecutionRecord:
    """The value of a row of `executions`."""
    values = dict(row._mapping)
    del values["traced"]
    values["state"] = ExecutionState(values["state"])
    values["desired_state"] = DesiredState(values["desired_state"])
    for name in ("run_output", "published", "run_record"):
        values[name] = _loaded(values[name])
    return ExecutionRecord(**values)


def _history_of(row: Row[Any]) -> HistoryItem:
    values = dict(row._mapping)
    values["details"] = json.loads(values["details"])
    return HistoryItem(**values)


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _state_text(state: JobState | ExecutionState | None) -> str | None:
    return None if state is None else str(state.value)
