"""Steps of jobs and executions inside a transaction that the caller holds: the row changes, the history says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.deadlines import deadlines_of, earliest
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    JobRecord,
    add_history,
    executions,
    jobs,
)

__all__ = ["InvalidTransition", "ask_to_stop", "end_execution", "move_job", "note_execution"]


class InvalidTransition(Exception):
    """The job's state does not allow this; the message names both."""


async def move_job(
    connection: AsyncConnection,
    job: JobRecord,
    state: JobState,
    message: str,
    now: int,
    **changes: Any,
) -> None:
    """Give a job its next state, with other `changes` of its row.

    Raises:
        InvalidTransition: that state may not follow.
    """
    if not job.state.can_become(state):
        raise InvalidTransition(f"job {job.id} is {job.state} and cannot become {state}")
    await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(
            state=state,
            message=message,
            modified_at=now,
            revision=jobs.c.revision + 1,
            **_clocks(job, state, now),
            **changes,
        )
    )
    await add_history(
        connection, job.id, now, "State Update", message, previous=job.state, new=state
    )


def _clocks(job: JobRecord, state: JobState, now: int) -> dict[str, int | None]:
    """When a job in this state is too late; the total time runs from the first time it was queued."""
    if state is JobState.QUEUED:
        first = job.first_queued_at or now
        deadlines = deadlines_of(job.spec, now, first)
        return {
            "first_queued_at": first,
            "total_deadline": deadlines.total,
            "deadline": earliest(deadlines.queue, deadlines.total),
        }
    return {"deadline": job.total_deadline if state is JobState.RUNNING else None}


async def ask_to_stop(connection: AsyncConnection, job_id: str) -> None:
    """Tell the worker that runs a job to end it; it hears of it with its next heartbeat."""
    await connection.execute(
        update(executions)
        .where(executions.c.job_id == job_id, executions.c.lease_until.is_not(None))
        .values(desired_state=DesiredState.STOPPED)
    )


async def end_execution(
    connection: AsyncConnection, execution: ExecutionRecord, result: ExecutionResult, now: int
) -> None:
    """Record how an execution ended; its lease ends with it."""
    await connection.execute(
        update(executions)
        .where(executions.c.id == execution.id)
        .values(
            state=result.state,
            desired_state=DesiredState.STOPPED,
            lease_until=None,
            message=result.message,
            outcome=result.outcome,
            exit_code=result.exit_code,
            run_output=_dumped(result.run_output),
            published=_dumped(result.published),
            run_record=_dumped(result.run_record),
            modified_at=now,
            revision=executions.c.revision + 1,
        )
    )
    await note_execution(connection, execution, result.state, result.message, now)


async def note_execution(
    connection: AsyncConnection,
    execution: ExecutionRecord,
    state: ExecutionState,
    message: str,
    now: int,
) -> None:
    """Add an execution's step to the history of its job."""
    topic = "Execution" if state.is_terminal else "State Update"
    failed = state is ExecutionState.FAILED
    await add_history(
        connection,
        execution.job_id,
        now,
        topic,
        message,
        execution_id=execution.id,
        details={"FailsExecution": "true"} if failed else {},
        previous=execution.state,
        new=state,
    )


def _dumped(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)
