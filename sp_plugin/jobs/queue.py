"""The durable queue: jobs go in once, are started at least once, and get one result.

A worker *takes* a job and holds a lease with a fencing token. It sends heartbeats; a lease that ran out is given to
whoever asks next under a higher token, and everything the older token reports raises `LeaseLost`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.store.base import Store
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    HistoryItem,
    JobRecord,
    Lease,
    LeaseLost,
    add_history,
    execution_of,
    executions,
    find_execution,
    find_executions,
    find_history,
    find_job,
    find_jobs,
    job_of,
    jobs,
    lease_of,
)

__all__ = ["InvalidTransition", "JobQueue", "QueueRules"]

_SECOND: Final = 1_000_000_000


class InvalidTransition(Exception):
    """The job's state does not allow this; the message names both."""


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How long a lease holds without a heartbeat, and how often a job is started at most."""

    lease_seconds: float = 30.0
    max_attempts: int = 3


class JobQueue:
    """The queue in a store. `clock` gives Unix nanoseconds."""

    def __init__(
        self, store: Store, clock: Callable[[], int], rules: QueueRules | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self.rules = rules or QueueRules()

    # -- for those who submit and look ------------------------------------------------------------

    async def submit(
        self, spec: Mapping[str, Any], *, submitter: str | None = None, job_id: str | None = None
    ) -> JobRecord:
        """A new job in `Pending`, with that wire form (`JobSpec.to_wire()`) and a fresh ID.

        With `job_id`, submitting again gives back the job that is there, so that a retried request makes no second one.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            if job_id is not None:
                row = (
                    await connection.execute(select(jobs).where(jobs.c.id == job_id))
                ).one_or_none()
                if row is not None:
                    return job_of(row)
            new_id = job_id or f"j-{uuid4()}"
            await connection.execute(
                insert(jobs).values(
                    id=new_id,
                    name=spec.get("Name") or new_id,
                    namespace=spec.get("Namespace") or "default",
                    submitter=submitter,
                    spec=json.dumps(spec, sort_keys=True),
                    state=JobState.PENDING,
                    message="submitted",
                    priority=spec.get("Priority") or 0,
                    stop_requested=False,
                    attempts=0,
                    revision=1,
                    created_at=now,
                    modified_at=now,
                )
            )
            await add_history(
                connection, new_id, now, "Submission", "Job submitted", new=JobState.PENDING
            )
            return await find_job(connection, new_id)

    async def job(self, job_id: str) -> JobRecord:
        """The job; raises `JobNotFound`."""
        async with self._store.reading() as connection:
            return await find_job(connection, job_id)

    async def list_jobs(
        self, states: Sequence[JobState] = (), limit: int = 100, offset: int = 0
    ) -> list[JobRecord]:
        """Jobs, newest first."""
        async with self._store.reading() as connection:
            return await find_jobs(connection, states=states, limit=limit, offset=offset)

    async def waiting(self, limit: int = 1000) -> list[JobRecord]:
        """Jobs in `Pending`, oldest first: those whose approval is to be decided."""
        async with self._store.reading() as connection:
            return await find_jobs(
                connection, states=[JobState.PENDING], limit=limit, newest_first=False
            )

    async def executions_of(self, job_id: str) -> list[ExecutionRecord]:
        """A job's executions, oldest first."""
        async with self._store.reading() as connection:
            return await find_executions(connection, job_id)

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        """The execution with exactly this ID, or None."""
        async with self._store.transaction() as connection:
            return await find_execution(connection, execution_id)

    async def history(self, job_id: str, after: int = 0, limit: int = 1000) -> list[HistoryItem]:
        """A job's history behind a sequence number, oldest first."""
        async with self._store.reading() as connection:
            return await find_history(connection, job_id, after=after, limit=limit)

    async def stop(self, job_id: str, reason: str) -> JobRecord:
        """The job, stopped, or asked to stop if it runs (its worker hears of it with the next heartbeat).

        Raises:
            InvalidTransition: it ended before with a result.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is JobState.STOPPED or job.stop_requested:
                return job
            if job.state.is_terminal:
                raise InvalidTransition(
                    f"job {job_id} is {job.state} already and cannot be stopped"
                )
            message = f"stopped: {reason}" if reason else "stopped"
            if job.state is JobState.RUNNING:
                await connection.execute(
                    update(jobs)
                    .where(jobs.c.id == job_id)
                    .values(
                        stop_requested=True,
                        message=message,
                        modified_at=now,
                        revision=jobs.c.revision + 1,
                    )
                )
                await connection.execute(
                    update(executions)
                    .where(executions.c.job_id == job_id, executions.c.lease_until.is_not(None))
                    .values(desired_state=DesiredState.STOPPED)
                )
                await add_history(connection, job_id, now, "Stop", message)
            else:
                await _move(connection, job, JobState.STOPPED, message, now)
            return await find_job(connection, job_id)

    # -- for those who decide -----------------------------------------------------------------------

    async def set_bundle(self, job_id: str, digest: str, bundle: Mapping[str, Any]) -> None:
        """Record what the job will do (its bundle as canonical values) while it is `Pending`.

        Raises:
            InvalidTransition: the job left `Pending`.
        """
        async with self._store.transaction() as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is not JobState.PENDING:
                raise InvalidTransition(f"job {job_id} is {job.state}; its bundle is fixed")
            now = self._clock()
            await connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    bundle_digest=digest,
                    bundle=json.dumps(bundle, sort_keys=True),
                    modified_at=now,
                    revision=jobs.c.revision + 1,
                )
            )
            if job.bundle_digest != digest:
                await add_history(
                    connection,
                    job_id,
                    now,
                    "Approval",
                    "Bundle resolved",
                    details={"Digest": digest},
                )

    async def set_message(self, job_id: str, message: str) -> None:
        """Say why a job waits; recorded in the history only when it changes."""
        async with self._store.transaction() as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.message == message or job.state.is_terminal:
                return
            now = self._clock()
            await connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(message=message, modified_at=now, revision=jobs.c.revision + 1)
            )
            await add_history(connection, job_id, now, "Waiting", message)

    async def admit(self, job_id: str, message: str = "approved") -> JobRecord:
        """The job, moved from `Pending` to `Queued`; nothing changes if it is there already."""
        return await self._decide(job_id, JobState.QUEUED, message)

    async def withdraw(self, job_id: str, message: str) -> JobRecord:
        """The job, moved from `Queued` back to `Pending`, because an approval or the policy changed before its start."""
        return await self._decide(job_id, JobState.PENDING, message)

    async def refuse(self, job_id: str, message: str) -> JobRecord:
        """The job, failed before any start, because policy or approvals said no for good."""
        return await self._decide(job_id, JobState.FAILED, message)

    async def _decide(self, job_id: str, state: JobState, message: str) -> JobRecord:
        async with self._store.transaction() as connection:
            job = await find_job(connection, job_id, lock=True)
            if state is JobState.QUEUED and job.bundle_digest is None:
                raise InvalidTransition(f"job {job_id} has no bundle yet, so nothing was approved")
            if job.state is not state:
                await _move(connection, job, state, message, self._clock())
            return await find_job(connection, job_id)

    # -- for workers --------------------------------------------------------------------------------

    async def take(
        self,
        node_id: str,
        why_not_start: Callable[[JobRecord], Awaitable[str | None]] | None = None,
    ) -> Lease | None:
        """The lease of the next job: highest priority first, then oldest. `None` when nothing is queued.

        A job for which `why_not_start` has a reason goes back to `Pending` with it, and the next one is looked at.
        """
        while (candidate := await self._next()) is not None:
            # Asked outside the transaction: it may ask a node, and must not hold the database meanwhile.
            reason = None if why_not_start is None else await why_not_start(candidate)
            async with self._store.transaction() as connection:
                job = await find_job(connection, candidate.id, lock=True)
                if job.state is not JobState.QUEUED or job.revision != candidate.revision:
                    continue  # another worker was faster
                now = self._clock()
                if reason is None:
                    return await self._start(connection, job, node_id, now)
                await _move(connection, job, JobState.PENDING, reason, now)
        return None

    async def _next(self) -> JobRecord | None:
        async with self._store.reading() as connection:
            query = (
                select(jobs)
                .where(jobs.c.state == JobState.QUEUED)
                .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
                .limit(1)
            )
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else job_of(row)

    async def _start(
        self, connection: AsyncConnection, job: JobRecord, node_id: str, now: int
    ) -> Lease:
        last = await connection.execute(
            select(func.max(executions.c.token)).where(executions.c.job_id == job.id)
        )
        token = (last.scalar() or 0) + 1
        execution_id = f"e-{uuid4()}"
        await connection.execute(
            insert(executions).values(
                id=execution_id,
                job_id=job.id,
                attempt=job.attempts + 1,
                node_id=node_id,
                token=token,
                lease_until=now + self._lease_time,
                state=ExecutionState.BID_ACCEPTED,
                desired_state=DesiredState.RUNNING,
                message="",
                revision=1,
                created_at=now,
                modified_at=now,
            )
        )
        await connection.execute(
            update(jobs).where(jobs.c.id == job.id).values(attempts=job.attempts + 1)
        )
        await _move(connection, job, JobState.RUNNING, "running", now)
        await add_history(
            connection,
            job.id,
            now,
            "Scheduling",
            f"Started on {node_id}",
            execution_id=execution_id,
            details={"NodeID": node_id, "Token": str(token)},
            new=ExecutionState.BID_ACCEPTED,
        )
        execution = await find_execution(connection, execution_id)
        assert execution is not None
        return lease_of(await find_job(connection, job.id), execution)

    async def heartbeat(self, lease: Lease) -> bool:
        """Keep the lease; says whether the job was asked to stop.

        Raises:
            LeaseLost: stop at once and report nothing.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            execution = await self._held(connection, lease, now)
            await connection.execute(
                update(executions)
                .where(executions.c.id == execution.id)
                .values(lease_until=now + self._lease_time)
            )
            return execution.desired_state is DesiredState.STOPPED

    async def set_execution_state(self, lease: Lease, state: ExecutionState, message: str) -> None:
        """Record that a running execution reached a state that is not its last.

        Raises:
            LeaseLost: stop at once and report nothing.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            execution = await self._held(connection, lease, now)
            if execution.state == state:
                return
            await connection.execute(
                update(executions)
                .where(executions.c.id == execution.id)
                .values(
                    state=state,
                    message=message,
                    modified_at=now,
                    revision=executions.c.revision + 1,
                )
            )
            await _note(connection, execution, state, message, now)

    async def finish(
        self, lease: Lease, result: ExecutionResult, *, retry: bool = False, counted: bool = True
    ) -> None:
        """Record how an execution ended, and the job's next state, in one step.

        Reporting the same end twice changes nothing. With `retry` the job is queued again while attempts remain; one that
        is not `counted` (we were asked to shut down) does not use one up.

        Raises:
            LeaseLost: another worker has the job, or it ended under another token.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            job = await find_job(connection, lease.job.id, lock=True)
            execution = await find_execution(connection, lease.execution_id)
            if execution is not None and execution.state == result.state:
                return
            execution = await self._held(connection, lease, now)
            await _end(connection, execution, result, now)
            if result.state is ExecutionState.COMPLETED:
                await _move(connection, job, JobState.COMPLETED, result.message, now)
            elif job.stop_requested:
                await _move(connection, job, JobState.STOPPED, job.message, now)
            elif retry and not counted:
                uncounted = update(jobs).where(jobs.c.id == job.id)
                await connection.execute(uncounted.values(attempts=job.attempts - 1))
                await _move(connection, job, JobState.QUEUED, f"again: {result.message}", now)
            elif retry and job.attempts < self.rules.max_attempts:
                await _move(connection, job, JobState.QUEUED, f"again: {result.message}", now)
            else:
                await _move(connection, job, JobState.FAILED, result.message, now)

    async def requeue_expired(self) -> list[str]:
        """The jobs whose worker went silent, queued again (or failed when their attempts are used up)."""
        now = self._clock()
        async with self._store.transaction() as connection:
            query = select(executions).where(executions.c.lease_until <= now)
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self._expire(connection, execution_of(row), now)
            return [row.job_id for row in rows]

    async def release_node(self, node_id: str) -> list[str]:
        """The jobs this node ran before it was started again, queued at once without waiting for their leases to end.

        Call it before the node's first `take`, and only if no other process works under this name.
        """
        now = self._clock()
        async with self._store.transaction() as connection:
            query = select(executions).where(
                executions.c.node_id == node_id, executions.c.lease_until.is_not(None)
            )
            rows = (await connection.execute(query)).all()
            for row in rows:
                await self._expire(connection, execution_of(row), now)
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
        await _end(connection, execution, failed, now)
        if job.stop_requested:
            await _move(connection, job, JobState.STOPPED, job.message, now)
        elif job.attempts >= self.rules.max_attempts:
            reason = f"{message} in each of {job.attempts} attempts"
            await _move(connection, job, JobState.FAILED, reason, now)
        else:
            await _move(connection, job, JobState.QUEUED, f"again: {message}", now)

    async def _held(self, connection: AsyncConnection, lease: Lease, now: int) -> ExecutionRecord:
        await find_job(connection, lease.job.id, lock=True)
        execution = await find_execution(connection, lease.execution_id)
        if (
            execution is None
            or execution.token != lease.token
            or execution.lease_until is None
            or execution.lease_until <= now
        ):
            raise LeaseLost(f"the lease of {lease.execution_id} (token {lease.token}) is lost")
        return execution

    @property
    def _lease_time(self) -> int:
        return int(self.rules.lease_seconds * _SECOND)


async def _move(
    connection: AsyncConnection, job: JobRecord, state: JobState, message: str, now: int
) -> None:
    if not job.state.can_become(state):
        raise InvalidTransition(f"job {job.id} is {job.state} and cannot become {state}")
    await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(state=state, message=message, modified_at=now, revision=jobs.c.revision + 1)
    )
    await add_history(
        connection, job.id, now, "State Update", message, previous=job.state, new=state
    )


async def _end(
    connection: AsyncConnection, execution: ExecutionRecord, result: ExecutionResult, now: int
) -> None:
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
    await _note(connection, execution, result.state, result.message, now)


async def _note(
    connection: AsyncConnection,
    execution: ExecutionRecord,
    state: ExecutionState,
    message: str,
    now: int,
) -> None:
    topic = "Execution" if state.is_terminal else "State Update"
    details = {"FailsExecution": "true"} if state is ExecutionState.FAILED else {}
    await add_history(
        connection,
        execution.job_id,
        now,
        topic,
        message,
        execution_id=execution.id,
        details=details,
        previous=execution.state,
        new=state,
    )


def _dumped(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)
