"""An engine that does what it is told, and whose answer is lost on the way: no run is misjudged, and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutorSettings,
    OutcomeKind,
)
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.docker.spaces import SpaceKind
from tests.containers import left_at_engine, script_request
from tests.lossy_engine import LossyProxy

pytestmark = pytest.mark.docker


@pytest.fixture
def socket() -> Path:
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    return Path(url.removeprefix("unix://"))


@pytest.fixture
async def proxy(socket, image, tmp_path):
    async with LossyProxy(socket, tmp_path / "engine.sock") as between:
        yield between


@pytest.fixture
async def executor(proxy, tmp_path):
    settings = ExecutorSettings(
        cache_dir=tmp_path, runs_dir=tmp_path / "runs", owner=str(tmp_path), docker_url=proxy.url
    )
    executor = DockerExecutor(settings)
    await executor.abilities()
    yield executor
    await executor.close()


async def is_clean(tmp_path: Path) -> bool:
    """What could not be removed at once is removed some seconds later."""
    for _ in range(60):
        if not await asyncio.to_thread(left_at_engine, str(tmp_path)):
            return True
        await asyncio.sleep(0.25)
    return False


async def only_memory_volumes(executor: DockerExecutor) -> None:
    abilities = await executor.abilities()
    others = {kind: "not tried here" for kind in SpaceKind if kind is not SpaceKind.MEMORY_VOLUME}
    executor._abilities = replace(abilities, why_not=others)


@pytest.mark.parametrize(
    "request_line",
    [
        "POST .*/containers/create",
        "POST .*/start ",
        "POST .*/attach",
        "GET .*/containers/[^/]*/json ",
        "GET .*/stats",
        "POST .*/kill",
        "POST .*/wait",
        "DELETE .*/containers/",
    ],
)
async def test_a_run_whose_answer_is_lost_ends_as_it_did_or_as_a_fault(
    request_line, executor, proxy, image, tmp_path
):
    proxy.lose(request_line)
    outcome = await executor.run(script_request(image, tmp_path, "echo hello > /out/a; sleep 0.3"))
    assert outcome.kind in (OutcomeKind.FINISHED, OutcomeKind.RUNTIME_FAULT)
    if outcome.kind is OutcomeKind.FINISHED:
        assert outcome.exit_code == 0
        assert (tmp_path / "runs/e-1/results/out/a").read_text() == "hello\n"
    assert await is_clean(tmp_path), left_at_engine(str(tmp_path))
    assert proxy.lost == 1


@pytest.mark.parametrize("request_line", ["POST .*/volumes/create", "DELETE .*/volumes/"])
async def test_an_answer_about_a_memory_volume_may_be_lost_too(
    request_line, executor, proxy, image, tmp_path
):
    await only_memory_volumes(executor)
    proxy.lose(request_line)
    outcome = await executor.run(script_request(image, tmp_path, "echo hello > /out/a"))
    assert outcome.kind in (OutcomeKind.FINISHED, OutcomeKind.RUNTIME_FAULT)
    assert await is_clean(tmp_path), left_at_engine(str(tmp_path))
    assert proxy.lost == 1


async def test_outputs_are_asked_for_again_before_a_whole_run_is_lost(
    executor, proxy, image, tmp_path
):
    await only_memory_volumes(executor)
    proxy.lose("GET .*/archive", losses=2)
    outcome = await executor.run(script_request(image, tmp_path, "echo hello > /out/a"))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert (tmp_path / "runs/e-1/results/out/a").read_text() == "hello\n"
    assert proxy.lost == 2


async def test_a_kill_whose_answer_is_lost_keeps_its_reason(executor, proxy, image, tmp_path):
    """The container is found ended with 137 then, which a program may also end with."""
    proxy.lose("POST .*/kill")
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=1)
    outcome = await executor.run(script_request(image, tmp_path, "sleep 1000", limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME, outcome.message
    assert proxy.lost == 1
    assert await is_clean(tmp_path), left_at_engine(str(tmp_path))


async def test_a_cancelled_run_whose_kill_is_not_answered_was_cancelled(
    executor, proxy, image, tmp_path
):
    cancel = asyncio.Event()
    proxy.lose("POST .*/kill")
    running = asyncio.create_task(
        executor.run(script_request(image, tmp_path, "sleep 1000"), cancel)
    )
    await asyncio.sleep(1)
    cancel.set()
    assert (await running).kind is OutcomeKind.CANCELLED
    assert await is_clean(tmp_path), left_at_engine(str(tmp_path))
