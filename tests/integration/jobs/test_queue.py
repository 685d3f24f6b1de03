from __future__ import annotations

import asyncio

import pytest

from sp_plugin.jobs.queue import InvalidTransition, QueueRules
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.jobs import ExecutionResult, JobNotFound, LeaseLost
from tests.integration.jobs.parts import Sidecar

SPEC = {"Name": "a", "Namespace": "default", "Priority": 0}
DONE = ExecutionResult(state=ExecutionState.COMPLETED, outcome="finished", message="", exit_code=0)
BROKEN = ExecutionResult(state=ExecutionState.FAILED, outcome="runtime_fault", message="broke")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def queue(tmp_path, clock):
    rules = QueueRules(lease_seconds=30, max_attempts=3)
    sidecar = Sidecar(tmp_path, clock=clock, rules=rules)
    await sidecar.create_tables()
    yield sidecar.queue
    await sidecar.close()


async def queued(queue, **spec) -> str:
    job = await queue.submit(SPEC | spec)
    await queue.set_bundle(job.id, "ab" * 32, {"nonce": job.id})
    await queue.admit(job.id)
    return job.id


async def test_a_job_waits_until_it_is_admitted(queue):
    job = await queue.submit(SPEC)
    assert await queue.take("n") is None
    with pytest.raises(InvalidTransition, match="no bundle"):
        await queue.admit(job.id)
    await queue.set_bundle(job.id, "ab" * 32, {})
    await queue.set_message(job.id, "waits for approvals")
    assert [(j.id, j.message) for j in await queue.waiting()] == [(job.id, "waits for approvals")]
    await queue.admit(job.id)
    lease = await queue.take("n")
    assert lease.job.id == job.id
    assert lease.job.state is JobState.RUNNING
    with pytest.raises(InvalidTransition, match="fixed"):
        await queue.set_bundle(job.id, "cd" * 32, {})


async def test_priority_comes_before_age(queue):
    first = await queued(queue)
    urgent = await queued(queue, Priority=5)
    assert [(await queue.take("n")).job.id for _ in range(2)] == [urgent, first]
    assert await queue.take("n") is None


async def test_a_job_is_leased_once_however_many_ask(queue):
    ids = {await queued(queue) for _ in range(5)}
    leases = await asyncio.gather(*(queue.take(f"n{i}") for i in range(12)))
    taken = [lease.job.id for lease in leases if lease]
    assert sorted(taken) == sorted(ids)


async def test_a_finished_job_keeps_its_result_and_its_history(queue):
    job_id = await queued(queue)
    lease = await queue.take("n")
    await queue.set_execution_state(lease, ExecutionState.RUNNING, "running")
    await queue.finish(lease, DONE)
    await queue.finish(lease, DONE)
    assert (await queue.job(job_id)).state is JobState.COMPLETED
    (execution,) = await queue.executions_of(job_id)
    assert (execution.state, execution.exit_code) == (ExecutionState.COMPLETED, 0)
    states = [
        (bool(item.execution_id), item.new_state)
        for item in await queue.history(job_id)
        if item.new_state
    ]
    assert states == [
        (False, "Pending"),
        (False, "Queued"),
        (False, "Running"),
        (True, "5"),
        (True, "6"),
        (True, "9"),
        (False, "Completed"),
    ]


async def test_a_silent_workers_job_is_given_to_another_and_its_report_refused(queue, clock):
    job_id = await queued(queue)
    old = await queue.take("n1")
    clock.pass_seconds(20)
    assert await queue.heartbeat(old) is False
    clock.pass_seconds(20)
    assert await queue.requeue_expired() == []
    clock.pass_seconds(11)
    assert await queue.requeue_expired() == [job_id]
    new = await queue.take("n2")
    assert (new.token, new.attempt) == (old.token + 1, 2)
    for report in (
        queue.finish(old, DONE),
        queue.heartbeat(old),
        queue.set_execution_state(old, ExecutionState.RUNNING, ""),
    ):
        with pytest.raises(LeaseLost):
            await report
    await queue.finish(new, DONE)
    with pytest.raises(LeaseLost):
        await queue.finish(old, DONE)
    first, second = await queue.executions_of(job_id)
    assert (first.state, second.state) == (ExecutionState.FAILED, ExecutionState.COMPLETED)


async def test_an_expired_lease_is_lost_even_before_anybody_took_the_job(queue, clock):
    await queued(queue)
    lease = await queue.take("n1")
    clock.pass_seconds(31)
    with pytest.raises(LeaseLost):
        await queue.finish(lease, DONE)


async def test_a_restarted_node_gives_its_jobs_back_at_once(queue):
    job_id = await queued(queue)
    await queue.take("n1")
    assert await queue.release_node("n2") == []
    assert await queue.release_node("n1") == [job_id]
    assert (await queue.take("n1")).attempt == 2


async def test_retries_end_after_the_last_attempt(queue):
    job_id = await queued(queue)
    for _ in range(3):
        await queue.finish(await queue.take("n"), BROKEN, retry=True)
    job = await queue.job(job_id)
    assert (job.state, job.message, job.attempts) == (JobState.FAILED, "broke", 3)
    assert await queue.take("n") is None


async def test_a_shutdown_uses_up_no_attempt(queue):
    job_id = await queued(queue)
    for _ in range(5):
        await queue.finish(await queue.take("n"), BROKEN, retry=True, counted=False)
    assert (await queue.job(job_id)).state is JobState.QUEUED


async def test_a_result_that_is_not_retryable_fails_the_job(queue):
    job_id = await queued(queue)
    await queue.finish(await queue.take("n"), BROKEN)
    assert (await queue.job(job_id)).state is JobState.FAILED


async def test_stopping_reaches_waiting_and_running_jobs(queue):
    waiting, running = await queued(queue), await queued(queue, Priority=1)
    lease = await queue.take("n")
    assert (await queue.stop(waiting, "changed my mind")).state is JobState.STOPPED
    assert (await queue.stop(running, "")).state is JobState.RUNNING
    assert await queue.heartbeat(lease) is True
    cancelled = ExecutionResult(
        state=ExecutionState.CANCELLED, outcome="cancelled", message="cancelled"
    )
    await queue.finish(lease, cancelled)
    assert (await queue.job(running)).state is JobState.STOPPED
    assert (await queue.job(waiting)).message == "stopped: changed my mind"
    await queue.stop(running, "again")


async def test_a_completed_job_cannot_be_stopped_nor_an_unknown_one(queue):
    job_id = await queued(queue)
    await queue.finish(await queue.take("n"), DONE)
    with pytest.raises(InvalidTransition, match="Completed"):
        await queue.stop(job_id, "")
    with pytest.raises(JobNotFound):
        await queue.stop("j-none", "")


async def test_submitting_again_under_the_same_id_makes_no_second_job(queue):
    first = await queue.submit(SPEC, job_id="j-1")
    assert await queue.submit(SPEC, job_id="j-1") == first
    assert len(await queue.list_jobs()) == 1


async def test_a_job_that_may_not_start_any_more_goes_back_and_the_next_is_taken(queue):
    revoked, other = await queued(queue, Priority=1), await queued(queue)

    async def why_not(job):
        return "approval was revoked" if job.id == revoked else None

    lease = await queue.take("n", why_not)
    assert lease.job.id == other
    job = await queue.job(revoked)
    assert (job.state, job.message) == (JobState.PENDING, "approval was revoked")
