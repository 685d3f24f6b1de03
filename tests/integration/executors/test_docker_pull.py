"""Images that a job names by digest, pulled from a registry that the operator allows."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path

import docker
import pytest

from sp_plugin.executors.base import (
    DockerOptions,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
    ProgramMissing,
)
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.docker.holder import waiting_program
from sp_plugin.jobs.spec import DockerParams
from tests.integration.executors.registry import registry_at_work

pytestmark = pytest.mark.docker
PROGRAM = waiting_program(platform.machine())


@pytest.fixture
async def registry(image):
    async with registry_at_work() as registry:
        yield registry
    client = docker.from_env()
    for found in client.images.list():
        if any(f":{registry.port}/" in name for name in found.attrs.get("RepoDigests") or ()):
            client.images.remove(found.id, force=True)
    client.close()


@pytest.fixture
async def executor_for(tmp_path):
    made = []

    def make(**options) -> DockerExecutor:
        settings = ExecutorSettings(
            cache_dir=tmp_path, owner=str(tmp_path), docker=DockerOptions(**options)
        )
        made.append(DockerExecutor(settings))
        return made[-1]

    yield make
    for executor in made:
        assert await executor.left_runs() == []
        await executor.close()


async def find(_: str) -> Path:
    raise AssertionError


async def run(executor, reference, tmp_path, said, cancel=None):
    resolved = await executor.resolve(DockerParams(Image=reference), find)
    (tmp_path / "results").mkdir()
    request = ExecutionRequest(
        execution_id="e-1",
        job_id="j-1",
        program=resolved.program,
        result_dir=tmp_path / "results",
        notify=said.append,
    )
    return await executor.run(request, cancel)


async def test_an_allowed_image_is_pulled_when_its_run_starts_and_says_how_far_it_is(
    executor_for, registry, tmp_path, monkeypatch
):
    monkeypatch.setattr("sp_plugin.executors.docker.images._TELL_SECONDS", 0.1)
    registry.pause = 0.3
    reference = registry.add_image(PROGRAM, extra=2 << 20)
    executor, said, cancel = (
        executor_for(pull_from=(f"127.0.0.1:{registry.port}",)),
        [],
        asyncio.Event(),
    )
    await executor.resolve(DockerParams(Image=reference), find)
    assert registry.asked == []  # nothing before the run
    task = asyncio.create_task(run(executor, reference, tmp_path, said, cancel))
    for _ in range(200):
        await asyncio.sleep(0.1)
        if executor.running:
            break
    cancel.set()
    outcome = await task
    assert outcome.kind is OutcomeKind.CANCELLED, outcome.message  # it waits for ever
    assert said[0] == f"pulling {reference}"
    assert any("of 20" in text and text.endswith("bytes") for text in said[1:]), said
    assert await executor.image_id(reference) is not None


async def test_nothing_is_pulled_unless_it_is_allowed(executor_for, registry):
    reference = registry.add_image(PROGRAM)
    for options in ({}, {"pull_from": ("ghcr.io",)}):
        with pytest.raises(ProgramMissing, match="not on this host"):
            await executor_for(**options).resolve(DockerParams(Image=reference), find)
    by_tag = f"127.0.0.1:{registry.port}/test/app:latest"
    allowed = executor_for(pull_from=(f"127.0.0.1:{registry.port}",))
    with pytest.raises(ProgramMissing, match="named by digest"):
        await allowed.resolve(DockerParams(Image=by_tag), find)
    assert registry.asked == []


async def test_an_image_that_the_registry_does_not_have_is_missing(
    executor_for, registry, tmp_path
):
    reference = f"127.0.0.1:{registry.port}/test/app@sha256:{'ab' * 32}"
    executor = executor_for(pull_from=(f"127.0.0.1:{registry.port}",))
    outcome = await run(executor, reference, tmp_path, [])
    assert outcome.kind is OutcomeKind.IMAGE_MISSING
    assert "pulling" in outcome.message


async def test_an_image_that_is_too_large_is_not_pulled_to_its_end(
    executor_for, registry, tmp_path
):
    registry.pause = 0.2
    reference = registry.add_image(PROGRAM, extra=4 << 20)
    executor = executor_for(pull_from=(f"127.0.0.1:{registry.port}",), pull_bytes=1 << 20)
    outcome = await run(executor, reference, tmp_path, [])
    assert outcome.kind is OutcomeKind.IMAGE_MISSING
    assert "more than jobs.docker.pull_bytes (1048576)" in outcome.message
    assert await executor.image_id(reference) is None


async def test_a_job_can_be_cancelled_while_its_image_is_pulled(executor_for, registry, tmp_path):
    registry.pause = 1.0
    reference = registry.add_image(PROGRAM, extra=8 << 20)
    executor, cancel = executor_for(pull_from=(f"127.0.0.1:{registry.port}",)), asyncio.Event()
    task = asyncio.create_task(run(executor, reference, tmp_path, [], cancel))
    await asyncio.sleep(1.5)
    cancel.set()
    outcome = await asyncio.wait_for(task, 5)
    assert outcome.kind is OutcomeKind.CANCELLED
