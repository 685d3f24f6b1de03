"""Images written to do harm: each is contained, ends with the right outcome, and leaves nothing behind."""

from __future__ import annotations

import os
import time
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
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.executors.docker.spaces import SpaceKind
from sp_plugin.jobs.outputs import OutputRefused, check_outputs
from tests.integration.hostile.container_image import build_image

pytestmark = pytest.mark.docker

LIMITS = ExecutionLimits(
    memory_bytes=64 << 20, wall_seconds=20, output_bytes=4 << 20, output_files=500, processes=32
)


@pytest.fixture(scope="module")
def hostile(image, tmp_path_factory):
    client = docker.from_env(timeout=60)
    tag = f"t{os.getpid()}"
    yield build_image(client, tmp_path_factory.mktemp("image"), tag)
    client.images.remove(f"sp-plugin-hostile:{tag}", force=True)
    client.close()


@pytest.fixture
async def executor(tmp_path):
    executor = DockerExecutor(
        ExecutorSettings(cache_dir=tmp_path, runs_dir=tmp_path / "runs", owner=str(tmp_path))
    )
    yield executor
    assert await executor.left_runs() == []
    await executor.close()
    assert str(tmp_path) not in mounted()


def mounted() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def run(executor, image, tmp_path, *arguments, limits=LIMITS, entry_point=None):
    result_dir = tmp_path / "runs/e-1/results"
    result_dir.mkdir(parents=True)
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("alpha")
    (data / "a.txt").chmod(0o666)
    data.chmod(0o777)
    request = ExecutionRequest(
        execution_id=f"e-{tmp_path.name}",
        job_id="j-1",
        program=DockerProgram(image, entry_point),
        arguments=arguments,
        result_dir=result_dir,
        inputs=(InputVolume(data, "/in"),),
        outputs=(OutputVolume("out", "/out"),),
        limits=limits,
    )
    outcome = await executor.run(request)
    assert (data / "a.txt").read_text() == "alpha"
    assert [path.name for path in data.iterdir()] == ["a.txt"]
    return outcome


def assert_powerless(outcome):
    assert outcome.kind is OutcomeKind.FINISHED
    allowed = outcome.stdout.head.splitlines()
    if outcome.executor_version.startswith("podman "):  # its own profile; `doctor` says so
        allowed = [line for line in allowed if line != "allowed: unshare user"]
    else:
        assert outcome.exit_code == 0
    assert allowed == []


@pytest.mark.parametrize("mode", ["powers", "network", "paths"])
async def test_nothing_that_is_not_its_own_is_within_reach(executor, hostile, tmp_path, mode):
    assert_powerless(await run(executor, hostile, tmp_path, mode))


async def test_a_setuid_program_gives_no_root(executor, hostile, tmp_path):
    assert_powerless(await run(executor, hostile, tmp_path, "powers", entry_point=("/setuid",)))


async def test_a_memory_flood_is_out_of_memory(executor, hostile, tmp_path):
    outcome = await run(executor, hostile, tmp_path, "eat")
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY


@pytest.mark.parametrize("mode", ["bomb", "deaf"])
async def test_what_never_ends_is_killed_at_its_time(executor, hostile, tmp_path, mode):
    limits = ExecutionLimits(memory_bytes=64 << 20, wall_seconds=3, processes=32)
    started = time.monotonic()
    outcome = await run(executor, hostile, tmp_path, mode, limits=limits)
    # what forks without end also fills the kernel's part of its memory, sometimes first
    expected = {OutcomeKind.OUT_OF_TIME} | (
        {OutcomeKind.OUT_OF_MEMORY} if mode == "bomb" else set()
    )
    assert outcome.kind in expected, outcome.message
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(("mode", "code"), [("fill", 5), ("files", 4)])
async def test_outputs_without_end_are_out_of_disk(executor, hostile, tmp_path, mode, code):
    before = os.statvfs(tmp_path)
    outcome = await run(executor, hostile, tmp_path, mode)
    assert outcome.kind is OutcomeKind.OUT_OF_DISK, outcome.message
    assert outcome.exit_code in {None, code}
    after = os.statvfs(tmp_path)
    assert (before.f_bavail - after.f_bavail) * after.f_frsize < 1 << 30


async def test_a_sparse_terabyte_cannot_be_made(executor, hostile, tmp_path):
    outcome = await run(executor, hostile, tmp_path, "sparse")
    if outcome.exit_code == 1:  # Podman without root sets no limit of a file's size
        assert (await executor.abilities()).facts.is_rootless
        assert outcome.kind is OutcomeKind.OUT_OF_DISK
        return
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.stdout.head


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("link", "symbolic link"),
        ("fifo", "pipe or socket"),
        ("hard", "hard link"),
        ("name", "not UTF-8"),
        ("deep", "nested deeper"),
    ],
)
async def test_strange_outputs_are_refused_by_every_kind_of_space(
    executor, hostile, tmp_path, what, said
):
    outcome = await run(executor, hostile, tmp_path, "strange", what)
    (kind, *_) = (await executor.abilities()).kinds
    if kind is SpaceKind.WATCHED and outcome.kind is OutcomeKind.FINISHED:
        with pytest.raises(OutputRefused, match=said):
            check_outputs([tmp_path / "runs/e-1/results/out"], LIMITS)
        return
    assert outcome.kind in {OutcomeKind.OUTPUT_REFUSED, OutcomeKind.OUT_OF_DISK}
    assert said in outcome.message
    assert not (tmp_path / "runs/e-1/results/out").exists()


async def test_outputs_that_nobody_may_read_are_collected(executor, hostile, tmp_path):
    outcome = await run(executor, hostile, tmp_path, "strange", "modes")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    assert (tmp_path / "runs/e-1/results/out/d/f").read_bytes() == b""
