"""A process that writes to the queue is killed anywhere: what it was told is there, and the columns agree with each other.

On SQLite and, where one is named, on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.job_tables import executions, job_history, jobs
from sp_plugin.store.jobs import (
    ExecutionRecord,
    ExecutionResult,
    JobRecord,
    Lease,
    LeaseLost,
    execution_of,
    job_of,
)
from tests.databases import database_url
from tests.queue_writer import NODE, RULES

_SECOND = 10**9
_ROUNDS = 4


class Said:
    """What the killed processes had been told, by kind."""

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[list[Any]]] = defaultdict(list)

    def add(self, raw: bytes) -> None:
        for line in raw.split(b"\n")[:-1]:  # what comes after the last newline was cut off
            what, *rest = json.loads(line)
            self.lines[what].append(rest)


async def _write_and_be_killed(url: str, chance: random.Random, said: Said) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.queue_writer", url, str(chance.randrange(1 << 30)),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    heard = [await process.stdout.readline() for _ in range(chance.randint(200, 500))]
    await asyncio.sleep(chance.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    said.add(b"".join(heard) + await process.stdout.read())
    assert await process.wait() == -signal.SIGKILL


async def _everything(store: Store) -> tuple[dict[str, JobRecord], dict[str, list[Any]]]:
    async with store.reading() as connection:
        known = {row.id: job_of(row) for row in await connection.execute(select(jobs))}
        runs: dict[str, list[Any]] = {job_id: [] for job_id in known}
        for row in await connection.execute(select(executions).order_by(executions.c.token)):
            runs[row.job_id].append(execution_of(row))
    return known, runs


def _check_what_was_said(
    said: Said, known: dict[str, JobRecord], runs: dict[str, list[ExecutionRecord]]
) -> None:
    for job_id, submitter, priority, timeouts in said.lines["submitted"]:
        job = known[job_id]
        assert (job.submitter, job.priority) == (submitter, priority)
        assert job.spec["Tasks"][0]["Timeouts"] == timeouts
    for (job_id,) in said.lines["admitted"]:
        assert known[job_id].first_queued_at is not None
    for job_id, execution_id, token in said.lines["taken"]:
        (run,) = [run for run in runs[job_id] if run.id == execution_id]
        assert run.token == token
    for job_id, execution_id in said.lines["completed"]:
        assert known[job_id].state is JobState.COMPLETED
        (run,) = [run for run in runs[job_id] if run.state is ExecutionState.COMPLETED]
        assert run.id == execution_id
    for (job_id,) in said.lines["stopped"]:
        job = known[job_id]  # stopped, or told to and its run not over, or over before it heard
        assert job.state is JobState.STOPPED or job.stop_requested


def _check_columns(job: JobRecord, runs: list[ExecutionRecord]) -> None:
    assert [run.token for run in runs] == list(range(1, len(runs) + 1))
    held = [run for run in runs if run.lease_until is not None]
    assert len(held) == (job.state is JobState.RUNNING)
    assert all(run.state.is_terminal for run in runs if run not in held)
    timeouts = job.spec["Tasks"][0]["Timeouts"]
    total = None
    if job.first_queued_at is not None and timeouts["TotalTimeout"]:
        total = job.first_queued_at + timeouts["TotalTimeout"] * _SECOND
    assert job.total_deadline == total
    if job.state is JobState.RUNNING:
        assert job.deadline == total
    elif job.state is JobState.QUEUED:
        assert (job.deadline is None) == (total is None and not timeouts["QueueTimeout"])
        assert job.deadline is None or total is None or job.deadline <= total
    else:
        assert job.deadline is None


async def _check_history(store: Store, known: dict[str, JobRecord]) -> None:
    last: dict[str, str | None] = {}
    query = select(job_history).where(job_history.c.execution_id.is_(None))
    async with store.reading() as connection:
        for row in await connection.execute(query.order_by(job_history.c.seq)):
            if row.new_state is not None:
                assert row.previous_state == last.get(row.job_id)
                last[row.job_id] = row.new_state
    assert last == {job.id: job.state.value for job in known.values()}


async def _check_fence(queue: JobQueue, job: JobRecord, run: ExecutionRecord) -> None:
    """What the killed worker would still say is refused."""
    until = run.lease_until or 0
    old = Lease(job, run.id, run.attempt, run.token, until)
    done = ExecutionResult(state=ExecutionState.COMPLETED, outcome="finished", message="")
    for report in (queue.finish(old, done), queue.heartbeat(old)):
        with pytest.raises(LeaseLost):
            await report


@pytest.mark.timeout(180)
async def test_a_killed_writer_loses_nothing_it_was_told_and_leaves_no_half_step(tmp_path: Path):
    url, chance, said = database_url(tmp_path), random.Random(3), Said()
    store = Store(url)
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    queue, cut_off = JobQueue(store, time.time_ns, RULES), 0
    try:
        for _ in range(_ROUNDS):
            await _write_and_be_killed(url, chance, said)
            known, runs = await _everything(store)
            _check_what_was_said(said, known, runs)
            for job_id, job in known.items():
                _check_columns(job, runs[job_id])
            await _check_history(store, known)
            lost = [(known[j], run) for j in known for run in runs[j] if run.lease_until]
            assert sorted(await queue.release_node(NODE)) == sorted(job.id for job, _ in lost)
            cut_off += len(lost)
            for job, run in lost:
                await _check_fence(queue, job, run)
        assert len(said.lines["completed"]) > 20
        assert cut_off
        await _check_order(queue)
    finally:
        await store.close()


async def _check_order(queue: JobQueue) -> None:
    """Each submitter's jobs come by priority, then by age, also those that were given back."""
    waiting = await queue.list_jobs([JobState.QUEUED], limit=100_000)
    expected: dict[str | None, list[str]] = defaultdict(list)
    for job in sorted(waiting, key=lambda job: (-job.priority, job.created_at, job.id)):
        expected[job.submitter].append(job.id)
    taken: dict[str | None, list[str]] = defaultdict(list)
    for _ in range(min(20, len(waiting))):
        lease = await queue.take("n-next")
        assert lease is not None
        taken[lease.job.submitter].append(lease.job.id)
    for submitter, ids in taken.items():
        assert ids == expected[submitter][: len(ids)]
