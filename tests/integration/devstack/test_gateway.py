"""The node behind lotus-gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from devstack.faults import Scope
from devstack.stack import Devstack, DevstackConfig
from tests.integration.devstack.conftest import RawRpc


@pytest.fixture
async def net() -> AsyncIterator[Devstack]:
    config = DevstackConfig(gateway_port=0, gateway_lookback_seconds=3600 + 125)
    async with Devstack(config) as net:
        yield net


@pytest.fixture
def gateway(net: Devstack, session: aiohttp.ClientSession) -> RawRpc:
    return RawRpc(session, f"http://127.0.0.1:{net.gateway_port}/rpc/v1", "")


async def test_it_serves_a_part_of_the_methods_and_no_others(
    net: Devstack, gateway: RawRpc
) -> None:
    await net.advance(2)
    assert (await gateway("ChainHead"))["Height"] == 2
    assert await gateway("StateGetClaims", "t01001", None) == {}
    for absent in ("WalletList", "MpoolPushMessage", "StateMinerSectors", "AuthNew"):
        error = (await gateway.answer(absent))["error"]
        assert error == {"code": -32601, "message": f"method 'Filecoin.{absent}' not found"}


async def test_anybody_may_push_a_signed_message(net: Devstack, gateway: RawRpc) -> None:
    error = (await gateway.answer("MpoolPush", {"Message": {}, "Signature": {}}))["error"]
    assert "missing permission" not in error["message"]


async def test_states_older_than_the_lookback_are_refused_in_the_gateways_words(
    net: Devstack, gateway: RawRpc
) -> None:
    await net.advance(1100)  # 4400 seconds of chain
    old, new = (net.network.tipset_by_height(height) for height in (100, 1000))  # type: ignore[arg-type]
    key = [{"/": str(cid)} for cid in old.key]
    text = "lookbacks of more than 1h2m5s are disallowed"
    error = (await gateway.answer("StateGetActor", "t0100", key))["error"]
    assert error == {"code": 1, "message": f"bad tipset: {text}"}
    error = (await gateway.answer("ChainGetTipSetByHeight", 100, None))["error"]
    assert error == {"code": 1, "message": f"bad tipset height: {text}"}
    error = (await gateway.answer("ChainGetTipSetByHeight", 5000, None))["error"]
    assert error == {"code": 1, "message": "tipset height in future"}
    await gateway("StateGetActor", "t0100", [{"/": str(cid)} for cid in new.key])
    assert (await gateway("ChainGetTipSetByHeight", 1000, None))["Height"] == 1000


async def test_messages_are_searched_for_twenty_epochs_back_only(
    net: Devstack, gateway: RawRpc, session: aiohttp.ClientSession
) -> None:
    cid = net.network.send("alice", net.network.key("bob").address)
    await net.advance(3)
    wanted = {"/": str(cid)}
    assert await gateway("StateSearchMsg", None, wanted, -1, True) is not None
    await net.advance(30)
    assert await gateway("StateSearchMsg", None, wanted, -1, True) is None
    node = RawRpc(session, f"http://127.0.0.1:{net.api_port}/rpc/v1", "")
    assert await node("StateSearchMsg", None, wanted, -1, True) is not None


async def test_faults_may_strike_the_gateway_alone(net: Devstack, gateway: RawRpc) -> None:
    net.faults.add("events-off", Scope(endpoint="gateway"))
    assert "error" in await gateway.answer("GetActorEventsRaw", {"fromHeight": 0})
