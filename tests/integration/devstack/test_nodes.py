"""Several nodes and several providers in one devnet."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from devstack.chain import NetworkConfig, ProviderSpec
from devstack.stack import Devstack, DevstackConfig
from tests.integration.devstack.conftest import RawRpc


@pytest.fixture
async def net() -> AsyncIterator[Devstack]:
    providers = tuple(ProviderSpec(f"owner-{n}", f"worker-{n}") for n in (1, 2))
    config = DevstackConfig(nodes=2, network=NetworkConfig(genesis_sectors=8, providers=providers))
    async with Devstack(config) as net:
        yield net


def at(net: Devstack, session: aiohttp.ClientSession, index: int) -> RawRpc:
    token = net.node_api_info(index).partition(":")[0]
    return RawRpc(session, f"http://127.0.0.1:{net.node_ports[index]}/rpc/v1", token)


async def test_nodes_follow_one_chain_and_have_tokens_of_their_own(
    net: Devstack, session: aiohttp.ClientSession
) -> None:
    first, second = at(net, session, 0), at(net, session, 1)
    await net.advance(5)
    assert await first("ChainHead") == await second("ChainHead")
    cid = net.nodes[1].network.send("alice", net.network.key("bob").address)
    await net.advance(2)
    assert await first("StateSearchMsg", None, {"/": str(cid)}, -1, True) is not None
    stranger = RawRpc(session, f"http://127.0.0.1:{net.node_ports[1]}/rpc/v1", net.token())
    with pytest.raises(aiohttp.ContentTypeError):  # 401 with no body
        await stranger("ChainHead")


async def test_a_split_network_reorganises_over_the_api_when_it_heals(
    net: Devstack, session: aiohttp.ClientSession
) -> None:
    first, second = at(net, session, 0), at(net, session, 1)
    await net.advance(5)
    url = f"http://127.0.0.1:{net.node_ports[0]}/rpc/v1"
    async with session.ws_connect(url) as socket:
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainNotify", "params": []}
        )
        await socket.receive_json()
        await socket.receive_json()
        net.partition([0], [1], shares=[1, 5])
        await net.advance(20)
        ours, theirs = await first("ChainHead"), await second("ChainHead")
        assert ours["Cids"] != theirs["Cids"]
        assert "error" in await first.answer("ChainGetTipSet", theirs["Cids"])
        assert net.heal() == []
        assert await first("ChainHead") == theirs
        kinds: list[str] = []
        while "revert" not in kinds:
            kinds += [one["Type"] for one in (await socket.receive_json())["params"][1]]


async def test_each_provider_has_its_miner_node_and_its_storage(
    net: Devstack, session: aiohttp.ClientSession
) -> None:
    await net.miners[0].provider.add_piece(b"first" * 100)
    await net.miners[1].provider.add_piece(b"second" * 100)
    await net.advance(25)
    for index, miner in enumerate(net.miners):
        token = net.miner_node_api_info(index).partition(":")[0]
        rpc = RawRpc(session, f"http://127.0.0.1:{net.miner_ports[index]}/rpc/v0", token)
        assert await rpc("ActorAddress") == f"t0{1001 + index}"
        assert (await rpc("SectorsStatus", 0, False))["State"] == "Proving"
        assert (net.data_dir / ("miner" if index == 0 else "miner-1") / "api").exists()
        assert miner.provider.storage.root.is_relative_to(net.data_dir)
    roots = {miner.provider.storage.root for miner in net.miners}
    assert len(roots) == 2


async def test_the_control_api_reaches_every_provider(
    net: Devstack, session: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {net.token()}"}
    url = f"http://127.0.0.1:{net.api_port}/devstack/v1/"
    async with session.post(
        f"{url}add-piece?miner=1", data=b"x" * 500, headers=headers
    ) as response:
        assert response.status == 200
    assert not net.miners[0].provider.sectors
    assert list(net.miners[1].provider.sectors) == [0]
    async with session.post(
        f"{url}add-piece?miner=2", data=b"x" * 500, headers=headers
    ) as response:
        assert response.status == 400
    async with session.post(f"{url}status", headers=headers) as response:
        assert (await response.json())["providers"] == ["t01001", "t01002"]


async def test_one_node_may_stop_following_while_the_other_goes_on(
    net: Devstack, session: aiohttp.ClientSession
) -> None:
    net.faults.add("stale-head", node=1)
    await net.advance(4)
    assert (await at(net, session, 1)("ChainHead"))["Height"] == 0
    assert (await at(net, session, 0)("ChainHead"))["Height"] == 4
    net.faults.clear()
    assert (await at(net, session, 1)("ChainHead"))["Height"] == 4
