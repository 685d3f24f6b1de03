"""Containers that are made to stand still by the engine, and go on as if nothing had been."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import docker
import pytest

from sp_plugin.executors.base import (
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.docker import LABEL, DockerExecutor
from tests.integration.executors.test_pause import until

pytestmark = pytest.mark.docker


@pytest.fixture
async def containers(tmp_path):
    executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache", owner=str(tmp_path)))
    yield executor
    await executor.remove_leftovers()
    await executor.close()


def script(image: str, text: str, directory: Path, **limits) -> ExecutionRequest:
    directory.mkdir()
    return ExecutionRequest(
        execution_id=f"e-{directory.parent.name}-{directory.name}",
        job_id="j-1",
        program=DockerProgram(image, ("/bin/sh", "-c")),
        arguments=(text,),
        result_dir=directory,
        outputs=(OutputVolume("results", "/out"),),
        limits=ExecutionLimits(memory_bytes=64 << 20, **({"wall_seconds": 30} | limits)),
    )


def state_of(request: ExecutionRequest) -> str | None:
    client = docker.from_env(timeout=20)
    try:
        found = client.containers.list(
            all=True, filters={"label": f"{LABEL}={request.execution_id}"}
        )
        return found[0].status if found else None
    finally:
        client.close()


def printed(request: ExecutionRequest) -> bytes:
    path = request.result_dir / "stdout"
    return path.read_bytes() if path.exists() else b""


COUNTING = "i=0; while [ $i -lt 6 ]; do i=$((i+1)); echo $i; sleep 0.2; done; echo done > /out/end"


async def test_a_container_stands_still_and_its_result_is_the_same(containers, image, tmp_path):
    whole = await containers.run(script(image, COUNTING, tmp_path / "whole"))
    request = script(image, COUNTING, tmp_path / "halved", wall_seconds=4)
    running = asyncio.create_task(containers.run(request))
    await until(lambda: printed(request))
    containers.pause.turn(on=True)
    await until(lambda: state_of(request) == "paused")
    before = printed(request)
    await asyncio.sleep(5)  # longer than it may run
    assert printed(request) == before
    containers.pause.turn(on=False)
    halved = await running
    assert (halved.kind, halved.exit_code) == (OutcomeKind.FINISHED, 0)
    assert printed(request) == whole.stdout.path.read_bytes()
    assert (request.result_dir / "results/end").read_text() == "done\n"
    assert halved.usage.wall_seconds < 4


async def test_a_paused_container_is_cancelled_and_removed(containers, image, tmp_path):
    request = script(image, "sleep 60", tmp_path / "run")
    cancel = asyncio.Event()
    running = asyncio.create_task(containers.run(request, cancel))
    await until(lambda: state_of(request) == "running")
    containers.pause.turn(on=True)
    await until(lambda: state_of(request) == "paused")
    began = time.monotonic()
    cancel.set()
    outcome = await asyncio.wait_for(running, 30)
    assert outcome.kind is OutcomeKind.CANCELLED
    assert time.monotonic() - began < 15
    assert state_of(request) is None


async def test_a_paused_container_of_a_killed_sidecar_is_removed_by_the_next(
    containers, image, tmp_path
):
    request = script(image, "sleep 60", tmp_path / "run")
    running = asyncio.create_task(containers.run(request))
    await until(lambda: state_of(request) == "running")
    containers.pause.turn(on=True)
    await until(lambda: state_of(request) == "paused")
    settings = ExecutorSettings(cache_dir=tmp_path / "cache", owner=str(tmp_path))
    following = DockerExecutor(settings)
    assert await following.remove_leftovers() == [request.execution_id]
    await following.close()
    assert state_of(request) is None
    await asyncio.wait([running], timeout=30)
