"""A deal is seen, verified and computed over by an approved job, whose result is staged as a piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wasmtime

from devstack.stack import Devstack
from fil_plus.approvals import approval_payload
from lotus_client.cid import Cid
from lotus_client.crypto import envelope
from sp_plugin.approvals.recorded import bundle_from_json
from sp_plugin.config import Scope
from tests.integration.executors.wasm_programs import program
from tests.integration.jobs.parts import data_url
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config

HELLO = """
(i32.store (i32.const 0) (i32.const 16))
(i32.store (i32.const 4) (i32.const 6))
(i32.store (i32.const 16) (i32.const 0x6c6c6568))
(i32.store (i32.const 20) (i32.const 0x0a6f))
(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
"""


def job(piece_cid: Any, payee: str, body: str = HELLO) -> dict[str, Any]:
    """A job over a piece whose module is inline."""
    module = {
        "Type": "inline",
        "Params": {"URL": data_url(bytes(wasmtime.wat2wasm(program(body))))},
    }
    piece = {"Type": "filecoin", "Params": {"PieceCID": str(piece_cid)}}
    task = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
        "InputSources": [
            {"Source": module, "Target": "/main.wasm"},
            {"Source": piece, "Target": "/inputs"},
        ],
        "Publisher": {"Type": "filecoin"},
        "Timeouts": {"ExecutionTimeout": 20},
    }
    return {"Type": "batch", "Meta": {"filecoin.payee": payee}, "Tasks": [task]}


async def approve(net: Devstack, sidecar: SidecarAtWork, job_id: str, *names: str) -> None:
    """Signatures of the named devnet keys, handed in."""
    request = await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/bundle")
    bundle = bundle_from_json(request["bundle"], bytes.fromhex(request["digest"]))
    for name in names:
        key = net.network.key(name)
        signature = key.sign(envelope(approval_payload(bundle)))
        await sidecar.call(
            "POST",
            f"/api/v1/sp/jobs/{job_id}/approvals",
            approver=str(key.address),
            signature=signature.to_bytes().hex(),
        )


async def test_an_approved_job_runs_over_a_verified_deal_and_stages_its_result(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payload, root = car
    number = await make_deal(devnet, payload)
    await devnet.advance(40)
    async with running(write_config(devnet, tmp_path)) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces",
            lambda answer: [i["state"] for i in answer["items"]] == ["verified"],
        )
        (piece,) = pieces["items"]
        assert (piece["claim_id"], piece["roots"], piece["datasets"]) == (
            number,
            [str(root)],
            ["open"],
        )

        payee = devnet.network.key("carol").address
        submitted = await sidecar.call(
            "PUT", "/api/v1/orchestrator/jobs", Job=job(piece["piece_cid"], str(payee))
        )
        job_id = submitted["JobID"]
        standing = await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/approvals")
        assert not standing["approved"]
        await approve(devnet, sidecar, job_id, "ada")
        described = await sidecar.call("GET", f"/api/v1/orchestrator/jobs/{job_id}")
        assert described["Job"]["State"]["StateType"] == "Pending"
        await approve(devnet, sidecar, job_id, "ben")

        done = await sidecar.until(
            f"/api/v1/orchestrator/jobs/{job_id}?include=executions,history",
            lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
        )
        assert done["Job"]["State"]["StateType"] == "Completed", done["Job"]["State"]
        (execution,) = done["Executions"]["Items"]
        assert execution["RunOutput"]["Stdout"] == "hello\n"
        assert execution["PublishedResult"]["Type"] == "filecoin"
        assert all(
            "Previous" in item.get("JobState", {"Previous": 0}) for item in done["History"]["Items"]
        )

        logs = await sidecar.call("GET", f"/api/v1/sp/jobs/{job_id}/logs")
        assert logs["stdout"] == "hello\n"
        results = await sidecar.call("GET", f"/api/v1/orchestrator/jobs/{job_id}/results")
        (item,) = results["Items"]
        async with sidecar._session.get(item["Params"]["URL"]) as response:
            assert response.status == 200
            assert (await response.read())[:2] == b"\x1f\x8b"
        url, _, signature = item["Params"]["URL"].partition("?sig=")
        assert url.endswith(f"/{execution['ID']}.tar.gz")
        reader = await sidecar.sidecar.tokens.create("reader", [Scope.READ], 1)
        payer = await sidecar.sidecar.tokens.create("payer", [Scope.OPERATE], 1)
        for query, token, status in (
            ("", None, 401),
            (f"?sig={signature[:-1]}", None, 401),
            (f"?sig={signature}x", None, 401),
            ("", payer, 403),
            ("", reader, 200),
        ):
            headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
            async with sidecar._session.get(url + query, headers=headers) as response:
                assert response.status == status, (query, await response.read())
        ready = await sidecar.until("/health/readyz", lambda answer: answer["ready"])
        assert {part["name"] for part in ready["parts"]} >= {"follow", "admit", "earn", "send"}
