from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import docker
import pytest

from sp_plugin.executors.base import (
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
    OutputVolume,
)
from sp_plugin.executors.docker import LABEL, DockerExecutor, EngineUnavailable
from sp_plugin.executors.docker.run import ContainerRun
from sp_plugin.executors.pause import Pause
from tests.integration.conftest import IMAGE

pytestmark = pytest.mark.docker


@pytest.fixture
async def executor(tmp_path):
    executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache", owner=str(tmp_path)))
    yield executor
    await executor.close()


def script(image: str, text: str, tmp_path: Path, **changes) -> ExecutionRequest:
    result_dir = tmp_path / "results"
    result_dir.mkdir(exist_ok=True)
    values = {
        "execution_id": f"e-{tmp_path.name}",
        "job_id": "j-1",
        "program": DockerProgram(image, ("/bin/sh", "-c")),
        "arguments": (text,),
        "result_dir": result_dir,
        "limits": ExecutionLimits(memory_bytes=64 << 20, wall_seconds=30),
    }
    return ExecutionRequest(**(values | changes))


def containers_of(tmp_path: Path) -> list[object]:
    client = docker.from_env(timeout=20)
    try:
        return client.containers.list(all=True, filters={"label": f"{LABEL}=e-{tmp_path.name}"})
    finally:
        client.close()


async def test_a_container_reads_inputs_and_writes_outputs_without_powers(
    executor, image, tmp_path
):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("alpha")
    text = """
    cat /in/a.txt; echo; id -u; echo $GREETING
    cat /in/a.txt > /out/copy.txt
    touch /in/b 2>&1; touch /b 2>&1; touch /tmp/ok && echo tmp ok
    ls /sys/class/net; cat /proc/self/status | busybox grep -E 'CapEff|NoNewPrivs|Seccomp:'
    echo problem >&2; exit 130
    """
    request = script(
        image,
        text,
        tmp_path,
        environment={"GREETING": "hello"},
        inputs=(InputVolume(data, "/in"),),
        outputs=(OutputVolume("results", "/out"),),
    )
    outcome = await executor.run(request)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 130), outcome.message
    said = (tmp_path / "results/stdout").read_text().splitlines()
    user = str((await executor.abilities()).facts.user(os.getuid(), os.getgid())[0])
    assert said[:3] == ["alpha", user, "hello"]
    assert "Read-only file system" in said[3]
    assert "Read-only file system" in said[4]
    assert said[5:7] == ["tmp ok", "lo"]
    status = dict(line.split(":\t") for line in said[7:])
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert (tmp_path / "results/stderr").read_text() == "problem\n"
    assert (tmp_path / "results/results/copy.txt").read_text() == "alpha"
    assert outcome.executor_version.startswith(("docker ", "podman "))
    assert containers_of(tmp_path) == []


async def test_a_container_lets_others_on_this_host_go_first(executor, image, tmp_path):
    text = "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight"
    assert (await executor.run(script(image, text, tmp_path))).exit_code == 0
    given = int((tmp_path / "results/stdout").read_text())
    assert given in (
        102,
        4,
    )  # shares of 1024 (cgroup v1), or the weight of 100 (v2) that the engine makes of them


async def test_more_memory_than_allowed_is_out_of_memory(executor, image, tmp_path):
    eat = "x=x; while true; do x=$x$x; done"
    request = script(image, eat, tmp_path)
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert "67108864" in outcome.message
    assert containers_of(tmp_path) == []


async def test_an_endless_sleep_is_killed_at_its_wall_time(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=1)
    outcome = await executor.run(script(image, "sleep 1000", tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert outcome.usage.wall_seconds < 15
    assert containers_of(tmp_path) == []


async def test_cpu_time_is_limited_apart_from_wall_time(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=60, cpu_seconds=1)
    outcome = await executor.run(script(image, "while true; do :; done", tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME
    assert "CPU" in outcome.message


async def test_a_flooded_stream_is_cut_while_the_program_goes_on(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=60, stream_bytes=100_000)
    flood = "yes | head -c 3000000; echo end >&2; exit 3"
    outcome = await executor.run(script(image, flood, tmp_path, limits=limits))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 3)
    assert outcome.stdout.truncated
    assert (tmp_path / "results/stderr").read_text() == "end\n"
    assert 100_000 < (tmp_path / "results/stdout").stat().st_size < 100_100


async def test_too_many_output_bytes_end_a_run(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=60, output_bytes=2 << 20)
    fill = "i=0; while true; do dd if=/dev/zero of=/out/$i bs=1024 count=512 2>&1; i=$((i+1)); done"
    request = script(image, fill, tmp_path, limits=limits, outputs=(OutputVolume("o", "/out"),))
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.OUT_OF_DISK
    assert "2097152 bytes" in outcome.message


async def test_an_images_volume_is_small_memory_not_host_disk(executor, image, tmp_path):
    fill = "dd if=/dev/zero of=/scratch/big bs=1M count=100 2>&1 | tail -n 1; ls -l /scratch/big"
    limits = ExecutionLimits(memory_bytes=256 << 20, wall_seconds=60)
    outcome = await executor.run(script(image, fill, tmp_path, limits=limits))
    size = (tmp_path / "results/stdout").read_text().split()[-6:]
    assert outcome.kind is OutcomeKind.FINISHED
    assert str(64 << 20) in size or "/scratch/big" in size
    assert "104857600" not in size


async def test_a_fork_bomb_is_contained(executor, image, tmp_path):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=3, processes=32)
    bomb = "b() { b | b & }; b; sleep 100"
    outcome = await executor.run(script(image, bomb, tmp_path, limits=limits))
    assert outcome.kind in {
        OutcomeKind.OUT_OF_TIME,
        OutcomeKind.FINISHED,
        OutcomeKind.OUT_OF_MEMORY,
    }
    assert containers_of(tmp_path) == []


async def test_an_image_that_is_not_here_is_told_and_not_pulled(executor, image, tmp_path):
    assert await executor.image_id(IMAGE) == image
    assert await executor.image_id("sp-plugin-test:none") is None
    assert await executor.image_id("Not A Name") is None
    outcome = await executor.run(script("sha256:" + "ab" * 32, "true", tmp_path))
    assert outcome.kind is OutcomeKind.IMAGE_MISSING


async def test_a_missing_entry_point_is_an_invalid_program(executor, image, tmp_path):
    request = script(image, "x", tmp_path, program=DockerProgram(image, ("/bin/none",)))
    outcome = await executor.run(request)
    assert outcome.kind is OutcomeKind.INVALID_PROGRAM
    assert "/bin/none" in outcome.message
    assert containers_of(tmp_path) == []


async def test_an_engine_without_gpus_says_so_of_a_job_that_may_have_one(executor, image, tmp_path):
    client = docker.from_env(timeout=20)
    runtimes = client.info().get("Runtimes") or {}
    client.close()
    if "nvidia" in runtimes:
        pytest.skip("needs an engine without GPUs")
    limits = ExecutionLimits(memory_bytes=64 << 20, gpus=1)
    outcome = await executor.run(script(image, "echo hello", tmp_path, limits=limits))
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert "could not select device driver" in outcome.message or "gives no GPUs" in outcome.message
    assert not containers_of(tmp_path)


async def test_cancelling_ends_a_container_at_once(executor, image, tmp_path):
    cancel = asyncio.Event()
    run = asyncio.create_task(executor.run(script(image, "sleep 1000", tmp_path), cancel))
    await asyncio.sleep(1.0)
    cancel.set()
    outcome = await run
    assert outcome.kind is OutcomeKind.CANCELLED
    assert containers_of(tmp_path) == []


async def test_a_cancelled_task_leaves_no_container(executor, image, tmp_path):
    for delay in (0.0, 0.02, 0.8):
        run = asyncio.create_task(executor.run(script(image, "sleep 1000", tmp_path)))
        await asyncio.sleep(delay)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert containers_of(tmp_path) == []
        shutil.rmtree(tmp_path / "results")


async def made(executor: DockerExecutor, image: str, request: ExecutionRequest):
    """A container as a sidecar leaves it that is killed between making and starting it."""
    run, abilities = ContainerRun(request, None, Pause()), await executor.abilities()
    return await asyncio.to_thread(executor._create, request, run, abilities, image)


async def test_containers_of_a_killed_sidecar_are_found_and_removed(executor, image, tmp_path):
    request = script(image, "sleep 1000", tmp_path)
    left = await made(executor, image, request)
    assert left.labels["sp-plugin.job"] == "j-1"
    assert await executor.remove_leftovers() == [request.execution_id]
    assert containers_of(tmp_path) == []


async def test_an_engine_that_is_away_is_a_runtime_fault(tmp_path):
    away = DockerExecutor(
        ExecutorSettings(cache_dir=tmp_path, docker_url=f"unix://{tmp_path}/none.sock")
    )
    with pytest.raises(EngineUnavailable):
        await away.version()
    outcome = await away.run(script("sha256:" + "ab" * 32, "true", tmp_path))
    assert outcome.kind is OutcomeKind.RUNTIME_FAULT
    assert "none.sock" in outcome.message
