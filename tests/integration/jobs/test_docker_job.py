from __future__ import annotations

import asyncio

import pytest

from sp_plugin.executors.base import ExecutorSettings
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.inputs.base import InputMissing
from sp_plugin.jobs.states import JobState
from sp_plugin.jobs.worker import Worker
from tests.integration.conftest import IMAGE
from tests.integration.jobs.parts import DEFAULT, MOST, EngineLimits, Sidecar

pytestmark = pytest.mark.docker


@pytest.fixture
async def sidecar(tmp_path, image):
    sidecar = Sidecar(tmp_path)
    executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache"))
    sidecar.executors["docker"] = executor
    sidecar.limits["docker"] = EngineLimits(DEFAULT, MOST)
    await sidecar.create_tables()
    sidecar.runner.clean()
    yield sidecar
    await executor.close()
    await sidecar.close()


def job(image: str, script: str) -> dict[str, object]:
    params = {"Image": image, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    text = {"Type": "inline", "Params": {"URL": "data:,alpha"}}
    task = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": params},
        "InputSources": [{"Source": text, "Target": "/in/a.txt"}],
        "ResultPaths": [{"Name": "results", "Path": "/out"}],
        "Env": {"GREETING": "hello"},
    }
    return {"Type": "batch", "Tasks": [task]}


async def test_a_docker_job_goes_the_same_way_as_a_wasm_job(sidecar, image):
    submitted = await sidecar.submit(
        job(IMAGE, "cat /in/a.txt > /out/copy; echo $GREETING; exit 4")
    )
    assert submitted.bundle["image"] == image
    assert submitted.bundle["image_kind"] == "local"
    assert await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    (execution,) = await sidecar.queue.executions_of(done.id)
    assert (done.state, execution.exit_code) == (JobState.COMPLETED, 4), done.message
    assert execution.run_output["Stdout"] == "hello\n"
    home = sidecar.data / "results" / execution.id
    assert (home / "files/results/copy").read_text() == "alpha"
    assert execution.run_record["executor_version"].startswith(("docker ", "podman "))


async def test_symlinks_among_a_containers_outputs_are_refused(sidecar):
    submitted = await sidecar.submit(job(IMAGE, "busybox ln -s /etc/passwd /out/passwd; echo kept"))
    await sidecar.worker.run_once()
    done = await sidecar.queue.job(submitted.id)
    (execution,) = await sidecar.queue.executions_of(done.id)
    assert (done.state, execution.outcome) == (JobState.FAILED, "output_refused")
    assert "symbolic link" in done.message
    files = sidecar.data / "results" / execution.id / "files"
    assert (files / "stdout").read_text() == "kept\n"
    assert not (files / "results").exists()


async def test_a_job_with_an_image_that_is_not_here_is_told_so_at_once(sidecar):
    with pytest.raises(InputMissing, match="not on this host"):
        await sidecar.submit(job("sp-plugin-test:none", "true"))


async def test_a_good_job_ends_well_beside_those_that_want_everything(sidecar):
    """Two workers: one always has a job that floods memory, processes, disk or its log, or that never ends."""
    hostile = [
        "x=x; while true; do x=$x$x; done",
        "b() { b | b & }; b; sleep 100",
        "while true; do dd if=/dev/zero of=/out/$RANDOM bs=65536 count=8; done",
        "yes",
        "sleep 1000",
    ]
    bad = [await sidecar.submit(limited(job(IMAGE, script))) for script in hostile]
    good = await sidecar.submit(job(IMAGE, "cat /in/a.txt > /out/copy"))
    other = Worker(sidecar.queue, sidecar.runner, "n-2", idle_seconds=0.05)
    await asyncio.gather(*(run_all(worker) for worker in (sidecar.worker, other)))
    done = await sidecar.queue.job(good.id)
    assert done.state is JobState.COMPLETED, done.message
    outcomes = []
    for one in bad:
        (execution,) = await sidecar.queue.executions_of(one.id)
        outcomes.append(execution.outcome)
    assert outcomes[0] == "out_of_memory"
    assert outcomes[1] in {"out_of_time", "out_of_memory", "finished"}
    assert outcomes[2:] == ["out_of_disk", "out_of_time", "out_of_time"]
    assert list((sidecar.data / "work").iterdir()) == []


def limited(values: dict[str, object]) -> dict[str, object]:
    values["Tasks"][0]["Timeouts"] = {"ExecutionTimeout": 4}
    return values


async def run_all(worker: Worker) -> None:
    while await worker.run_once():
        pass
