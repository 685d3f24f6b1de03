"""Runs that go on while the engine or the sidecar is restarted under them. Each test has an engine of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    ExecutionLimits,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
)
from sp_plugin.executors.docker import DockerExecutor
from tests.containers import script_request
from tests.docker_engines import OwnEngine
from tests.integration.conftest import import_busybox

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to start a Docker engine"),
]

COUNT = "i=0; while [ $i -lt {n} ]; do echo line $i; echo $i > /out/last; i=$((i+1)); sleep 0.1; done; exit 5"


@pytest.fixture
def home():
    """Short, since the path of a Unix socket may have 107 bytes."""
    place = Path(tempfile.mkdtemp(prefix="sp-"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def engine(request, home):
    engine = OwnEngine(home / "engine", *getattr(request, "param", ()))
    engine.start()
    yield engine
    engine.start()
    engine.close()


@pytest.fixture
async def executor(engine, home):
    executor = executor_at(engine.url, home)
    yield executor
    await executor.close()


def executor_at(url: str, home: Path) -> DockerExecutor:
    return DockerExecutor(
        ExecutorSettings(cache_dir=home, runs_dir=home / "runs", docker_url=url, owner="own")
    )


def count_to(number: int, image: str, home: Path) -> ExecutionRequest:
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=120, output_bytes=8 << 20)
    return script_request(image, home, COUNT.format(n=number), token=7, limits=limits)


def image_at(engine: OwnEngine) -> str:
    client = engine.client()
    try:
        return import_busybox(client)
    finally:
        client.close()


def containers_at(engine: OwnEngine) -> list[str]:
    client = engine.client()
    try:
        return [container.id for container in client.containers.list(all=True, ignore_removed=True)]
    finally:
        client.close()


async def until_it_prints(request: ExecutionRequest, text: str) -> None:
    for _ in range(600):
        file = request.result_dir / "stdout"
        if file.exists() and text in file.read_text():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{text!r} was not printed")


def lines(number: int) -> str:
    return "".join(f"line {i}\n" for i in range(number))


@pytest.mark.parametrize("engine", [("--live-restore",)], indirect=True)
async def test_a_run_goes_on_while_the_engine_is_killed_and_started_again(engine, executor, home):
    request = count_to(80, image_at(engine), home)
    run = asyncio.create_task(executor.run(request))
    await until_it_prints(request, "line 10\n")
    await asyncio.to_thread(engine.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(engine.start)
    outcome = await asyncio.wait_for(run, 60)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 5), outcome.message
    assert outcome.stdout.path.read_text() == lines(80)
    assert (request.result_dir / "out/last").read_text() == "79\n"
    assert containers_at(engine) == []


@pytest.mark.parametrize("engine", [("--live-restore",)], indirect=True)
async def test_a_run_that_ends_while_the_engine_is_away_keeps_its_exit_code_and_last_words(
    engine, executor, home
):
    request = count_to(25, image_at(engine), home)
    run = asyncio.create_task(executor.run(request))
    await until_it_prints(request, "line 10\n")
    await asyncio.to_thread(engine.kill)
    await asyncio.sleep(4)
    await asyncio.to_thread(engine.start)
    outcome = await asyncio.wait_for(run, 60)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 5), outcome.message
    assert outcome.stdout.path.read_text() == lines(25)


async def test_without_live_restore_the_engine_ends_the_run_which_is_nobodys_fault(
    engine, executor, home
):
    request = count_to(600, image_at(engine), home)
    run = asyncio.create_task(executor.run(request))
    await until_it_prints(request, "line 10\n")
    await asyncio.to_thread(engine.kill)
    await asyncio.to_thread(engine.start)
    outcome = await asyncio.wait_for(run, 60)
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert "while the Docker engine was away" in outcome.message
    assert outcome.stdout.path.read_text().startswith(lines(10))
    assert containers_at(engine) == []


async def test_cancelling_while_the_engine_is_away_ends_the_run_and_the_container_when_it_is_back(
    engine, executor, home, monkeypatch
):
    monkeypatch.setattr("sp_plugin.executors.docker.executor._SWEEP_SECONDS", 0.2)
    request, cancel = count_to(600, image_at(engine), home), asyncio.Event()
    run = asyncio.create_task(executor.run(request, cancel))
    await until_it_prints(request, "line 5\n")
    await asyncio.to_thread(engine.kill)
    cancel.set()
    assert (await asyncio.wait_for(run, 60)).kind is OutcomeKind.CANCELLED
    await asyncio.to_thread(engine.start)
    for _ in range(100):
        if not await asyncio.to_thread(containers_at, engine):
            break
        await asyncio.sleep(0.2)
    assert containers_at(engine) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.integration.executors.test_docker_restarts import count_to, executor_at
home = Path(sys.argv[3])
asyncio.run(executor_at(sys.argv[1], home).run(count_to(int(sys.argv[4]), sys.argv[2], home)))
"""


async def killed_after(engine: OwnEngine, home: Path, number: int, text: str) -> ExecutionRequest:
    """The request of a run whose sidecar was killed when that was printed."""
    image = image_at(engine)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, engine.url, image, str(home), str(number), cwd=Path.cwd()
    )
    shown = home / "shown"
    request = count_to(number, image, shown)
    request = replace(request, result_dir=home / "runs/e-1/results", is_resumed=True)
    try:
        await until_it_prints(request, text)
    finally:
        process.kill()
        await process.wait()
    return request


async def test_a_sidecar_that_was_killed_goes_on_with_its_container(engine, executor, home):
    request = await killed_after(engine, home, 60, "line 10\n")
    (left,) = await executor.left_runs()
    assert (left.execution_id, left.token) == ("e-1", 7)
    assert await executor.remove_leftovers({"e-1"}) == []
    await asyncio.sleep(1)
    outcome = await asyncio.wait_for(executor.run(request), 60)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 5), outcome.message
    assert outcome.stdout.path.read_text() == lines(60)
    assert (request.result_dir / "out/last").read_text() == "59\n"
    assert outcome.usage.wall_seconds > 5
    assert containers_at(engine) == []


async def test_a_run_that_ended_while_nobody_waited_is_collected(engine, executor, home):
    request = await killed_after(engine, home, 15, "line 3\n")
    await asyncio.sleep(4)
    outcome = await asyncio.wait_for(executor.run(request), 60)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 5), outcome.message
    assert outcome.stdout.path.read_text() == lines(15)
    assert (request.result_dir / "out/last").read_text() == "14\n"


async def test_a_container_of_another_token_is_not_gone_on_with(engine, executor, home):
    request = await killed_after(engine, home, 600, "line 3\n")
    outcome = await executor.run(replace(request, token=8))
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert await executor.remove_leftovers() == []  # it is this process's now, by its execution
    await executor.abandon("e-1")
    assert containers_at(engine) == []


async def test_what_nobody_goes_on_with_is_removed_with_its_mounts(engine, executor, home):
    await killed_after(engine, home, 600, "line 3\n")
    assert await executor.remove_leftovers() == ["e-1"]
    assert containers_at(engine) == []
    assert str(home) not in mounts_without_engine(home)


def mounts_without_engine(home: Path) -> str:
    places = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return "\n".join(place for place in places if str(home / "runs") in place)
