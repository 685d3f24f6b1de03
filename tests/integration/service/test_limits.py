"""Limits of the configuration in a running sidecar."""

from __future__ import annotations

from pathlib import Path

from devstack.stack import Devstack
from tests.integration.executors.wasm_programs import FOREVER
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import running, write_config
from tests.integration.service.test_story import approve

JOBS = "/api/v1/orchestrator/jobs"


async def test_a_job_that_uses_more_cpu_time_than_configured_ends_out_of_time(
    devnet: Devstack, tmp_path: Path
):
    limit = {"jobs:\n": "jobs:\n  wasm: {cpu_seconds: 1}\n"}
    async with running(write_config(devnet, tmp_path, **limit)) as sidecar:
        assert (await sidecar.call("GET", "/api/v1/agent/config"))["config"]["wasm"][
            "cpu_seconds"
        ] == 1
        job = wasm_job(FOREVER, Timeouts={"ExecutionTimeout": 60})
        job_id = (await sidecar.call("PUT", JOBS, Job=job))["JobID"]
        await approve(devnet, sidecar, job_id, "ada", "ben")
        done = await sidecar.until(
            f"{JOBS}/{job_id}?include=executions",
            lambda found: found["Job"]["State"]["StateType"] == "Failed",
        )
        assert done["Job"]["State"]["Message"] == "used more than 1 s of CPU time"
        (execution,) = await sidecar.sidecar.queue.executions_of(job_id)
        assert execution.outcome == "out_of_time"
        assert execution.run_record is not None
        assert 0.5 < execution.run_record["usage"]["cpu_seconds"] < 3
