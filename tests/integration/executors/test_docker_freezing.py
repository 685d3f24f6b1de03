"""Runs that are held still for a reason, and go on, or are ended while they stand."""

from __future__ import annotations

import asyncio

import pytest

from sp_plugin.executors.base import ExecutionLimits, ExecutorSettings, OutcomeKind
from sp_plugin.executors.docker import DockerExecutor
from tests.integration.executors.test_docker import containers_of, script

pytestmark = pytest.mark.docker
COUNT = "i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done"


@pytest.fixture
async def executor(tmp_path):
    executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache", owner=str(tmp_path)))
    yield executor
    await executor.close()


async def handle_of(executor, request):
    for _ in range(200):
        await asyncio.sleep(0.05)
        handle = executor.running.get(request.execution_id)
        if handle is not None and "1\n" in (request.result_dir / "stdout").read_text():
            return handle
    raise AssertionError("it did not begin")


async def test_a_run_stands_still_until_every_reason_is_taken_back(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=6)
    request = script(image, COUNT, tmp_path, limits=limits)
    run = asyncio.create_task(executor.run(request))
    handle = await handle_of(executor, request)
    for reason in ("proving", "load", "proving"):
        await asyncio.to_thread(handle.freeze, reason)
    printed = (request.result_dir / "stdout").read_text()
    await asyncio.sleep(3)
    await asyncio.to_thread(handle.thaw, "proving")
    assert (request.result_dir / "stdout").read_text() == printed
    await asyncio.sleep(1)
    await asyncio.to_thread(handle.thaw, "load")
    assert handle.frozen_seconds > 4
    outcome = await run
    # Longer than its wall time, but not of its own time.
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert outcome.stdout.path.read_text() == "".join(f"{i}\n" for i in range(30))


async def test_a_run_that_stands_still_can_be_cancelled(executor, image, tmp_path):
    request, cancel = script(image, COUNT, tmp_path), asyncio.Event()
    run = asyncio.create_task(executor.run(request, cancel))
    handle = await handle_of(executor, request)
    await asyncio.to_thread(handle.freeze, "proving")
    cancel.set()
    outcome = await asyncio.wait_for(run, 20)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert containers_of(tmp_path) == []
