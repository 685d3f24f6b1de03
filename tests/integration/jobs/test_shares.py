"""Fair shares, quotas, timeouts, pages and labels of the queue, in a database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.http.labels import parse_selector
from sp_plugin.jobs.fairness import Quota
from sp_plugin.jobs.queue import JobQueue, QueueRules, SeveralJobs
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.job_lists import JobFilter
from sp_plugin.store.job_tables import jobs
from sp_plugin.store.jobs import ExecutionResult, JobNotFound
from sp_plugin.store.migrate import open_store
from sp_plugin.store.submitters import HEADS
from tests.databases import database_url
from tests.integration.jobs.parts import Sidecar
from tests.integration.jobs.test_queue import DONE, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def queue(tmp_path, clock):
    quotas = {"narrow": Quota(max_running=1)}
    sidecar = Sidecar(tmp_path, clock=clock, rules=QueueRules(quotas=quotas))
    await sidecar.create_tables()
    yield sidecar.queue
    await sidecar.close()


async def queued(queue, who: str | None = None, timeouts=None, **spec) -> str:
    values = {"Tasks": [{"Name": "main", "Timeouts": timeouts or {}}], **spec}
    job = await queue.submit(values, submitter=who, bundle=("ab" * 32, {}))
    await queue.admit(job.id)
    return job.id


async def test_submitters_take_turns_however_many_jobs_one_hands_in(queue):
    for _ in range(5):
        await queued(queue, "many", Priority=100)
    await queued(queue, "few")
    await queued(queue, "few")
    order = [(await queue.take("n")).job.submitter for _ in range(4)]
    assert order == ["many", "few", "many", "few"]


async def test_the_next_job_is_found_without_sorting_the_queue(tmp_path):
    store = await open_store(database_url(tmp_path))
    waiting = JobQueue(store, Clock())
    job = await queued(waiting, "many")
    async with store.transaction() as connection:
        row = (await connection.execute(select(jobs).where(jobs.c.id == job))).one()._asdict()
        copies = [
            row | {"id": f"{job}-{n}", "created_at": n, "submitter": f"s{n % 3}"}
            for n in range(3000)
        ]
        await connection.execute(insert(jobs), copies)
        await connection.execute(text("ANALYZE"))
        plan = await plan_of_heads(connection)
    heads = [(await waiting.take("n")).job for _ in range(4)]
    await store.close()
    assert {head.submitter for head in heads} == {"many", "s0", "s1", "s2"}
    if (database := tmp_path / "state.db").exists():
        assert (
            steps_of_heads(database) < 2_000
        )  # of SQLite's machine; it takes 20 for each job it sorts
    assert any("ix_jobs_queue" in line for line in plan)
    assert not [line for line in plan if "Sort  " in line and "Incremental" not in line]
    assert not [line for line in plan if "SCAN jobs" in line or "Seq Scan" in line]


async def plan_of_heads(connection: AsyncConnection) -> list[str]:
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    rows = await connection.execute(text(f"{explain} {HEADS.text}"), {"now": 0})
    return [str(row[-1]) for row in rows]


def steps_of_heads(database: Path) -> int:
    count = 0

    def hundred() -> None:
        nonlocal count
        count += 100

    with closing(sqlite3.connect(database)) as connection:
        connection.set_progress_handler(hundred, 100)
        connection.execute(HEADS.text, {"now": 0}).fetchall()
    return count


async def test_the_highest_priority_then_the_oldest_of_a_submitter_comes_first(queue, clock):
    made = []
    for priority in (0, 5, 5, -3):
        clock.now += 1
        made.append(await queued(queue, "one", Priority=priority))
    taken = [(await queue.take("n")).job.id for _ in made]
    assert taken == [made[1], made[2], made[0], made[3]]


async def test_a_quota_holds_a_job_back_says_why_and_lets_it_go(queue):
    first, second = await queued(queue, "narrow"), await queued(queue, "narrow")
    lease = await queue.take("n")
    assert lease.job.id == first
    assert await queue.take("n") is None
    held = await queue.job(second)
    assert held.state is JobState.QUEUED
    assert "max_running" in held.message
    other = await queued(queue, "other")
    assert (await queue.take("n")).job.id == other
    await queue.finish(lease, DONE)
    assert (await queue.take("n")).job.id == second


async def test_a_job_admitted_twice_is_not_taken_from_its_worker(queue):
    job_id = await queued(queue)
    lease = await queue.take("n")
    assert (await queue.admit(job_id)).state is JobState.RUNNING
    await queue.finish(lease, DONE)
    assert (await queue.job(job_id)).state is JobState.COMPLETED


async def test_a_job_that_waits_too_long_fails_with_the_timeout_named(queue, clock):
    job_id = await queued(queue, timeouts={"QueueTimeout": 10})
    clock.pass_seconds(9)
    assert await queue.end_late() == []
    clock.pass_seconds(2)
    assert await queue.end_late() == [job_id]
    job = await queue.job(job_id)
    assert (job.state, "QueueTimeout" in job.message) == (JobState.FAILED, True)


async def test_a_running_job_over_its_total_time_is_told_to_end_and_fails(queue, clock):
    job_id = await queued(queue, timeouts={"TotalTimeout": 20})
    lease = await queue.take("n")
    assert await queue.heartbeat(lease) is False
    clock.pass_seconds(21)
    assert await queue.heartbeat(lease) is True
    ended = ExecutionResult(state=ExecutionState.CANCELLED, outcome="cancelled", message="")
    await queue.finish(lease, ended)
    job = await queue.job(job_id)
    assert (job.state, "TotalTimeout" in job.message) == (JobState.FAILED, True)
    assert "Job Timeout" in [item.topic for item in await queue.history(job_id)]


async def test_pages_go_on_behind_the_last_job_whatever_comes_meanwhile(queue):
    ids = [await queued(queue) for _ in range(5)]
    first = await queue.page(JobFilter(limit=2, newest_first=True))
    await queued(queue)
    second = await queue.page(JobFilter(limit=9, newest_first=True, after=first.after))
    shown = [json.loads(item)["ID"] for item in first.items + second.items]
    assert shown == ids[::-1]
    assert second.after is None


@pytest.mark.parametrize(
    ("selector", "found"),
    [("bacalhau_canary!=true", "ab"), ("env=x", "a"), ("env", "ab"), ("!env", "c"),
     ("env in (x,y)", "ab"), ("env notin (x)", "bc"), ("env=x,env!=x", "")],
)  # fmt: skip
async def test_labels_are_matched_in_the_database(queue, selector, found):
    await queued(queue, Name="a", Labels={"env": "x"})
    await queued(queue, Name="b", Labels={"env": "y"})
    await queued(queue, Name="c", Labels={"bacalhau_canary": "true"})
    page = await queue.page(JobFilter(labels=parse_selector(selector)))
    assert "".join(json.loads(item)["Name"] for item in page.items) == found


async def test_a_job_is_found_by_name_id_or_the_only_beginning(queue):
    job_id = await queued(queue, Name="quakes")
    await queued(queue)
    assert (await queue.named("quakes")).id == (await queue.named(job_id)).id == job_id
    assert (await queue.named(job_id[:12])).id == job_id
    for wrong in ("j", "j-%", "nothing"):
        with pytest.raises(JobNotFound):
            await queue.named(wrong)
    third = await queue.submit({"Tasks": []}, job_id=f"{job_id}x")
    with pytest.raises(SeveralJobs):
        await queue.named(third.id[:20])
