"""From a job's staged result to FIL in its author's address, and a statement that an independent check confirms."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.cid import Cid
from lotus_client.types import AttoFil
from sp_plugin.audit.statement import audit_statement
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.test_story import approve, job


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """Beside a big miner, so that the provider wins some of the elections and not most of them."""
    return DevstackConfig(network=NetworkConfig(genesis_sectors=960))


async def result_of_a_job(net: Devstack, sidecar: SidecarAtWork, payee: str) -> bytes:
    """The CAR that an approved job over the provider's one piece has staged."""
    pieces = await sidecar.until(
        "/api/v1/sp/pieces", lambda answer: [i["state"] for i in answer["items"]] == ["verified"]
    )
    cid = pieces["items"][0]["piece_cid"]
    submitted = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=job(cid, payee))
    await approve(net, sidecar, submitted["JobID"], "ada", "ben")
    results = await sidecar.until("/api/v1/sp/results", lambda answer: answer["items"])
    staged = results["items"][0]["record"]["published"]["car"]
    return (sidecar.sidecar.data.staging / staged).read_bytes()


async def approve_a_plan(sidecar: SidecarAtWork) -> str:
    """The digest of a plan that was approved. One that more has vested since is superseded: then a person plans again."""
    for _ in range(10):
        plan = await sidecar.call("POST", "/api/v1/sp/payouts/plan")
        digest = str(plan["digest"])
        answer = await sidecar.call("POST", "/api/v1/sp/payouts/approve", status=ANY, digest=digest)
        if answer.get("digest") == digest:
            return digest
    pytest.fail(f"no plan stayed long enough to be approved: {answer}")


def of_batch(digest: str, payouts: Any) -> list[Any]:
    """The payouts of one approved plan; what vests later is planned beside them, by the same sidecar."""
    return [item for item in payouts["items"] if item["batch"] == digest]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_author_of_a_result_is_paid_what_the_ledger_derives_from_the_rewards(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    payee = devnet.network.key("carol").address
    async with running(write_config(devnet, tmp_path)) as sidecar:
        staged = await result_of_a_job(devnet, sidecar, str(payee))
        await make_deal(devnet, staged)
        miner = devnet.provider.miner
        await devnet.advance(3000)  # first PoSt, and the look-back behind it
        await devnet.node.advance(
            30_000, until=lambda tipset: any(block.miner == miner for block in tipset.blocks)
        )
        await devnet.advance(2880 + 1000)  # the period's end, final
        earnings = await sidecar.until(
            "/api/v1/sp/earnings",
            lambda answer: any(str(payee) in period["owed"] for period in answer["periods"]),
            150,
        )
        assert all(win["complete"] for win in earnings["wins"])
        ledger = await sidecar.until(
            "/api/v1/sp/ledger", lambda answer: f"payable:{payee}" in answer["balances"], 60
        )
        due = -int(ledger["balances"][f"payable:{payee}"])
        assert due > 0

        digest = await approve_a_plan(sidecar)
        await sidecar.call("POST", "/api/v1/sp/payouts/send")
        (sent,) = of_batch(digest, await sidecar.call("GET", "/api/v1/sp/payouts"))
        assert sent["message"] == sent["messages"][0]["cid"]  # known as soon as it is signed
        await devnet.advance(950)
        payouts = await sidecar.until(
            "/api/v1/sp/payouts",
            lambda answer: [i["state"] for i in of_batch(digest, answer)] == ["final"],
        )
        (payout,) = of_batch(digest, payouts)
        assert payout["message"] == sent["message"]
        assert devnet.network.state().balance(payee) == AttoFil(int(payout["amount"]))

        statement = await sidecar.call("GET", f"/api/v1/sp/statements/{payee}")
        report = await audit_statement(statement, sidecar.sidecar.node)
        assert report.ok, [finding for finding in report.findings if not finding.ok]
