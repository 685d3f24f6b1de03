"""The workers' side of the queue: a lease with a fencing token, heartbeats, one report at the end.

A lease that ran out is given to whoever asks next under a higher token, and everything the older token reports raises
`LeaseLost`. Which job is taken is decided by `fairness.decide_next`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.deadlines import why_too_late
from sp_plugin.jobs.ending import used_by, what_follows
from sp_plugin.jobs.fairness import NO_SHARE, Candidate, Quota, Share, decide_next, over_quota
from sp_plugin.jobs.signals import Call, Signal
from sp_plugin.jobs.standing import put_off_deadline, tell_queue_heads
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.jobs.transitions import (
    Reached,
    ask_to_stop,
    end_execution,
    move_job,
    reached_steps,
)
from sp_plugin.store.base import Store
from sp_plugin.store.job_tables import executions, jobs
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    JobRecord,
    Lease,
    LeaseLost,
    add_history,
    change_execution,
    change_job,
    find_execution,
    find_job,
    history_item,
    lock_job,
)
from sp_plugin.store.submitters import add_usage, queue_heads, shares_of

__all__ = ["Leases", "QueueRules"]

_SECOND: Final = 1_000_000_000

_earlier = executions.alias("earlier")
_last_token = (
    select(func.coalesce(func.max(_earlier.c.token), 0) + 1)
    .where(_earlier.c.job_id == bindparam("of_job"))
    .scalar_subquery()
)
# The lock on its job keeps two from getting the same token.
_START: Final = (
    insert(executions)
    .values(
        token=_last_token,
        state=ExecutionState.BID_ACCEPTED,
        desired_state=DesiredState.RUNNING,
        message="",
        traced=False,
        revision=1,
    )
    .returning(executions.c.token)
)
_KEEP: Final = update(executions).where(executions.c.id == bindparam("execution"))


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How long a lease holds without a heartbeat, how often a job is started at most, and what each submitter may have."""

    lease_seconds: float = 30.0
    max_attempts: int = 3
    default_quota: Quota = Quota()
    quotas: Mapping[str, Quota] | None = None  # by submitter

    def quota_of(self, submitter: str) -> Quota:
        """What this submitter may have."""
        return (self.quotas or {}).get(submitter, self.default_quota)


class Leases:
    """Taking, keeping and ending runs. `clock` gives Unix nanoseconds.

    `work` is given, to one at a time, when there may be something to take, `stops` when a run was asked to end, `ends` when one ended.
    """

    def __init__(
        self, store: Store, clock: Callable[[], int], rules: QueueRules | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self.rules = rules or QueueRules()
        self.work, self.stops, self.ends = Call(), Signal(), Signal()
        self._deciding = asyncio.Lock()

    def now(self) -> int:
        """The queue's time."""
        return self._clock()

    async def take(
        self,
        node_id: str,
        why_not_start: Callable[[JobRecord], Awaitable[str | None]] | None = None,
        why_wait: Callable[[JobRecord], str | None] = lambda _: None,
    ) -> Lease | None:
        """The lease of the job that is to run next; None when nothing that may run is queued.

        A job for which `why_not_start` has a reason goes back to `Pending` with it, and the next one is looked at. One for
        which `why_wait` has a reason stays queued with it, and nothing else is taken in its place.
        """
        async with self._deciding:  # two that decide at once would only decide the same
            while (candidate := await self._next()) is not None:
                if wait := why_wait(candidate):
                    await self.tell_waiting(wait)
                    return None
                # Asked outside the transaction: it may ask a node, and must not hold the database meanwhile.
                reason = None if why_not_start is None else await why_not_start(candidate)
                if (lease := await self._take(candidate, node_id, reason)) is not None:
                    return lease
        return None

    async def _take(self, candidate: JobRecord, node_id: str, reason: str | None) -> Lease | None:
        """Start the candidate, or send it back with the reason against it; None if it was not started."""
        async with self._store.transaction(durable=False, brief=True) as connection:
            if await lock_job(connection, candidate.id) != candidate.revision:
                return None  # another process was faster
            now = self._clock()
            if reason is not None:
                await move_job(connection, candidate, JobState.PENDING, reason, now)
                return None
            if not await self._may_run(connection, candidate, now):
                return None  # another process took its submitter's last place
            return await self._start(connection, candidate, node_id, now)

    async def _next(self) -> JobRecord | None:
        async with self._store.reading(brief=True) as connection:
            heads = await queue_heads(connection, self._clock())
            if not heads:
                return None
            candidates = [_candidate(job) for job in heads]
            shares = await self._shares(connection, candidates)
        quotas = {one.submitter: self.rules.quota_of(one.submitter) for one in candidates}
        choice = decide_next(candidates, shares, quotas)
        for job in heads:
            if (why := choice.passed_by.get(job.id)) and job.message != why:
                await self._tell_why(job.id, why)
        return next((job for job in heads if job.id == choice.job_id), None)

    async def _shares(
        self, connection: AsyncConnection, heads: list[Candidate]
    ) -> Mapping[str, Share]:
        """Not asked for while one submitter alone waits and has no limits: there is nothing to weigh."""
        if len(heads) == 1 and self.rules.quota_of(heads[0].submitter) == Quota():
            return {}
        return await shares_of(connection, self._clock())

    async def _tell_why(self, job_id: str, message: str) -> None:
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is JobState.QUEUED and job.message != message:
                now = self._clock()
                await change_job(connection, job_id, message=message, modified_at=now)
                await add_history(connection, history_item(job_id, now, "Queueing", message))

    async def _may_run(self, connection: AsyncConnection, job: JobRecord, now: int) -> bool:
        quota = self.rules.quota_of(job.submitter or "")
        if quota == Quota(weight=quota.weight):
            return True
        shares = await shares_of(connection, now)
        return over_quota(quota, shares.get(job.submitter or "", NO_SHARE)) is None

    async def _start(
        self, connection: AsyncConnection, job: JobRecord, node_id: str, now: int
    ) -> Lease:
        attempt, until = job.attempts + 1, now + self._lease_time
        execution_id = f"e-{uuid4()}"
        values = {
            "id": execution_id,
            "job_id": job.id,
            "of_job": job.id,
            "attempt": attempt,
            "node_id": node_id,
            "lease_until": until,
            "created_at": now,
            "modified_at": now,
        }
        token = int((await connection.execute(_START, values)).scalar_one())
        scheduled = history_item(
            job.id,
            now,
            "Scheduling",
            f"Started on {node_id}",
            execution_id=execution_id,
            details={"NodeID": node_id, "Token": str(token)},
            new=ExecutionState.BID_ACCEPTED,
        )
        running = await move_job(
            connection,
            job,
            JobState.RUNNING,
            "running",
            now,
            after=[scheduled],
            attempts=attempt,
            not_before=None,
        )
        await add_usage(connection, job.submitter or "", now, started=True)
        return Lease(running, execution_id, attempt, token, until)

    async def tell_waiting(self, why: str) -> None:
        """Say at the queued jobs that would be next why nothing starts now."""
        await tell_queue_heads(self._store, why, self._clock())

    async def note(self, lease: Lease, topic: str, message: str) -> None:
        """Say at a job that runs what is done with it; kept in its history.

        Raises:
            LeaseLost: stop at once and report nothing.
        """
        now = self._clock()
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, lease.job.id, lock=True)
            await _held(connection, lease, now)
            if not job.stop_requested and not job.timed_out:  # these have their own message
                await change_job(connection, job.id, message=message, modified_at=now)
            item = history_item(job.id, now, topic, message, execution_id=lease.execution_id)
            await add_history(connection, item)

    async def heartbeat(
        self, lease: Lease, reached: Sequence[Reached] = (), *, stood: int = 0
    ) -> bool:
        """Keep the lease, and record states that the run reached since; says whether the run is to end.

        It is to end when the job was asked to stop, or ran into its total timeout. `stood` are the nanoseconds since the last
        heartbeat in which the run stood still: they do not count.

        Raises:
            LeaseLost: stop at once and report nothing.
        """
        now = self._clock()
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, lease.job.id, lock=True)
            held = await _held(connection, lease, now)
            execution, steps = reached_steps(held, reached)
            await connection.execute(
                _KEEP, {"execution": held.id, "lease_until": now + self._lease_time}
            )
            if execution != held:
                await change_execution(
                    connection,
                    execution.id,
                    state=execution.state,
                    message=execution.message,
                    modified_at=now,
                )
            if steps:
                await add_history(connection, *steps)
            job = await put_off_deadline(connection, job, stood)
            late = await self._note_if_late(connection, job, now)
            return late or execution.desired_state is DesiredState.STOPPED

    async def _note_if_late(self, connection: AsyncConnection, job: JobRecord, now: int) -> bool:
        """Whether a running job is over its total time; noted once, and its worker is told."""
        if job.timed_out or job.stop_requested or job.deadline is None or job.deadline > now:
            return job.timed_out
        message = why_too_late(job.spec, job.total_deadline, now)
        await change_job(connection, job.id, timed_out=True, message=message, modified_at=now)
        await ask_to_stop(connection, job.id)
        await add_history(connection, history_item(job.id, now, "Job Timeout", message))
        return True

    async def set_execution_state(self, lease: Lease, state: ExecutionState, message: str) -> None:
        """Record that a running execution reached a state that is not its last, or what it does now in the same one.

        Raises:
            LeaseLost: stop at once and report nothing.
        """
        await self.heartbeat(lease, [Reached(state, message, self._clock())])

    async def finish(
        self,
        lease: Lease,
        result: ExecutionResult,
        *,
        reached: Sequence[Reached] = (),
        retry: bool = False,
        counted: bool = True,
        most_attempts: int | None = None,
        wait_seconds: float = 0.0,
    ) -> None:
        """Record how an execution ended, the states on its way there, and the job's next state, in one step.

        Reporting the same end twice changes nothing. With `retry` the job is queued again while attempts remain
        (`most_attempts`, or the rules'), and not taken before `wait_seconds` are over; one that is not `counted` (we were
        asked to shut down) does not use one up.

        Raises:
            LeaseLost: another worker has the job, or it ended under another token.
        """
        now = self._clock()
        async with self._store.transaction(brief=True) as connection:
            job = await find_job(connection, lease.job.id, lock=True)
            found = await find_execution(connection, lease.execution_id)
            if found is not None and found.state == result.state:
                return
            execution, steps = reached_steps(_checked(found, lease, now), reached)
            steps.append(await end_execution(connection, execution, result, now))
            compute, written = used_by(result)
            if compute or written:
                await add_usage(
                    connection, job.submitter or "", now, compute_ms=compute, output_bytes=written
                )
            most = self.rules.max_attempts if most_attempts is None else most_attempts
            state, message, attempts = what_follows(
                job, result, most if retry else 0, wait_seconds, counted=counted
            )
            waits = state is JobState.QUEUED and counted and wait_seconds > 0
            await move_job(
                connection,
                job,
                state,
                message,
                now,
                before=steps,
                attempts=attempts,
                not_before=now + int(wait_seconds * _SECOND) if waits else None,
            )
        self.ends.give()  # and whoever reports looks for work next, so nobody else need be woken

    async def end_late(self) -> list[str]:
        """The jobs that ran into their queue or total timeout: queued ones have failed, running ones are told to end."""
        now = self._clock()
        query = select(jobs.c.id).where(jobs.c.deadline <= now).limit(1000)
        async with self._store.reading(brief=True) as connection:
            late = [row.id for row in await connection.execute(query)]
        ended = []
        for job_id in late:
            async with self._store.transaction(durable=False, brief=True) as connection:
                job = await find_job(connection, job_id, lock=True)
                if job.deadline is None or job.deadline > now:
                    continue
                if job.state is JobState.QUEUED:
                    message = why_too_late(job.spec, job.total_deadline, now)
                    await move_job(connection, job, JobState.FAILED, message, now)
                    ended.append(job_id)
                elif not job.timed_out and await self._note_if_late(connection, job, now):
                    ended.append(job_id)
        if ended:
            self.stops.give()
            self.ends.give()
        return ended

    @property
    def _lease_time(self) -> int:
        return int(self.rules.lease_seconds * _SECOND)


def _candidate(job: JobRecord) -> Candidate:
    return Candidate(job.id, job.submitter or "", job.priority, job.created_at)


async def _held(connection: AsyncConnection, lease: Lease, now: int) -> ExecutionRecord:
    """The execution of a lease that still holds; the caller has locked its job."""
    return _checked(await find_execution(connection, lease.execution_id), lease, now)


def _checked(execution: ExecutionRecord | None, lease: Lease, now: int) -> ExecutionRecord:
    if (
        execution is None
        or execution.token != lease.token
        or execution.lease_until is None
        or execution.lease_until <= now
    ):
        raise LeaseLost(f"the lease of {lease.execution_id} (token {lease.token}) is lost")
    return execution
