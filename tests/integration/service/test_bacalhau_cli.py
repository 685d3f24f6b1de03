"""The requests of the `bacalhau` CLI, one after the other as its source sends them, with answers held against /openapi.json."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import jsonschema

from devstack.stack import Devstack
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import SidecarAtWork, running, write_config
from tests.integration.service.test_story import HELLO, approve

NEW = {"X-Bacalhau-Git-Version": "v1.9.3"}
API = "/api/v1/orchestrator"
EXTRA = {"Namespace": "", "Credential": None, "IdempotencyToken": ""}


class Cli:
    """A client that checks each answer's status and shape."""

    def __init__(self, sidecar: SidecarAtWork, document: dict[str, Any]) -> None:
        self._sidecar, self._document = sidecar, document

    async def __call__(
        self,
        method: str,
        path: str,
        shape: str,
        body: Any = None,
        status: int = 200,
        **headers: str,
    ) -> Any:
        async with self._sidecar._session.request(
            method, self._sidecar.sidecar.url + path, json=body,
            headers=self._sidecar.headers | NEW | headers,
        ) as response:  # fmt: skip
            answer = await response.json()
            assert response.status == status, answer
        place = self._document["paths"][shape][method.lower()]["responses"]
        schema = place["200" if status == 200 else "default"].get("content")
        if schema is not None:
            root = schema["application/json"]["schema"] | {
                "components": self._document["components"]
            }
            jsonschema.validate(answer, root)
        return answer


async def frames(sidecar: SidecarAtWork, path: str) -> tuple[list[Any], int | None]:
    async with sidecar._session.ws_connect(
        sidecar.sidecar.url + path, headers=sidecar.headers
    ) as socket:
        return [json.loads(message.data) async for message in socket], socket.close_code


async def test_job_run_list_describe_logs_get_and_stop_are_answered_as_the_cli_expects(
    devnet: Devstack, tmp_path: Path
) -> None:
    async with running(write_config(devnet, tmp_path)) as sidecar:
        cli = Cli(sidecar, await sidecar.call("GET", "/openapi.json"))
        job = f"{API}/jobs/{{id}}"
        methods = (await cli("GET", "/api/v1/auth", "/api/v1/auth"))["Methods"]
        (way,) = methods
        assert methods[way]["type"] == "ask"
        token = sidecar.headers["Authorization"].split()[1]
        data = base64.b64encode(json.dumps({"token": token}).encode()).decode()
        sent = EXTRA | {"Name": way, "MethodData": data}
        path = "/api/v1/auth/{method}"
        granted = await cli("POST", f"/api/v1/auth/{way}", path, sent)
        assert granted["Authentication"] == {"success": True, "token": token}
        bad = await sidecar.call("POST", f"/api/v1/auth/{way}", 401, MethodData="e30=")
        assert bad["Authentication"]["success"] is False

        values = wasm_job(HELLO) | {"Labels": {"team": "x"}, "Constraints": None, "Meta": None}
        put = await cli("PUT", f"{API}/jobs", f"{API}/jobs", EXTRA | {"Job": values})
        job_id = put["JobID"]
        history = f"{API}/jobs/{job_id}/history?event_type=all&limit=10"
        page = await cli("GET", history, job + "/history")
        assert page["Items"][0]["Type"] == "JobLevel"
        assert page["NextToken"]  # it polls until there is none
        await approve(devnet, sidecar, job_id, "ada", "ben")
        seen = page["Items"]
        async with asyncio.timeout(30):
            while page["NextToken"]:
                page = await cli(
                    "GET", f"{history}&next_token={page['NextToken']}", job + "/history"
                )
                seen += page["Items"]
        assert seen[-1]["JobState"] == {"Previous": "Running", "New": "Completed"}
        numbers = [item["SeqNum"] for item in seen]
        assert numbers == sorted(set(numbers))

        listed = f"{API}/jobs?limit=10&labels=bacalhau_canary!%3Dtrue&reverse=true"
        assert [j["ID"] for j in (await cli("GET", listed, f"{API}/jobs"))["Items"]] == [job_id]
        described = await cli("GET", f"{API}/jobs/{job_id[:10]}?include=executions,history", job)
        assert described["Job"]["State"]["StateType"] == "Completed"
        (execution,) = described["Executions"]["Items"]
        assert execution["AllocatedResources"]["Tasks"]["main"]["CPU"] == 0.5
        old = await cli(
            "GET", f"{API}/jobs/{job_id}/executions?limit=20", job + "/executions",
            **{"X-Bacalhau-Git-Version": "v1.5.0"},
        )  # fmt: skip
        assert old["Items"][0]["ComputeState"]["StateType"] == 7
        assert await frames(sidecar, f"{API}/jobs/{job_id}/logs?follow=true") == (
            [{"value": {"Type": 1, "Line": "hello\n"}}],
            1000,
        )
        (result,) = (await cli("GET", f"{API}/jobs/{job_id}/results", job + "/results"))["Items"]
        async with sidecar._session.get(result["Params"]["URL"]) as response:
            assert response.status == 200

        stop = {"reason": "done"} | EXTRA
        refused = await cli("DELETE", f"{API}/jobs/{job_id}", job, stop, status=409)
        assert refused["Code"] == "ConflictJobState"
        second = (await cli("PUT", f"{API}/jobs", f"{API}/jobs", {"Job": values}))["JobID"]
        assert (await cli("DELETE", f"{API}/jobs/{second}", job, stop))["EvaluationID"]
        assert (await cli("DELETE", f"{API}/jobs/{second}", job, stop))["EvaluationID"] == ""
        (frame,), code = await frames(sidecar, f"{API}/jobs/{second}/logs")
        assert ("has not run" in frame["error"], code) == (True, 1000)
        assert "j-none" in (await frames(sidecar, f"{API}/jobs/j-none/logs"))[0][0]["error"]

        await cli("GET", "/api/v1/agent/alive", "/api/v1/agent/alive")
        await cli("GET", "/api/v1/agent/version", "/api/v1/agent/version")
        await cli("POST", "/api/v1/version", "/api/v1/version", {"client_id": "x"})
        await cli("GET", "/api/v1/agent/node", "/api/v1/agent/node")
        await cli("GET", "/api/v1/agent/authconfig", "/api/v1/agent/authconfig")
        (node,) = (await cli("GET", f"{API}/nodes", f"{API}/nodes"))["Nodes"]
        await cli("GET", f"{API}/nodes/{node['Info']['NodeID']}", f"{API}/nodes/{{id}}")
        await cli("GET", f"{API}/jobs/{job_id}/versions", job + "/versions")
        rerun = await cli("PUT", f"{API}/jobs/{job_id}/rerun", job + "/rerun", {}, status=501)
        assert rerun["Hint"]
        unknown = {"Job": values | {"Name": "unknown"}}
        await cli("PUT", f"{API}/jobs/diff", f"{API}/jobs/diff", unknown, status=404)
        too_old = {"X-Bacalhau-Git-Version": "v1.3.2"}
        async with sidecar._session.get(sidecar.sidecar.url + API, headers=too_old) as response:
            assert response.status == 403
            assert (await response.json())["MinVersion"] == "v1.4.0"


async def test_a_page_elsewhere_cannot_read_logs_over_a_websocket(
    devnet: Devstack, tmp_path: Path
) -> None:
    opened = {"  port: 0": "  port: 0\n  anonymous_scopes: [read]"}
    async with running(write_config(devnet, tmp_path, **opened)) as sidecar:
        headers = {"Origin": "http://evil.example", "Upgrade": "websocket"}
        url = f"{sidecar.sidecar.url}{API}/jobs/j-any/logs"
        async with sidecar._session.get(url, headers=headers) as response:
            assert response.status == 403


async def test_every_route_of_the_document_names_its_scope_and_says_what_it_does(
    devnet: Devstack, tmp_path: Path
) -> None:
    async with running(write_config(devnet, tmp_path)) as sidecar:
        document = await sidecar.call("GET", "/openapi.json")
        assert len(document["paths"]) > 40
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                assert operation["summary"], (method, path)
        submit = document["paths"][f"{API}/jobs"]["put"]
        assert submit["security"] == [{"token": ["submit"]}]
