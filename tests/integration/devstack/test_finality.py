"""Finality over the API, with and without the simulated F3."""

from __future__ import annotations

import aiohttp
import pytest

from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from tests.integration.devstack.conftest import RawRpc


@pytest.mark.parametrize(("f3_lag", "final"), [(None, 0), (6, 14)])
async def test_all_answers_about_finality_agree(
    session: aiohttp.ClientSession, f3_lag: int | None, final: int
) -> None:
    config = DevstackConfig(network=NetworkConfig(f3_lag=f3_lag))
    async with Devstack(config) as net:
        await net.advance(20)
        base = f"http://127.0.0.1:{net.api_port}/rpc"
        v1, v2 = RawRpc(session, f"{base}/v1", ""), RawRpc(session, f"{base}/v2", "")
        assert (await v1("ChainGetFinalizedTipSet"))["Height"] == final
        assert (await v2("ChainGetTipSet", {"tag": "finalized"}))["Height"] == final
        status = await v2("ChainGetTipSetFinalityStatus")
        assert status["finalizedTipSet"]["Height"] == final
        assert status["ecFinalizedTipSet"]["Height"] == 0
        f3 = status["f3FinalizedTipSet"]
        assert (f3 is None) if f3_lag is None else (f3["Height"] == final)
        safe = await v2("ChainGetTipSet", {"tag": "safe"})
        assert safe["Height"] >= final


async def test_a_reorg_below_f3_finality_is_refused_over_the_control_api(
    session: aiohttp.ClientSession,
) -> None:
    async with Devstack(DevstackConfig(network=NetworkConfig(f3_lag=6))) as net:
        await net.advance(20)
        headers = {"Authorization": f"Bearer {net.token()}"}
        url = f"http://127.0.0.1:{net.api_port}/devstack/v1/reorg"
        async with session.post(url, json={"depth": 8}, headers=headers) as response:
            assert response.status == 409
            assert "checkpointed block" in (await response.json())["error"]
        assert net.network.head.height == 20
