"""Jobs that are held back: frozen and resumed, ended to give way, not started, and told so."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deals.car import CarReader
from sp_plugin.jobs.queue import QueueRules
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.jobs import JobRecord
from tests.integration.executors.wasm_programs import COUNT, SLEEP
from tests.integration.jobs.parts import Sidecar, wasm_job


@pytest.fixture
async def sidecar(tmp_path: Path) -> AsyncIterator[Sidecar]:
    made = Sidecar(tmp_path)
    await made.create_tables()
    made.runner.clean()
    yield made
    await made.executors["wasm"].close()
    await made.close()


async def until_running(sidecar: Sidecar, job_id: str) -> None:
    for _ in range(500):
        found = await sidecar.queue.executions_of(job_id)
        if found and found[-1].state is ExecutionState.RUNNING:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not start")


async def guard_notes(sidecar: Sidecar, job_id: str) -> list[str]:
    return [item.message for item in await sidecar.queue.history(job_id) if item.topic == "Guard"]


async def started(sidecar: Sidecar, values: Any) -> tuple[JobRecord, asyncio.Task[bool]]:
    job = await sidecar.submit(values)
    run = asyncio.create_task(sidecar.worker.run_once())
    await until_running(sidecar, job.id)
    return job, run


def root_of(sidecar: Sidecar, execution_id: str) -> str:
    with (sidecar.data / "results" / execution_id / "results.car").open("rb") as file:
        return str(CarReader(file).roots[0])


async def test_a_frozen_job_resumes_with_an_equal_result_and_its_history_tells(sidecar):
    whole = await sidecar.submit(wasm_job(COUNT))
    await sidecar.worker.run_once()
    halved, run = await started(sidecar, wasm_job(COUNT))
    sidecar.hold.freeze("partition 0 of deadline 5: no proof is on chain")
    await asyncio.sleep(1.5)
    job = await sidecar.queue.job(halved.id)
    assert job.message == "frozen: partition 0 of deadline 5: no proof is on chain"
    assert not run.done()
    sidecar.hold.run()
    await asyncio.wait_for(run, 30)
    done = [await sidecar.queue.job(job.id) for job in (whole, halved)]
    assert [job.state for job in done] == [JobState.COMPLETED, JobState.COMPLETED]
    executions = [(await sidecar.queue.executions_of(job.id))[0].id for job in done]
    assert len({root_of(sidecar, execution_id) for execution_id in executions}) == 1
    assert await guard_notes(sidecar, halved.id) == [job.message, "goes on"]


async def test_neither_the_lease_nor_the_total_time_runs_out_while_a_job_is_frozen(tmp_path):
    sidecar = Sidecar(tmp_path, rules=QueueRules(lease_seconds=1.0))
    await sidecar.create_tables()
    sidecar.runner.clean()
    try:
        sleep_a_little = SLEEP.replace("30000000000", "300000000")
        job, run = await started(
            sidecar, wasm_job(sleep_a_little, Timeouts={"TotalTimeout": 3, "ExecutionTimeout": 2})
        )
        sidecar.hold.freeze("a proof is due")
        for _ in range(10):  # four seconds
            await asyncio.sleep(0.4)
            await sidecar.queue.requeue_expired()
            await sidecar.queue.end_late()
        assert (await sidecar.queue.job(job.id)).state is JobState.RUNNING
        sidecar.hold.run()
        await asyncio.wait_for(run, 10)
        job = await sidecar.queue.job(job.id)
        assert (job.state, job.timed_out) == (JobState.COMPLETED, False), job.message
    finally:
        await sidecar.executors["wasm"].close()
        await sidecar.close()


async def test_a_job_that_gives_way_is_queued_again_and_loses_no_attempt(sidecar):
    job, run = await started(sidecar, wasm_job(SLEEP))
    sidecar.hold.freeze("a proof is due")
    await asyncio.sleep(0.3)
    sidecar.hold.stop("deadline 5 closes at epoch 360")
    await asyncio.wait_for(run, 10)
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert job.message == "again: ended to give way: deadline 5 closes at epoch 360"
    (execution,) = await sidecar.queue.executions_of(job.id)
    assert (execution.state, execution.outcome) == (ExecutionState.FAILED, "runtime_fault")
    assert execution.run_record == {}
    assert not await sidecar.worker.run_once()  # not before the guard allows it


async def test_somebody_who_stops_a_frozen_job_is_heard_at_once(sidecar):
    job, run = await started(sidecar, wasm_job(SLEEP))
    sidecar.hold.freeze("a proof is due")
    await asyncio.sleep(0.3)
    await sidecar.queue.stop(job.id, "enough")
    began = time.monotonic()
    await asyncio.wait_for(run, 10)
    assert time.monotonic() - began < 3
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.message) == (JobState.STOPPED, "stopped: enough")


async def test_a_shutdown_ends_a_frozen_job_and_queues_it_again(sidecar):
    job = await sidecar.submit(wasm_job(SLEEP))
    stop = asyncio.Event()
    run = asyncio.create_task(sidecar.worker.run(stop))
    await until_running(sidecar, job.id)
    sidecar.hold.freeze("a proof is due")
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.wait_for(run, 10)
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


async def test_a_queued_job_says_why_nothing_starts_and_starts_when_it_may(sidecar):
    job = await sidecar.submit(wasm_job(""))
    sidecar.hold.freeze("a proof is due")
    stop = asyncio.Event()
    run = asyncio.create_task(sidecar.worker.run(stop))
    await asyncio.sleep(0.5)
    waiting = await sidecar.queue.job(job.id)
    assert (waiting.state, waiting.message) == (JobState.QUEUED, "a proof is due")
    sidecar.hold.no_starts("the challenge of deadline 6 comes", freezable_may_start=True)
    for _ in range(500):
        await asyncio.sleep(0.02)
        if (await sidecar.queue.job(job.id)).state.is_terminal:
            break
    stop.set()
    await run
    assert (await sidecar.queue.job(job.id)).state is JobState.COMPLETED
    assert "Queueing" not in {item.topic for item in await sidecar.queue.history(job.id)}


class Unfreezable:
    """The WASM executor without its pause, as one that was added by somebody may be."""

    engine = "wasm"

    def __init__(self, executor: Any) -> None:
        self.params, self.version = executor.params, executor.version
        self.resolve, self.run = executor.resolve, executor.run
        self.close = executor.close


async def test_what_cannot_be_frozen_is_not_started_before_a_challenge_and_ends_at_it(sidecar):
    sidecar.executors["wasm"] = Unfreezable(sidecar.executors["wasm"])
    job = await sidecar.submit(wasm_job(SLEEP))
    sidecar.hold.no_starts("the challenge of deadline 6 comes", freezable_may_start=True)
    assert not await sidecar.worker.run_once()
    assert (await sidecar.queue.job(job.id)).message == "the challenge of deadline 6 comes"
    sidecar.hold.run()
    run = asyncio.create_task(sidecar.worker.run_once())
    await until_running(sidecar, job.id)
    sidecar.hold.freeze("a proof is due")
    await asyncio.wait_for(run, 10)
    job = await sidecar.queue.job(job.id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert "a proof is due" in job.message


async def test_a_run_that_outlived_its_sidecar_is_watched_at_once_so_that_it_can_be_frozen(
    sidecar, tmp_path
):
    await sidecar.submit(wasm_job(SLEEP))
    lease = await sidecar.queue.take("n-1")
    assert lease is not None
    sidecar.hold.freeze("a proof is due")
    for began_at, waits in ((lease.job.created_at, False), (None, True)):
        run_dir = tmp_path / f"run-{waits}"
        run_dir.mkdir()
        one = replace(lease, began_at=began_at)
        preparing = sidecar.runner._preparer.prepare(one, run_dir, lambda _: None)
        done, late = await asyncio.wait({asyncio.ensure_future(preparing)}, timeout=2)
        assert bool(late) is waits
        for task in done:
            assert task.result().request.is_resumed
        for task in late:
            task.cancel()


FROZEN = """
import asyncio, sys
from pathlib import Path
from tests.integration.jobs.parts import Sidecar
async def main():
    sidecar = Sidecar(Path(sys.argv[1]))
    sidecar.runner.clean()
    running = asyncio.create_task(sidecar.worker.run(asyncio.Event()))
    zygote = sidecar.executors["wasm"]
    while zygote._zygote is None or not zygote._zygote._runs or not all(
        run.pid for run in zygote._zygote._runs.values()
    ):
        await asyncio.sleep(0.02)
    sidecar.hold.freeze("a proof is due")
    await asyncio.sleep(0.5)
    print(*(run.pid for run in zygote._zygote._runs.values()), flush=True)
    await running
asyncio.run(main())
"""


async def test_a_killed_sidecar_leaves_no_frozen_process_and_its_job_runs_again(tmp_path):
    sidecar = Sidecar(tmp_path)
    await sidecar.create_tables()
    job = await sidecar.submit(wasm_job(SLEEP.replace("30000000000", "1500000000")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FROZEN, str(tmp_path),
        cwd=Path.cwd(), env=os.environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), 60)
        while b"[" in said:  # its log
            said = await asyncio.wait_for(process.stdout.readline(), 60)
        child = Path(f"/proc/{int(said)}")
        assert stat_of(child).startswith("T")
    finally:
        process.kill()
        await process.wait()
    for _ in range(250):
        if not stat_of(child):
            break
        await asyncio.sleep(0.02)
    assert not stat_of(child)
    sidecar.runner.clean()
    assert await sidecar.queue.release_node("n-1") == [job.id]
    assert await sidecar.worker.run_once()
    job = await sidecar.queue.job(job.id)
    assert job.state is JobState.COMPLETED
    assert job.message != "frozen: a proof is due"
    await sidecar.executors["wasm"].close()
    await sidecar.close()


def stat_of(process: Path) -> str:
    """The fields behind the name; empty if the process is gone."""
    try:
        return (process / "stat").read_text().rpartition(") ")[2]
    except OSError:
        return ""
