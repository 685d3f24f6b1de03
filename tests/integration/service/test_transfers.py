"""A sidecar whose jobs fetch inputs by URL and from a gateway, and whose results go to an IPFS node; and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from aiohttp import web

from deals.car import CarReader
from deals.unixfs_write import pack_car
from devstack.stack import Devstack
from lotus_client.cid import Cid
from sp_plugin.config import load_config
from sp_plugin.doctor import examine
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.reading import read_job_values
from sp_plugin.jobs.records import check_record
from sp_plugin.publishers.local import kept_archive
from tests.integration.executors.wasm_programs import program
from tests.integration.jobs.parts import wasm_job
from tests.integration.publishers.fake_kubo import FakeKubo, running_kubo
from tests.integration.service.conftest import SidecarAtWork, running, write_config
from tests.integration.service.test_story import HELLO, approve

RAIN = b"day,mm\n1,2\n"


class Elsewhere:
    """A web server and a trustless gateway in one, on this machine."""

    def __init__(self, folder: Path) -> None:
        (folder / "dag").mkdir()
        (folder / "dag" / "a.txt").write_text("alpha")
        out = io.BytesIO()
        self.root = pack_car(folder / "dag", out).root
        self.car = out.getvalue()
        self.blocks = {place.cid: data for place, data in CarReader(io.BytesIO(self.car))}
        self.rain, self.asked = RAIN, []
        self.module = bytes(wasmtime.wat2wasm(program(HELLO)))
        self.slow = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/rain.csv":
            return web.Response(body=self.rain)
        if request.path == "/away":
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest"})
        if request.path == "/busy":
            return web.Response(status=503)
        if request.path == "/slow":
            self.slow.set()
            await asyncio.sleep(60)
        if request.path == "/hello.wasm":
            return web.Response(body=self.module)
        if request.path == "/ipfs/bafkqaaa":
            return web.Response()
        if request.query.get("format") == "car":
            return web.Response(body=self.car, content_type="application/vnd.ipld.car")
        data = self.blocks.get(Cid.parse(request.path.removeprefix("/ipfs/")))
        return web.Response(status=404) if data is None else web.Response(body=data)


@pytest.fixture
async def elsewhere(tmp_path: Path):
    found = Elsewhere(tmp_path)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.place = f"127.0.0.1:{runner.addresses[0][1]}"
    found.url = f"http://{found.place}"
    yield found
    await runner.cleanup()


def config_for(net: Devstack, folder: Path, elsewhere: Elsewhere, kubo: FakeKubo) -> Path:
    jobs = f"""\
policy:
  allowed_sources: [filecoin, ipfs, inline, urlDownload]
jobs:
  allowed_publishers: [local, ipfs, s3]
  fetch:
    allowed_private: ["{elsewhere.place}"]
    gateways: [{elsewhere.url}]
  publish:
    kubo: {{api: {kubo.url}}}
    s3:
      - {{bucket: results, endpoint: "http://127.0.0.1:9"}}
"""
    return write_config(net, folder, **{"jobs:\n": jobs})


def source(kind: str, target: str, **params: str) -> dict[str, Any]:
    return {"Source": {"Type": kind, "Params": params}, "Target": target}


async def submitted(sidecar: SidecarAtWork, job: dict[str, Any], status: int = 200) -> Any:
    return await sidecar.call("PUT", "/api/v1/orchestrator/jobs", status, Job=job)


async def ended(sidecar: SidecarAtWork, job_id: str) -> Any:
    """The job with its executions, once it is over."""
    return await sidecar.until(
        f"/api/v1/orchestrator/jobs/{job_id}?include=executions",
        lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
    )


async def test_a_job_reads_a_url_and_a_gateway_and_its_results_are_pinned(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with running_kubo(FakeKubo()) as kubo:
        path = config_for(devnet, tmp_path, elsewhere, kubo)
        async with running(path) as sidecar:
            job = wasm_job(
                HELLO,
                inputs=[
                    source("urlDownload", "/rain", URL=f"{elsewhere.url}/rain.csv"),
                    source("ipfs", "/dag", CID=str(elsewhere.root)),
                ],
                Publisher={"Type": "ipfs"},
            )
            job_id = (await submitted(sidecar, job))["JobID"]
            bundle = (await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/bundle"))["bundle"]
            seen = Cid.parse(bundle["inputs"][1]["cid"])
            assert seen.digest == hashlib.sha256(RAIN).digest()
            assert bundle["inputs"][1]["path"] == f"{elsewhere.url}/rain.csv"

            # what the server gives now is another thing: the run gets what was approved
            elsewhere.rain = b"changed"
            await approve(devnet, sidecar, job_id, "ada", "ben")
            done = await ended(sidecar, job_id)
            assert done["Job"]["State"]["StateType"] == "Completed", done["Job"]["State"]
            (execution,) = done["Executions"]["Items"]
            assert execution["PublishedResult"]["Type"] == "ipfs"
            assert Cid.parse(execution["PublishedResult"]["Params"]["CID"]) in kubo.pinned
            assert elsewhere.asked.count("/rain.csv") == 1

            home = sidecar.sidecar.data.results / execution["ID"]
            record = json.loads((home / "run-record.json").read_text())
            check_record(record, sidecar.sidecar.data.record_key().address)
            _, rain, dag = record["inputs"]
            assert (rain["payload_bytes"], rain["piece_key"]) == (len(RAIN), None)
            assert rain["sha256"] == hashlib.sha256(RAIN).hexdigest()
            assert (dag["fetched_from"], dag["piece_key"]) == (elsewhere.url, None)
            with tarfile.open(kept_archive(home)) as tar:
                names = [item.name for item in tar]
            assert names == ["exitCode", "stderr", "stdout", "run-record.json"]

        checks = {check.name: check for check in await examine(load_config(path, {}))}
        assert checks[f"gateway {elsewhere.url}"].ok
        assert checks["IPFS node"].detail.startswith("Kubo 0.38.1 answers")
        assert not checks["bucket results"].ok


async def test_what_may_not_be_fetched_or_published_is_refused_when_the_job_comes_in(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with (
        running_kubo(FakeKubo()) as kubo,
        running(config_for(devnet, tmp_path, elsewhere, kubo)) as sidecar,
    ):
        for url in ("http://169.254.169.254/x", "http://127.0.0.1:1/x", f"{elsewhere.url}/away"):
            job = wasm_job(HELLO, inputs=[source("urlDownload", "/in", URL=url)])
            assert "a public address" in (await submitted(sidecar, job, 400))["Message"]
        twice = [
            source("urlDownload", "/in", URL=f"{elsewhere.url}/rain.csv"),
            source("ipfs", "/in", CID=str(elsewhere.root)),
        ]
        found = await submitted(sidecar, wasm_job(HELLO, inputs=twice), 400)
        assert "InputSources[1].Target and InputSources[2].Target are both /in" in found["Message"]
        absent = wasm_job(
            HELLO, inputs=[source("ipfs", "/in", CID=str(Cid.of_sha2_256(0x55, b"x")))]
        )
        assert "no gateway gives it" in (await submitted(sidecar, absent, 400))["Message"]
        unknown = wasm_job(HELLO, inputs=[source("ftp", "/in", URL="ftp://x/y")])
        found = await submitted(sidecar, unknown, 400)
        assert "InputSources[1].Source.Type: unknown source 'ftp'" in found["Message"]
        for publisher, said in (
            ({"Type": "s3", "Params": {"Bucket": "mine", "Key": "x"}}, "jobs.publish.s3: results"),
            ({"Type": "filecoin"}, "filecoin; allowed: local, ipfs, s3"),
        ):
            found = await submitted(sidecar, wasm_job(HELLO, Publisher=publisher), 403)
            assert said in found["Message"]
    assert elsewhere.asked == ["/away", f"/ipfs/{Cid.of_sha2_256(0x55, b'x')}"]


async def test_a_server_that_is_busy_is_asked_again_later_and_holds_no_other_job_up(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with (
        running_kubo(FakeKubo()) as kubo,
        running(config_for(devnet, tmp_path, elsewhere, kubo)) as sidecar,
    ):
        busy = source("urlDownload", "/in", URL=f"{elsewhere.url}/busy")
        found = await submitted(sidecar, wasm_job(HELLO, inputs=[busy]), 503)
        assert "hand the job in again later" in found["Message"]
        # one that an earlier release took in and was killed before it knew what the job would do
        queue, old = sidecar.sidecar.queue, wasm_job(HELLO, inputs=[busy])
        waiting = await queue.submit(read_job_values(old, load_kinds()).spec.to_wire())
        other = (await submitted(sidecar, wasm_job(HELLO)))["JobID"]
        await approve(devnet, sidecar, other, "ada", "ben")
        assert (await ended(sidecar, other))["Job"]["State"]["StateType"] == "Completed"
        await sidecar.until(
            f"/api/v1/orchestrator/jobs/{waiting.id}",
            lambda answer: "HTTP 503" in answer["Job"]["State"]["Message"],
        )


async def test_a_provider_that_did_not_allow_downloads_fetches_nothing(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with running(write_config(devnet, tmp_path)) as sidecar:
        job = wasm_job(
            HELLO, inputs=[source("urlDownload", "/in", URL=f"{elsewhere.url}/rain.csv")]
        )
        found = await submitted(sidecar, job, 403)
        assert "policy.allowed_sources" in found["Message"]
        sha = hashlib.sha256(RAIN).hexdigest()
        job["Tasks"][0]["InputSources"][1]["Source"]["Params"]["SHA256"] = sha
        await submitted(sidecar, job, 403)
    assert elsewhere.asked == []


async def test_a_module_may_come_by_url_and_is_signed_by_its_digest(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with (
        running_kubo(FakeKubo()) as kubo,
        running(config_for(devnet, tmp_path, elsewhere, kubo)) as sidecar,
    ):
        job = wasm_job(HELLO)
        job["Tasks"][0]["InputSources"] = [
            source("urlDownload", "/app", URL=f"{elsewhere.url}/hello.wasm")
        ]
        job["Tasks"][0]["Engine"]["Params"]["EntryModule"] = "/app"
        job_id = (await submitted(sidecar, job))["JobID"]
        bundle = (await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/bundle"))["bundle"]
        assert bundle["module_sha256"] == hashlib.sha256(elsewhere.module).hexdigest()
        await approve(devnet, sidecar, job_id, "ada", "ben")
        done = await ended(sidecar, job_id)
        (execution,) = done["Executions"]["Items"]
        assert execution["RunOutput"]["Stdout"] == "hello\n"
    assert elsewhere.asked == ["/hello.wasm"]  # once, at its submission


async def test_a_job_whose_input_comes_slowly_can_be_stopped(
    devnet: Devstack, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async with (
        running_kubo(FakeKubo()) as kubo,
        running(config_for(devnet, tmp_path, elsewhere, kubo)) as sidecar,
    ):
        slow = source("urlDownload", "/in", URL=f"{elsewhere.url}/slow", SHA256="0" * 64)
        job_id = (await submitted(sidecar, wasm_job(HELLO, inputs=[slow])))["JobID"]
        await approve(devnet, sidecar, job_id, "ada", "ben")
        await asyncio.wait_for(elsewhere.slow.wait(), 20)
        await sidecar.call("DELETE", f"/api/v1/orchestrator/jobs/{job_id}")
        await sidecar.until(
            f"/api/v1/orchestrator/jobs/{job_id}",
            lambda answer: answer["Job"]["State"]["StateType"] == "Stopped",
            seconds=10,
        )
        assert list(sidecar.sidecar.data.runs.iterdir()) == []
