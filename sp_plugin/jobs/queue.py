"""The durable queue: jobs go in once, are started at least once, and get one result.

A worker *takes* a job and holds a lease with a fencing token. It sends heartbeats; a lease that ran out is given to
whoever asks next under a higher token, and everything the older token reports raises `LeaseLost`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.leases import QueueRules
from sp_plugin.jobs.silent_leases import SilentLeases
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.jobs.transitions import InvalidTransition, ask_to_stop, move_job
from sp_plugin.store.job_lists import JobFilter, JobPage, find_by_prefix, find_named, find_page
from sp_plugin.store.job_tables import executions, job_labels, jobs
from sp_plugin.store.jobs import (
    ExecutionRecord,
    HistoryItem,
    JobNotFound,
    JobRecord,
    add_history,
    change_job,
    find_execution,
    find_executions,
    find_history,
    find_job,
    find_jobs,
    find_untraced,
    history_item,
    job_of_values,
)
from sp_plugin.store.submitters import count_waiting

__all__ = ["InvalidTransition", "JobQueue", "QueueRules", "SeveralJobs"]


class SeveralJobs(Exception):
    """The beginning of an ID that several jobs have."""


class JobQueue(SilentLeases):
    """The queue in a store. `clock` gives Unix nanoseconds."""

    # -- for those who submit and look ------------------------------------------------------------

    async def submit(
        self,
        spec: Mapping[str, Any],
        *,
        submitter: str | None = None,
        job_id: str | None = None,
        bundle: tuple[str, Mapping[str, Any]] | None = None,
        message: str = "",
        signer: str | None = None,
    ) -> JobRecord:
        """A new job in `Pending`, with that wire form (`JobSpec.to_wire()`), and its bundle (digest, values) if known.

        `message` says what it waits for, if that is known; `signer` whose signature over it was verified.

        With `job_id`, submitting again gives back the job that is there, so that a retried request makes no second one.
        """
        now, new_id = self._clock(), job_id or f"j-{uuid4()}"
        wire = _wire(spec, new_id)
        text = json.dumps(wire, sort_keys=True)
        digest, values = bundle or (None, None)
        row = {
            "id": new_id,
            "name": wire["Name"],
            "namespace": wire["Namespace"],
            "submitter": submitter or "",
            "signer": signer,
            "spec": text,
            "spec_bytes": len(text),
            "state": JobState.PENDING,
            "message": message or "submitted",
            "priority": spec.get("Priority") or 0,
            "stop_requested": False,
            "timed_out": False,
            "first_queued_at": None,
            "total_deadline": None,
            "deadline": None,
            "bundle_digest": digest,
            "bundle": None if values is None else json.dumps(values, sort_keys=True),
            "attempts": 0,
            "revision": 1,
            "created_at": now,
            "modified_at": now,
        }
        details = {} if digest is None else {"Digest": digest}
        if signer is not None:
            details |= {"Signer": signer}
        item = history_item(
            new_id, now, "Submission", "Job submitted", details=details, new=JobState.PENDING
        )
        async with self._store.transaction(brief=True) as connection:
            taken = await connection.execute(_submitting(connection), row)
            if not taken.rowcount:
                return await find_job(connection, new_id)
            waits = history_item(new_id, now, "Waiting", message)
            if labels := wire["Labels"]:
                rows = [{"job_id": new_id, "key": k, "value": v} for k, v in labels.items()]
                await connection.execute(insert(job_labels), rows)
            await add_history(connection, item, *([waits] if message else []))
        return job_of_values(row)

    async def job(self, job_id: str) -> JobRecord:
        """The job; raises `JobNotFound`."""
        async with self._store.reading(brief=True) as connection:
            return await find_job(connection, job_id)

    async def named(self, wanted: str) -> JobRecord:
        """The job with this name, ID, or only beginning of an ID; of several with one name the newest.

        Raises:
            JobNotFound: there is none.
            SeveralJobs: several IDs begin so.
        """
        async with self._store.reading(brief=True) as connection:
            if (found := await find_named(connection, wanted)) is not None:
                return found
        async with self._store.reading() as connection:  # it may look through all of them
            begun = await find_by_prefix(connection, wanted)
        if len(begun) > 1:
            raise SeveralJobs(f"several jobs begin with {wanted[:80]}; write more of the ID")
        if not begun:
            raise JobNotFound(f"job not found: {wanted[:80]}")
        return begun[0]

    async def page(self, wanted: JobFilter) -> JobPage:
        """One page of the list of jobs, as JSON text per job."""
        async with self._store.reading() as connection:
            return await find_page(connection, wanted)

    async def earlier_runs(self, program: str, limit: int) -> list[float]:
        """Wall seconds of the newest runs, among `limit` completed ones, of a module's SHA-256 or an image."""
        query = (
            select(executions.c.run_record, jobs.c.bundle)
            .join(jobs, jobs.c.id == executions.c.job_id)
            .where(executions.c.state == ExecutionState.COMPLETED)
            .order_by(executions.c.created_at.desc())
            .limit(limit)
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        found = []
        for record, bundle in rows:
            values = json.loads(bundle or "{}")
            if program and program in (values.get("module_sha256"), values.get("image")):
                usage = json.loads(record or "{}").get("usage") or {}
                found += [float(usage["wall_seconds"])] if "wall_seconds" in usage else []
        return found

    async def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state; 0 where there are none."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        async with self._store.reading() as connection:
            found = {JobState(state): n for state, n in await connection.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    async def waiting_count(self, submitter: str | None = None) -> int:
        """How many jobs wait to run, approved or not; of one submitter where it is given."""
        async with self._store.reading(brief=True) as connection:
            return await count_waiting(connection, submitter)

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
        async with self._store.reading(brief=True) as connection:
            return await find_executions(connection, job_id)

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        """The execution with exactly this ID, or None."""
        async with self._store.reading(brief=True) as connection:
            return await find_execution(connection, execution_id)

    async def untraced(self, after: tuple[int, str], limit: int) -> list[ExecutionRecord]:
        """Completed executions whose results nobody looked at yet, oldest end first, behind that time and ID."""
        async with self._store.reading() as connection:
            return await find_untraced(connection, after, limit)

    async def history(self, job_id: str, after: int = 0, limit: int = 1000) -> list[HistoryItem]:
        """A job's history behind a sequence number, oldest first."""
        async with self._store.reading(brief=True) as connection:
            return await find_history(connection, job_id, after=after, limit=limit)

    async def stop(self, job_id: str, reason: str) -> JobRecord:
        """The job, stopped, or asked to stop if it runs (its worker hears of it with the next heartbeat).

        Raises:
            InvalidTransition: it ended before with a result.
        """
        now = self._clock()
        async with self._store.transaction(brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is JobState.STOPPED or job.stop_requested:
                return job
            if job.state.is_terminal:
                raise InvalidTransition(
                    f"job {job_id} is {job.state} already and cannot be stopped"
                )
            message = f"stopped: {reason}" if reason else "stopped"
            if job.state is JobState.RUNNING:
                await change_job(
                    connection, job_id, stop_requested=True, message=message, modified_at=now
                )
                await ask_to_stop(connection, job_id)
                await add_history(connection, history_item(job_id, now, "Stop", message))
            else:
                await move_job(connection, job, JobState.STOPPED, message, now)
            stopped = await find_job(connection, job_id)
        self.stops.give()
        self.ends.give()
        return stopped

    async def retry_now(self, job_id: str) -> JobRecord:
        """The job, whose next attempt need not wait any longer.

        Raises:
            InvalidTransition: it does not wait for another attempt.
        """
        now = self._clock()
        async with self._store.transaction(brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is not JobState.QUEUED or job.not_before is None:
                raise InvalidTransition(
                    f"job {job_id} is {job.state} and does not wait for another attempt"
                )
            message = "to be tried again now"
            await change_job(connection, job_id, not_before=None, message=message, modified_at=now)
            await add_history(connection, history_item(job_id, now, "Retry", message))
            job = await find_job(connection, job_id)
        self.work.give()
        return job

    # -- for those who decide -----------------------------------------------------------------------

    async def set_bundle(self, job_id: str, digest: str, bundle: Mapping[str, Any]) -> None:
        """Record what the job will do (its bundle as canonical values) while it is `Pending`.

        Raises:
            InvalidTransition: the job left `Pending`.
        """
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.state is not JobState.PENDING:
                raise InvalidTransition(f"job {job_id} is {job.state}; its bundle is fixed")
            now = self._clock()
            text = json.dumps(bundle, sort_keys=True)
            values = {"bundle_digest": digest, "bundle": text, "modified_at": now}
            await change_job(connection, job_id, **values)
            if job.bundle_digest != digest:
                said = {"Digest": digest}
                item = history_item(job_id, now, "Approval", "Bundle resolved", details=said)
                await add_history(connection, item)

    async def set_message(self, job_id: str, message: str) -> None:
        """Say why a job waits; recorded in the history only when it changes."""
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if job.message == message or job.state is not JobState.PENDING:
                return  # it waits no more
            now = self._clock()
            await change_job(connection, job_id, message=message, modified_at=now)
            await add_history(connection, history_item(job_id, now, "Waiting", message))

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
        async with self._store.transaction(durable=False, brief=True) as connection:
            job = await find_job(connection, job_id, lock=True)
            if state is JobState.QUEUED and job.bundle_digest is None:
                raise InvalidTransition(f"job {job_id} has no bundle yet, so nothing was approved")
            if state is JobState.QUEUED and job.state is not JobState.PENDING:
                return job  # decided twice at once: it is queued, runs or is over already
            if job.state is not state:
                job = await move_job(connection, job, state, message, self._clock())
        (self.work if state is JobState.QUEUED else self.ends).give()
        return job


@cache
def _insert(dialect: str) -> Any:
    make: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return make(jobs).on_conflict_do_nothing()


def _submitting(connection: AsyncConnection) -> Any:
    """The insert of a new job that leaves alone one with the same ID."""
    return _insert(connection.dialect.name)


def _wire(spec: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    """The specification with every key that clients read; a job without a name is named by its ID."""
    empty: dict[str, Any] = {"Meta": {}, "Labels": {}, "Constraints": [], "Tasks": []}
    kept = {key: spec.get(key) or value for key, value in empty.items()}
    named = {
        "Name": spec.get("Name") or job_id,
        "Namespace": spec.get("Namespace") or "default",
    }
    return {**spec, **kept, **named}
