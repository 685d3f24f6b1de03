"""Jobs that come in under their submitter's signature: who may, how often, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devstack.stack import Devstack
from lotus_client.bls import BlsKey
from lotus_client.signed_text import BytesSigner, sign_text
from lotus_client.types import Epoch
from sp_plugin.config import Scope
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.reading import read_job_values
from sp_plugin.jobs.signed import Place, submission_digest, submission_payload
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import SidecarAtWork, running, write_config
from tests.integration.service.test_story import approve

JOBS = "/api/v1/orchestrator/jobs"
BLS = BlsKey(bytes([1] * 32))
KINDS = load_kinds()


@asynccontextmanager
async def world(
    net: Devstack, home: Path, *, signers: tuple[str, ...] = ("carol",), http: str = ""
) -> AsyncIterator[SidecarAtWork]:
    """A sidecar that takes jobs signed by the named devnet keys, and by `BLS`."""
    listed = [str(net.network.key(name).address) for name in signers] + [str(BLS.address)]
    text = f"  port: 0\n  signers: [{', '.join(listed) if signers else ''}]{http}"
    async with running(write_config(net, home, **{"  port: 0": text})) as sidecar:
        yield sidecar


def signed(
    net: Devstack, key: BytesSigner, *, payee: Any = None, expires: int = 2000, **task: Any
) -> dict[str, Any]:
    """A job signed by `key`, which is the payee unless another is named."""
    values = wasm_job(**task)
    meta = {"filecoin.payee": str(payee or key.address), "filecoin.signature_expires": str(expires)}
    if payee is not None:
        meta["filecoin.submitter"] = str(key.address)
    values["Meta"] = meta
    place = Place("devstack", net.provider.miner.actor_id)
    digest = submission_digest(read_job_values(values, KINDS).spec, place)
    signature = sign_text(key, submission_payload(digest, Epoch(expires), place))
    values["Meta"] = {**meta, "filecoin.signature": signature.to_bytes().hex()}
    return values


async def put(
    sidecar: SidecarAtWork, job: Any, token: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and answer of handing a job in."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session:
        async with session.put(
            sidecar.sidecar.url + JOBS, json={"Job": job}, headers=headers
        ) as response:
            return response.status, await response.json()


async def test_a_signed_job_comes_in_without_a_token_and_runs(devnet: Devstack, tmp_path: Path):
    carol = devnet.network.key("carol")
    async with world(devnet, tmp_path) as sidecar:
        status, answer = await put(sidecar, signed(devnet, carol))
        assert status == 200, answer
        job_id = answer["JobID"]
        record = await sidecar.sidecar.queue.job(job_id)
        assert (record.submitter, record.signer) == (carol.address.to_text("t"),) * 2
        await approve(devnet, sidecar, job_id, "ada", "ben")
        done = await sidecar.until(
            f"{JOBS}/{job_id}?include=history",
            lambda found: found["Job"]["State"]["StateType"] == "Completed",
        )
        assert done["Job"]["Signer"] == carol.address.to_text("t")
        assert done["History"]["Items"][0]["Event"]["Details"]["Signer"] == carol.address.to_text(
            "t"
        )
        (listed,) = (await sidecar.call("GET", JOBS))["Items"]
        assert listed["Signer"] == carol.address.to_text("t")


async def test_the_same_signed_job_is_one_job_however_often_it_comes(
    devnet: Devstack, tmp_path: Path
):
    job = signed(devnet, devnet.network.key("carol"))
    async with world(devnet, tmp_path) as sidecar:
        answers = await asyncio.gather(*(put(sidecar, job) for _ in range(3)))
        (job_id,) = {answer["JobID"] for _, answer in answers}
        await sidecar.call("DELETE", f"{JOBS}/{job_id}")
        token = sidecar.headers["Authorization"].split()[1]
        for given in (None, token):
            assert (await put(sidecar, job, given))[1]["JobID"] == job_id
        assert (await sidecar.sidecar.queue.job(job_id)).state == "Stopped"
        assert len((await sidecar.call("GET", JOBS))["Items"]) == 1
    async with world(devnet, tmp_path) as sidecar:  # and after a restart
        assert (await put(sidecar, job))[1]["JobID"] == job_id


async def test_a_bls_key_signs_for_another_payee_whose_consent_is_then_not_proven(
    devnet: Devstack, tmp_path: Path
):
    carol = devnet.network.key("carol").address
    async with world(devnet, tmp_path) as sidecar:
        status, answer = await put(sidecar, signed(devnet, BLS, payee=carol))
        assert status == 200, answer
        found = (await sidecar.call("GET", f"{JOBS}/{answer['JobID']}"))["Job"]
        assert found["Signer"] == BLS.address.to_text("t")
        assert found["Meta"]["filecoin.payee"] == str(carol)


async def test_what_is_not_signed_by_a_listed_key_for_now_is_refused(
    devnet: Devstack, tmp_path: Path
):
    await devnet.advance(10)
    carol, alice = devnet.network.key("carol"), devnet.network.key("alice")
    good = signed(devnet, carol)
    changed = json.loads(json.dumps(good))
    changed["Tasks"][0]["Env"] = {"A": "b"}
    twice = {"meta": good["Meta"], **good, "Meta": signed(devnet, alice)["Meta"]}
    async with world(devnet, tmp_path) as sidecar:
        for job, status, words in (
            (wasm_job(), 401, "the signature of one of this provider's http.signers"),
            ({}, 401, "a token is needed"),
            (signed(devnet, alice), 403, "is not in this provider's http.signers"),
            (changed, 400, "was not made by"),
            (twice, 403, "in a second Meta"),
            (signed(devnet, carol, expires=9), 400, "sign the job again"),
            (signed(devnet, carol, expires=10**6), 400, "more than 86400 from now"),
            ({**good, "Tasks": []}, 400, "Tasks"),
        ):
            answered, answer = await put(sidecar, job)
            assert (answered, words in answer["Message"]) == (status, True), answer
        assert (await sidecar.call("GET", JOBS))["Items"] == []
        assert (await put(sidecar, good, "unknown"))[0] == 401  # a wrong token is not overlooked


async def test_a_signature_stands_in_for_a_missing_scope_and_is_checked_beside_a_token(
    devnet: Devstack, tmp_path: Path
):
    carol = devnet.network.key("carol")
    async with world(devnet, tmp_path) as sidecar:
        tokens = sidecar.sidecar.tokens
        reader = (await tokens.create("reader", [Scope.READ], 1)).reveal()
        writer = (await tokens.create("writer", [Scope.SUBMIT], 1)).reveal()
        assert (await put(sidecar, wasm_job(), reader))[0] == 403
        status, answer = await put(sidecar, signed(devnet, carol), reader)
        assert status == 200
        assert (
            await sidecar.sidecar.queue.job(answer["JobID"])
        ).submitter == carol.address.to_text("t")
        wrong = signed(devnet, carol)
        wrong["Name"] = "changed"
        assert (await put(sidecar, wrong, writer))[0] == 400
        # not listed, but the token lets it in: the payee's consent is proven all the same
        status, answer = await put(sidecar, signed(devnet, devnet.network.key("alice")), writer)
        record = await sidecar.sidecar.queue.job(answer["JobID"])
        assert record.submitter == "writer"
        assert record.signer == devnet.network.key("alice").address.to_text("t")


async def test_the_quota_of_a_signer_goes_by_its_address(devnet: Devstack, tmp_path: Path):
    carol = devnet.network.key("carol")
    quota = f"jobs:\n  quotas:\n    submitters: [{{name: {carol.address.to_text('t')}, max_queued: 1}}]\n"
    listed = f"  port: 0\n  signers: [{carol.address.to_text('t')}]"
    path = write_config(devnet, tmp_path, **{"  port: 0": listed, "jobs:\n": quota})
    async with running(path) as sidecar:
        first = signed(devnet, carol)
        assert (await put(sidecar, first))[0] == 200
        status, answer = await put(sidecar, signed(devnet, carol, expires=1999))
        assert (status, "max_queued" in answer["Message"]) == (429, True)
        assert (await put(sidecar, first))[0] == 200  # it is here already


async def test_who_fails_again_and_again_is_not_listened_to_for_a_minute(
    devnet: Devstack, tmp_path: Path
):
    good = signed(devnet, devnet.network.key("carol"))
    async with world(devnet, tmp_path) as sidecar:
        seen = [(await put(sidecar, wasm_job()))[0] for _ in range(21)]
        assert seen == [401] * 20 + [429]
        assert (await put(sidecar, good))[0] == 429
        token = sidecar.headers["Authorization"].split()[1]
        assert (await put(sidecar, good, token))[0] == 200  # tokens are another door


async def test_who_sends_a_job_of_before_again_and_again_is_not_listened_to_either(
    devnet: Devstack, tmp_path: Path
):
    good = signed(devnet, devnet.network.key("carol"))
    async with world(devnet, tmp_path) as sidecar:
        seen = [(await put(sidecar, good))[0] for _ in range(22)]
        assert seen == [200] * 21 + [429]


@pytest.mark.parametrize("signers", [("carol",), ()])
async def test_what_a_signer_must_know_is_told_where_signed_jobs_are_taken(
    devnet: Devstack, tmp_path: Path, signers: tuple[str, ...]
):
    async with world(devnet, tmp_path, signers=signers) as sidecar, aiohttp.ClientSession() as http:
        async with http.get(f"{sidecar.sidecar.url}/api/v1/sp/signing") as response:
            answer = await response.json()
        if signers:
            assert (answer["network"], answer["epoch"]) == ("devstack", devnet.network.head.height)
            assert answer["provider"] == devnet.provider.miner.to_text("t")
        else:
            assert response.status == 401
            # as before: the body of somebody without a token is not even read
            assert (await put(sidecar, signed(devnet, BLS)))[0] == 401
