"""Programs in containers and in WASM see what was fetched as any other input; a server that is away costs another attempt."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from aiohttp import web

from sp_plugin.executors.base import ExecutorSettings
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.fetching.downloads import Downloads
from sp_plugin.fetching.gateways import Gateways
from sp_plugin.jobs.states import JobState
from tests.integration.conftest import IMAGE
from tests.integration.executors.test_wasm import PRINT
from tests.integration.fetching.test_gateways import Dag, Gateway
from tests.integration.fetching.web import Net, sends, serving
from tests.integration.jobs.parts import DEFAULT, MOST, EngineLimits, Sidecar, wasm_job

RAIN = b"day,mm\n1,2\n"
SHA = hashlib.sha256(RAIN).hexdigest()


async def opened(folder: Path, net: Net, gateways: tuple[str, ...] = ()) -> Sidecar:
    cache = folder / "volumes"
    inputs = {
        "downloads": Downloads(net.fetcher(), cache, pauses=(0.01,)),
        "gateways": Gateways(gateways, net.fetcher(), cache),
    }
    sidecar = Sidecar(folder, inputs=inputs)
    await sidecar.create_tables()
    sidecar.runner.clean()
    return sidecar


@pytest.mark.docker
async def test_a_container_reads_a_download_and_a_dag_from_a_gateway(tmp_path: Path, image: str):
    net, dag = Net(), Dag(tmp_path)
    async with serving(net, rain=sends(RAIN), ipfs=Gateway(dag.car, dag.blocks)) as url:
        sidecar = await opened(tmp_path, net, (url,))
        executor = DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "cache"))
        sidecar.executors["docker"] = executor
        sidecar.limits["docker"] = EngineLimits(DEFAULT, MOST)
        script = "cat /rain/rain.csv /dag/sub/a.txt; echo x > /rain/rain.csv || echo read-only"
        rain = {"Type": "urlDownload", "Params": {"URL": f"{url}/rain/rain.csv"}}
        task = {
            "Name": "main",
            "Engine": {
                "Type": "docker",
                "Params": {
                    "Image": IMAGE,
                    "Entrypoint": ["/bin/sh", "-c"],
                    "Parameters": [script],
                },
            },
            "InputSources": [
                {"Source": rain, "Target": "/rain"},
                {"Source": {"Type": "ipfs", "Params": {"CID": str(dag.root)}}, "Target": "/dag"},
            ],
        }
        submitted = await sidecar.submit({"Type": "batch", "Tasks": [task]})
        assert await sidecar.worker.run_once()
        done = await sidecar.queue.job(submitted.id)
        (execution,) = await sidecar.queue.executions_of(done.id)
        assert done.state is JobState.COMPLETED, done.message
        assert execution.run_output["Stdout"] == RAIN.decode() + "alpharead-only\n"
        await executor.close()
        await sidecar.close()


async def test_a_server_that_is_away_for_a_while_costs_an_attempt_and_not_the_job(tmp_path: Path):
    net, answers = Net(), [503, 503, 200]

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0), body=RAIN)

    async with serving(net, rain=handler) as url:
        sidecar = await opened(tmp_path, net)
        rain = {"Type": "urlDownload", "Params": {"URL": f"{url}/rain", "SHA256": SHA}}
        printing = PRINT.format(size=2, again="")
        submitted = await sidecar.submit(
            wasm_job(printing, inputs=[{"Source": rain, "Target": "/in"}])
        )
        assert await sidecar.worker.run_once()  # both tries of the first attempt
        waiting = await sidecar.queue.job(submitted.id)
        assert waiting.state is JobState.QUEUED
        assert "input /in: " in waiting.message
        assert "HTTP 503" in waiting.message
        assert await sidecar.worker.run_once()
        assert (await sidecar.queue.job(submitted.id)).state is JobState.COMPLETED
        await sidecar.close()


async def test_bytes_that_are_not_the_approved_ones_end_the_job_at_once(tmp_path: Path):
    net = Net()
    async with serving(net, rain=sends(b"other")) as url:
        sidecar = await opened(tmp_path, net)
        rain = {"Type": "urlDownload", "Params": {"URL": f"{url}/rain", "SHA256": SHA}}
        submitted = await sidecar.submit(wasm_job(inputs=[{"Source": rain, "Target": "/in"}]))
        assert await sidecar.worker.run_once()
        done = await sidecar.queue.job(submitted.id)
        (execution,) = await sidecar.queue.executions_of(submitted.id)
        assert (done.state, execution.outcome) == (JobState.FAILED, "input_missing")
        assert SHA in done.message
        await sidecar.close()
