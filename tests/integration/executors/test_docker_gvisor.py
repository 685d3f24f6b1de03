"""gVisor's runsc for real: jobs run in a kernel of their own, with the limits, the pauses and the outcomes of any other container."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sp_plugin.executors.base import (
    DockerOptions,
    ExecutionLimits,
    ExecutorSettings,
    InputVolume,
    OutcomeKind,
)
from sp_plugin.executors.docker import DockerExecutor
from tests.containers import script_request
from tests.docker_engines import OwnEngine
from tests.integration.executors.test_docker_restarts import image_at

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to start a Docker engine"),
    pytest.mark.skipif(shutil.which("runsc") is None, reason="needs gVisor (Debian: runsc)"),
]
LIMITS = ExecutionLimits(memory_bytes=256 << 20, wall_seconds=60, output_bytes=4 << 20)


@pytest.fixture(scope="module")
def engine():
    home = Path(tempfile.mkdtemp(prefix="sp-"))
    home.chmod(0o755)
    # Without hardware for virtual machines, gVisor follows each system call by ptrace. Releases of 2022 take every network
    # namespace of a Linux after 6.6 for the host's, and refuse to set up even loopback there.
    script = home / "runsc"
    script.write_text(
        f'#!/bin/sh\nexec {shutil.which("runsc")} --platform=ptrace --network=none "$@"\n'
    )
    script.chmod(0o755)
    made = OwnEngine(home / "engine", f"--add-runtime=gvisor={script}")
    made.start()
    yield made
    made.close()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def executor(engine, tmp_path):
    settings = ExecutorSettings(
        cache_dir=tmp_path,
        runs_dir=tmp_path / "runs",
        owner=str(tmp_path),
        docker_url=engine.url,
        docker=DockerOptions(runtime="gvisor", runtime_memory_bytes=64 << 20, runtime_processes=64),
    )
    executor = DockerExecutor(settings)
    yield executor
    await executor.close()


@pytest.fixture
def request_for(engine, tmp_path):
    return partial(script_request, image_at(engine), tmp_path, limits=LIMITS)


async def test_a_job_reads_inputs_and_writes_outputs_in_a_kernel_of_its_own(
    executor, request_for, tmp_path
):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("alpha\n")
    text = """
    cat /in/a.txt; busybox dmesg | head -n 1; id -u
    touch /in/b 2>/dev/null && echo "wrote an input"
    touch /b 2>/dev/null && echo "wrote the root"
    ls /sys/class/net; cp /in/a.txt /out/copy.txt; echo problem >&2; exit 7
    """
    outcome = await executor.run(request_for(text, inputs=(InputVolume(data, "/in"),)))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 7), outcome.message
    said = (tmp_path / "runs/e-1/results/stdout").read_text().splitlines()
    assert said[0] == "alpha"
    assert "gVisor" in said[1]
    assert said[2] == "65534"
    assert "wrote" not in " ".join(said)
    assert (tmp_path / "runs/e-1/results/out/copy.txt").read_text() == "alpha\n"
    assert (tmp_path / "runs/e-1/results/stderr").read_text() == "problem\n"


async def test_its_wall_time_ends_it(executor, request_for):
    limits = replace(LIMITS, wall_seconds=2)
    outcome = await executor.run(request_for("sleep 1000", limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_TIME


async def test_more_memory_than_allowed_is_out_of_memory(executor, request_for):
    limits = replace(LIMITS, memory_bytes=128 << 20)
    text = "x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done"
    outcome = await executor.run(request_for(text, limits=limits))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY, outcome


async def test_more_output_than_allowed_is_out_of_disk(executor, request_for):
    outcome = await executor.run(request_for("busybox dd if=/dev/zero of=/out/x bs=65536; exit 1"))
    assert outcome.kind is OutcomeKind.OUT_OF_DISK, outcome


async def test_it_stands_still_and_goes_on(executor, request_for, tmp_path):
    text = "for i in 1 2 3 4 5 6 7 8; do date +%s; sleep 0.5; done"
    running = asyncio.create_task(executor.run(request_for(text)))
    await asyncio.sleep(2)
    executor.pause.turn(on=True)
    await asyncio.sleep(4)
    executor.pause.turn(on=False)
    outcome = await running
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message
    times = [int(line) for line in (tmp_path / "runs/e-1/results/stdout").read_text().split()]
    assert len(times) == 8
    assert max(after - before for before, after in itertools.pairwise(times)) >= 3


async def test_its_kernel_takes_nothing_of_what_a_small_job_may(executor, request_for):
    limits = replace(LIMITS, memory_bytes=6 << 20, processes=2)
    outcome = await executor.run(request_for("busybox true", limits=limits))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FINISHED, 0), outcome.message


async def test_it_is_cancelled(executor, request_for):
    cancel = asyncio.Event()
    running = asyncio.create_task(executor.run(request_for("sleep 1000"), cancel))
    await asyncio.sleep(2)
    cancel.set()
    assert (await running).kind is OutcomeKind.CANCELLED
