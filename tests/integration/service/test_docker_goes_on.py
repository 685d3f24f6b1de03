"""A sidecar that is killed in the middle of a Docker job, and the next one, which goes on with its container."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from devstack.stack import Devstack
from sp_plugin.data_dir import DataDir
from tests.integration.conftest import IMAGE
from tests.integration.service.conftest import SidecarAtWork, write_config
from tests.integration.service.test_story import approve

pytestmark = pytest.mark.docker
SCRIPT = "i=0; while [ $i -lt 80 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; echo $i > /out/last; cat /words/a; exit 3"
JOBS = "/api/v1/orchestrator/jobs"


@asynccontextmanager
async def process_of(path: Path, data: DataDir) -> AsyncIterator[tuple[SidecarAtWork, object]]:
    """A sidecar in a process of its own, spoken to; ended with SIGTERM if it still runs."""
    data.api_url.unlink(missing_ok=True)
    with (path.parent / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sp_plugin", "run", "--config", str(path), stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(60):
            while not data.api_url.exists():
                assert process.returncode is None, (path.parent / "log").read_text()
                await asyncio.sleep(0.1)
        spoken = SimpleNamespace(url=data.api_url.read_text(), data=data)
        async with aiohttp.ClientSession() as session:
            yield SidecarAtWork(spoken, session, path), process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@pytest.mark.timeout(180)
async def test_a_killed_sidecars_docker_job_ends_in_its_first_attempt_with_all_it_printed(
    devnet: Devstack, tmp_path: Path, image: str
):
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text().replace("jobs:\n", "jobs:\n  docker: {enabled: true}\n"))
    data = DataDir(tmp_path / "sp")
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [SCRIPT]}
    task = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": params},
        "InputSources": [
            {
                "Source": {
                    "Type": "inline",
                    "Params": {"URL": directory_url({"a": b"still here\n"})},
                },
                "Target": "/words",
            }
        ],
        "ResultPaths": [{"Name": "out", "Path": "/out"}],
        "Resources": {"Memory": "64Mb", "Disk": "8Mb"},
    }
    async with process_of(path, data) as (sidecar, process):
        answer = await sidecar.call("PUT", JOBS, Job={"Type": "batch", "Tasks": [task]})
        job_id = answer["JobID"]
        await approve(devnet, sidecar, job_id, "ada", "ben")
        (stdout,) = await until_it_prints(data, "line 15\n")
        process.kill()
        await process.wait()
    before = stdout.read_text()
    await asyncio.sleep(1)
    assert stdout.read_text() == before  # nobody reads, and the program goes on
    async with process_of(path, data) as (sidecar, _):
        ended = await sidecar.until(
            f"{JOBS}/{job_id}", lambda job: job["Job"]["State"]["StateType"] == "Completed", 60
        )
        answer = await sidecar.call("GET", f"{JOBS}/{job_id}/executions")
    (execution,) = answer["Items"]
    assert execution["RunOutput"]["ExitCode"] == 3, ended
    files = data.results / execution["ID"] / "files"
    printed = "".join(f"line {i}\n" for i in range(80))
    assert (files / "stdout").read_text() == printed + "still here\n"
    assert (files / "out/last").read_text() == "80\n"
    assert str(tmp_path) not in mounted()


def directory_url(files: dict[str, bytes]) -> str:
    """A directory as clients put one into a job."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return f"data:application/gzip;base64,{base64.b64encode(packed.getvalue()).decode()}"


def mounted() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def until_it_prints(data: DataDir, text: str) -> list[Path]:
    for _ in range(300):
        found = list(data.runs.glob("*/results/stdout"))
        if found and text in found[0].read_text():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the job did not begin")
