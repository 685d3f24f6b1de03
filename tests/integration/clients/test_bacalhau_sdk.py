"""`bacalhau-sdk` and `bacalhau-apiclient` from PyPI, unchanged, against a running sidecar: jobs over a verified deal.

python3 -m venv tests/clients/venv
tests/clients/venv/bin/pip install --require-hashes --no-deps -r tests/clients/requirements.lock
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devstack.stack import Devstack
from lotus_client.cid import Cid
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.conftest import car as car  # noqa: PLC0414  a fixture
from tests.integration.service.test_story import approve, job

CLIENTS = Path(__file__).parents[2] / "clients"
PYTHON = CLIENTS / "venv" / "bin" / "python"
COUNTING = """
(local $n i32)
(i32.store (i32.const 0) (i32.const 16))
(i32.store (i32.const 4) (i32.const 2))
(i32.store8 (i32.const 17) (i32.const 10))
(i64.store (i32.const 64) (i64.const 0)) (i32.store (i32.const 72) (i32.const 0))
(i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 200000000))
(block $out (loop $again
  (br_if $out (i32.ge_u (local.get $n) (i32.const 10)))
  (i32.store8 (i32.const 16) (i32.add (i32.const 48) (local.get $n)))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  (drop (call $poll (i32.const 64) (i32.const 160) (i32.const 1) (i32.const 200)))
  (local.set $n (i32.add (local.get $n) (i32.const 1)))
  (br $again)))
"""
FOREVER = COUNTING.replace("(br_if $out (i32.ge_u (local.get $n) (i32.const 10)))", "")

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="needs tests/clients/venv: see the docstring of this file"
)


class Sdk:
    """The clients in their own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, *command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        assert line.startswith((b"{", b"n", b'"')), (command[0], line)
        return json.loads(line)

    async def until_over(self, job_id: str) -> str:
        return await self.until(job_id, "Completed", "Failed", "Stopped")

    async def until(self, job_id: str, *states: str) -> str:
        async with asyncio.timeout(60):
            while True:
                state = (await self("api_get", job_id[:10]))["Job"]["State"]
                if state["StateType"] in states:
                    return str(state["StateType"])
                await asyncio.sleep(0.1)


@asynccontextmanager
async def sdk_of(url: str, home: Path) -> AsyncIterator[Sdk]:
    process = await asyncio.create_subprocess_exec(
        str(PYTHON), str(CLIENTS / "drive_sdk.py"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "BACALHAU_DIR": str(home),
            "BACALHAU_API_HOST": urlsplit(url).hostname or "",
            "BACALHAU_API_PORT": str(urlsplit(url).port),
        },
    )  # fmt: skip
    try:
        yield Sdk(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def world(
    net: Devstack, home: Path, payload: bytes, **changes: str
) -> AsyncIterator[tuple[SidecarAtWork, Sdk, str]]:
    """A sidecar that lets everybody hand jobs in, the clients, and a verified piece."""
    await make_deal(net, payload)
    await net.advance(40)
    opened = {"  port: 0": "  port: 0\n  anonymous_scopes: [read, submit]", **changes}
    async with running(write_config(net, home, **opened)) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces", lambda found: [i["state"] for i in found["items"]] == ["verified"]
        )
        async with sdk_of(sidecar.sidecar.url, home) as sdk:
            yield sidecar, sdk, pieces["items"][0]["piece_cid"]


async def follow(sidecar: SidecarAtWork, job_id: str) -> str:
    """What `bacalhau job logs --follow` would print."""
    path = f"{sidecar.sidecar.url}/api/v1/orchestrator/jobs/{job_id}/logs?follow=true"
    printed = ""
    async with sidecar._session.ws_connect(path) as socket:
        async for message in socket:
            printed += json.loads(message.data)["value"]["Line"]
        assert socket.close_code == 1000
    return printed


async def test_the_sdk_runs_follows_fetches_and_stops_wasm_jobs_over_a_deal(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payee = str(devnet.network.key("carol").address)
    async with world(devnet, tmp_path, car[0]) as (sidecar, sdk, piece):
        put = await sdk("put", job(piece, payee, COUNTING))
        job_id = put["JobID"]
        following = asyncio.create_task(follow(sidecar, job_id))  # before anybody signed
        await approve(devnet, sidecar, job_id, "ada", "ben")
        assert await sdk.until_over(job_id) == "Completed"
        digits = "".join(f"{n}\n" for n in range(10))
        assert await following == digits == await follow(sidecar, job_id)

        (execution,) = (await sdk("executions", job_id))["Items"]
        assert execution["RunOutput"]["Stdout"] == digits
        assert execution["ComputeState"]["StateType"] == 9
        states = [item["ExecutionState"]["New"] for item in (await sdk("history", job_id))["Items"]]
        assert states == [5, 6, 7, 9]
        (result,) = (await sdk("results", job_id))["Items"]
        async with sidecar._session.get(result["Params"]["URL"]) as response:
            raw = io.BytesIO(await response.read())
        with tarfile.open(fileobj=raw) as archive:
            assert archive.extractfile("stdout").read().decode() == digits  # type: ignore[union-attr]
        assert [item["ID"] for item in (await sdk("list"))["Items"]] == [job_id]
        nodes = (await sdk("nodes"))["nodes"]
        assert "wasm" in nodes[0]["Info"]["ComputeNodeInfo"]["ExecutionEngines"]

        endless = (await sdk("api_put", job(piece, payee, FOREVER)))["JobID"]
        await approve(devnet, sidecar, endless, "ada", "ben")
        await sdk.until(endless, "Running")
        following = asyncio.create_task(follow(sidecar, endless))
        assert (await sdk("stop", endless))["EvaluationID"]
        assert await sdk.until_over(endless) == "Stopped"
        await following
        assert (await sdk("api_stop", endless))["EvaluationID"] == ""
        listed = [item["ID"] for item in (await sdk("api_list"))["Items"]]
        assert listed == [endless, job_id]


@pytest.mark.docker
async def test_the_sdk_runs_a_container_over_a_deal(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid], image: str
) -> None:
    payee = str(devnet.network.key("carol").address)
    changes = {
        "  minimum_piece_bytes: 256": "  minimum_piece_bytes: 256\n  docker: {enabled: true}"
    }
    async with world(devnet, tmp_path, car[0], **changes) as (sidecar, sdk, piece):
        params = {"Image": image, "Parameters": ["head", "-n", "3", "/inputs/readings.csv"]}
        values = job(piece, payee)
        values["Tasks"][0]["Engine"] = {"Type": "docker", "Params": params}
        del values["Tasks"][0]["InputSources"][0]
        job_id = (await sdk("put", values))["JobID"]
        await approve(devnet, sidecar, job_id, "ada", "ben")
        assert await sdk.until_over(job_id) == "Completed"
        assert await follow(sidecar, job_id) == "day,mm\n0,0\n1,1\n"
        # the generated client shows the bytes it got as Python writes them
        assert (await sdk("api_logs", job_id)) == str(b"day,mm\n0,0\n1,1\n")
