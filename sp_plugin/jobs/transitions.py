"""Steps of jobs and executions inside a transaction that the caller holds: the row changes, the history says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.deadlines import deadlines_of, earliest
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.store.job_tables import executions
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    HistoryRow,
    JobRecord,
    add_history,
    change_execution,
    change_job,
    history_item,
)

__all__ = [
    "InvalidTransition",
    "Reached",
    "ask_to_stop",
    "end_execution",
    "execution_step",
    "move_job",
    "reached_steps",
]


class InvalidTransition(Exception):
    """The job's state does not allow this; the message names both."""


async def move_job(
    connection: AsyncConnection,
    job: JobRecord,
    state: JobState,
    message: str,
    now: int,
    *,
    before: Sequence[HistoryRow] = (),
    after: Sequence[HistoryRow] = (),
    **changes: Any,
) -> JobRecord:
    """The job in its next state, with other `changes` of its row; its history gets `before`, this step, and `after`.

    Raises:
        InvalidTransition: that state may not follow.
    """
    if not job.state.can_become(state):
        raise InvalidTransition(f"job {job.id} is {job.state} and cannot become {state}")
    values: dict[str, Any] = {"state": state, "message": message, "modified_at": now}
    values |= _clocks(job, state, now) | changes
    await change_job(connection, job.id, **values)
    step = history_item(job.id, now, "State Update", message, previous=job.state, new=state)
    await add_history(connection, *before, step, *after)
    return replace(job, revision=job.revision + 1, **values)


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
) -> HistoryRow:
    """Record how an execution ended; its lease ends with it. What comes back is yet to be put into the history."""
    await change_execution(
        connection,
        execution.id,
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
    )
    return execution_step(execution, result.state, result.message, now)


def execution_step(
    execution: ExecutionRecord, state: ExecutionState, message: str, now: int
) -> HistoryRow:
    """An execution's step for the history of its job."""
    topic = "Execution" if state.is_terminal else "State Update"
    failed = state is ExecutionState.FAILED
    return history_item(
        execution.job_id,
        now,
        topic,
        message,
        execution_id=execution.id,
        details={"FailsExecution": "true"} if failed else {},
        previous=execution.state,
        new=state,
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """A state that is not the last, which a running execution reached, and when."""

    state: ExecutionState
    message: str
    at: int


def reached_steps(
    execution: ExecutionRecord, reached: Sequence[Reached]
) -> tuple[ExecutionRecord, list[HistoryRow]]:
    """The execution in the last of these states, and the steps to it for the history.

    One it is in already is no step, and only says what it does there: progress would flood the history.
    """
    steps = []
    for one in reached:
        if one.state is not execution.state:
            steps.append(execution_step(execution, one.state, one.message, one.at))
        execution = replace(execution, state=one.state, message=one.message)
    return execution, steps


def _dumped(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)
