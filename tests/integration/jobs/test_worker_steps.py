"""What is recorded of a run while it goes on, and what a worker does when nobody can say whether a job may start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lotus_client.errors import LotusConnectError
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.jobs.worker import Worker
from tests.integration.executors.test_wasm import SLEEP
from tests.integration.jobs.parts import Sidecar, wasm_job


@pytest.fixture
async def sidecar(tmp_path: Path) -> AsyncIterator[Sidecar]:
    made = Sidecar(tmp_path)
    await made.create_tables()
    yield made
    for executor in made.executors.values():
        await executor.close()  # type: ignore[attr-defined]
    await made.close()


async def test_a_node_that_is_away_keeps_jobs_queued_and_the_worker_alive(sidecar):
    """Nobody can say whether the job may start: it does not, and nothing ends but the outage."""
    away = [True] * 3

    async def why_not(job):
        if away:
            away.pop()
            raise LotusConnectError("connection refused")
        return

    worker = Worker(sidecar.queue, sidecar.runner, "n-1", why_not_start=why_not, idle_seconds=0.02)
    job = await sidecar.submit(wasm_job())
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    async with asyncio.timeout(30):
        while (await sidecar.queue.job(job.id)).state is not JobState.COMPLETED:
            await asyncio.sleep(0.02)
            assert not working.done()
    stop.set()
    await working
    assert away == []
    assert len(await sidecar.queue.executions_of(job.id)) == 1


async def test_a_run_that_ends_at_once_has_all_its_steps_in_the_history_with_their_times(sidecar):
    job = await sidecar.submit(wasm_job())
    await sidecar.worker.run_once()
    steps = [(i.new_state, i.at) for i in await sidecar.queue.history(job.id) if i.new_state]
    assert [state for state, _ in steps[-6:]] == ["Running", "5", "6", "7", "9", "Completed"]
    times = [at for _, at in steps]
    assert times == sorted(times)
    assert (
        len(set(times[-5:-1])) == 4
    )  # taken, running, publishing, ended: not written as one moment


async def test_a_long_run_is_seen_as_running_soon(sidecar):
    job = await sidecar.submit(wasm_job(SLEEP, Timeouts={"ExecutionTimeout": 20}))
    working = asyncio.create_task(sidecar.worker.run_once())
    async with asyncio.timeout(10):
        while True:
            runs = await sidecar.queue.executions_of(job.id)
            if runs and runs[0].state is ExecutionState.RUNNING:
                break
            await asyncio.sleep(0.02)
    assert not working.done()
    await sidecar.queue.stop(job.id, "seen enough")
    await working
    assert (await sidecar.queue.job(job.id)).state is JobState.STOPPED
