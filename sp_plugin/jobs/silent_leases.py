"""Leases whose worker went silent: given back, or gone on with by the node that was started again.

A lease that ran out is its node's own as long as nobody took the job. So a node that finds its programs still running
first adopts their leases, and then gives back all others it had.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.leases import Leases
from sp_plugin.jobs.retries import retry_rule
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.jobs.transitions import end_execution, move_job
from sp_plugin.store.job_tables import executions
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    Lease,
    add_history,
    execution_of,
    find_execution,
    find_executions,
    find_job,
    history_item,
)

__all__ = ["SilentLeases"]


class SilentLeases(Leases):
    """What happens to leases without heartbeats."""

    async def requeue_expired(self) -> list[str]:
        """The jobs whose worker went silent, queued again (or failed when their attempts are used up)."""
        now = self._clock()
        query = select(executions).where(executions.c.lease_until <= now)
        async with self._store.reading(brief=True) as connection:
            if (await connection.execute(query.limit(1))).first() is None:
                return []
        async with self._store.transaction(durable=False, brief=True) as connection:
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self._expire(connection, execution_of(row), now)
        self.work.give()
        return [row.job_id for row in rows]

    async def adopt(self, node_id: str, runs: Mapping[str, int]) -> list[Lease]:
        """The leases of executions (by ID, with their tokens) that this node began and that still are its own, renewed.

        One that ran out meanwhile is its own as long as nobody took the job. Call it before `release_node`.
        """
        now, leases = self._clock(), []
        async with self._store.transaction(durable=False, brief=True) as connection:
            for execution_id, token in sorted(runs.items()):
                found = await find_execution(connection, execution_id)
                if found is None:
                    continue
                job = await find_job(connection, found.job_id, lock=True)
                found = await find_execution(connection, execution_id)
                if found is None or not _may_go_on(found, node_id, token):
                    continue
                until = now + self._lease_time
                where = executions.c.id == execution_id
                await connection.execute(update(executions).where(where).values(lease_until=until))
                message = f"{node_id} was started again and goes on waiting for it"
                item = history_item(job.id, now, "Scheduling", message, execution_id=execution_id)
                await add_history(connection, item)
                began = found.created_at
                leases.append(Lease(job, execution_id, found.attempt, token, until, began))
        return leases

    async def release_node(self, node_id: str, keep: Collection[str] = ()) -> list[str]:
        """The jobs this node ran before it was started again, queued at once without waiting for their leases to end.

        Executions in `keep` go on. Call it before the node's first `take`, and only if no other process works under
        this name.
        """
        now = self._clock()
        async with self._store.transaction(durable=False, brief=True) as connection:
            query = select(executions).where(
                executions.c.node_id == node_id, executions.c.lease_until.is_not(None)
            )
            rows = [row for row in await connection.execute(query) if row.id not in keep]
            for row in rows:
                await self._expire(connection, execution_of(row), now)
        self.work.give()
        return [row.job_id for row in rows]

    async def _expire(
        self, connection: AsyncConnection, execution: ExecutionRecord, now: int
    ) -> None:
        job = await find_job(connection, execution.job_id, lock=True)
        current = await find_execution(connection, execution.id)
        if current is None or current.lease_until is None:
            return  # it was ended meanwhile
        message = f"the worker {execution.node_id} went silent"
        failed = ExecutionResult(
            state=ExecutionState.FAILED, outcome="runtime_fault", message=message
        )
        ended = await end_execution(connection, execution, failed, now)
        state, said = JobState.QUEUED, f"again: {message}"
        if job.stop_requested:
            state, said = JobState.STOPPED, job.message
        elif job.timed_out:
            state, said = JobState.FAILED, job.message
        elif job.attempts >= await self._most_attempts(connection, job.id):
            state, said = JobState.FAILED, f"{message} in each of {job.attempts} attempts"
        await move_job(connection, job, state, said, now, before=[ended])

    async def _most_attempts(self, connection: AsyncConnection, job_id: str) -> int:
        """How often a job may be started: an earlier end that allows more, e.g. results that wait for their server, still does."""
        ends = {item.outcome for item in await find_executions(connection, job_id)}
        ends -= {None, OutcomeKind.RUNTIME_FAULT.value}  # for these the rules are asked
        return max([self.rules.max_attempts, *(retry_rule(end).attempts for end in ends if end)])


def _may_go_on(execution: ExecutionRecord, node_id: str, token: int) -> bool:
    """Whether an execution is that node's under that token, and no more than its program's run was recorded of it."""
    return (
        execution.node_id == node_id
        and execution.token == token
        and execution.lease_until is not None
        and execution.state in {ExecutionState.BID_ACCEPTED, ExecutionState.RUNNING}
    )
