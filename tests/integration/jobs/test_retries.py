"""Jobs that are tried again after a wait, and runs that a restarted node goes on with."""

from __future__ import annotations

import pytest

from sp_plugin.jobs.queue import InvalidTransition, QueueRules
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.store.jobs import ExecutionResult
from tests.integration.jobs.parts import Sidecar
from tests.integration.jobs.test_queue import BROKEN, Clock, queued


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def queue(tmp_path, clock):
    sidecar = Sidecar(tmp_path, clock=clock, rules=QueueRules(lease_seconds=30))
    await sidecar.create_tables()
    yield sidecar.queue
    await sidecar.close()


async def test_a_job_waits_before_it_is_tried_again_and_others_go_first(queue, clock):
    first = await queued(queue)
    lease = await queue.take("n")
    await queue.finish(lease, BROKEN, retry=True, most_attempts=3, wait_seconds=60)
    job = await queue.job(first)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert job.message == "again in 60 s, after attempt 1 of 3: broke"
    assert await queue.take("n") is None
    other = await queued(queue)
    assert (await queue.take("n")).job.id == other
    clock.pass_seconds(61)
    again = await queue.take("n")
    assert (again.job.id, again.attempt, again.token) == (first, 2, 2)
    assert (await queue.job(first)).not_before is None


async def test_attempts_end_as_the_outcome_says_not_as_the_queue_does(queue, clock):
    job_id = await queued(queue)
    for attempt in range(1, 6):
        clock.pass_seconds(100)
        lease = await queue.take("n")
        assert lease.attempt == attempt
        await queue.finish(lease, BROKEN, retry=True, most_attempts=5, wait_seconds=1)
    job = await queue.job(job_id)
    assert (job.state, job.message) == (JobState.FAILED, "broke")


async def test_a_kill_while_results_wait_for_their_server_does_not_use_up_the_attempts(
    queue, clock
):
    away = ExecutionResult(state=ExecutionState.FAILED, outcome="publish_failed", message="away")
    waiting = await queued(queue)
    for _ in range(3):
        lease = await queue.take("n")
        await queue.finish(lease, away, retry=True, most_attempts=14, wait_seconds=1)
        clock.pass_seconds(2)
    assert (await queue.take("n")).attempt == 4
    assert await queue.release_node("n") == [waiting]  # it was killed, and is started again
    job = await queue.job(waiting)
    assert (job.state, job.attempts) == (JobState.QUEUED, 4)


async def test_a_job_that_waits_for_its_next_attempt_can_be_tried_at_once(queue):
    waiting = await queued(queue)
    lease = await queue.take("n")
    with pytest.raises(InvalidTransition, match="does not wait for another attempt"):
        await queue.retry_now(waiting)
    await queue.finish(lease, BROKEN, retry=True, most_attempts=3, wait_seconds=3600)
    assert await queue.take("n") is None
    job = await queue.retry_now(waiting)
    assert (job.state, job.not_before, job.message) == (
        JobState.QUEUED,
        None,
        "to be tried again now",
    )
    again = await queue.take("n")
    assert (again.job.id, again.attempt) == (waiting, 2)
    assert [item.topic for item in await queue.history(waiting)].count("Retry") == 1


async def test_a_job_that_waits_for_its_next_attempt_can_be_stopped(queue):
    job_id = await queued(queue)
    await queue.finish(await queue.take("n"), BROKEN, retry=True, wait_seconds=600)
    await queue.stop(job_id, "enough")
    assert (await queue.job(job_id)).state is JobState.STOPPED


async def test_a_node_that_was_started_again_goes_on_with_what_runs_under_its_token(queue, clock):
    job_id = await queued(queue)
    lease = await queue.take("n-1")
    await queue.set_execution_state(lease, ExecutionState.RUNNING, "running")
    clock.pass_seconds(300)  # the lease ran out, and nobody took the job
    (adopted,) = await queue.adopt("n-1", {lease.execution_id: lease.token, "e-unknown": 1})
    assert (adopted.execution_id, adopted.token, adopted.attempt) == (lease.execution_id, 1, 1)
    assert adopted.began_at is not None
    assert await queue.release_node("n-1", {lease.execution_id}) == []
    assert await queue.requeue_expired() == []
    assert await queue.heartbeat(adopted) is False
    assert (await queue.job(job_id)).state is JobState.RUNNING
    messages = [item.message for item in await queue.history(job_id)]
    assert "n-1 was started again and goes on waiting for it" in messages


async def test_a_node_does_not_go_on_with_what_is_not_its_own_any_more(queue, clock):
    await queued(queue)
    lease = await queue.take("n-1")
    runs = {lease.execution_id: lease.token}
    assert await queue.adopt("n-2", runs) == []
    assert await queue.adopt("n-1", {lease.execution_id: lease.token + 1}) == []
    clock.pass_seconds(300)
    await queue.requeue_expired()
    assert await queue.adopt("n-1", runs) == []  # another may have it now
    again = await queue.take("n-1")
    await queue.set_execution_state(again, ExecutionState.PUBLISHING, "publishing results")
    assert await queue.adopt("n-1", {again.execution_id: again.token}) == []  # its program is over


async def test_a_job_that_was_stopped_meanwhile_is_told_so_at_the_first_heartbeat(queue):
    job_id = await queued(queue)
    lease = await queue.take("n-1")
    await queue.set_execution_state(lease, ExecutionState.RUNNING, "running")
    await queue.stop(job_id, "enough")
    (adopted,) = await queue.adopt("n-1", {lease.execution_id: lease.token})
    assert await queue.heartbeat(adopted) is True
    execution = await queue.execution(lease.execution_id)
    assert execution.desired_state is DesiredState.STOPPED


async def test_progress_changes_an_executions_message_and_not_its_history(queue):
    job_id = await queued(queue)
    lease = await queue.take("n-1")
    await queue.set_execution_state(lease, ExecutionState.RUNNING, "running")
    before = len(await queue.history(job_id))
    await queue.set_execution_state(lease, ExecutionState.RUNNING, "pulling: 1 of 2 bytes")
    assert (await queue.execution(lease.execution_id)).message == "pulling: 1 of 2 bytes"
    assert len(await queue.history(job_id)) == before
