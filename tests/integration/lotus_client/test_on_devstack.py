"""The client on the embedded network: the probe, heads through reorgs and drops, several nodes, large answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp import web

from devstack.stack import Devstack
from lotus_client.address import Address
from lotus_client.agreement import compare_nodes
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.errors import (
    LotusActorNotFound,
    LotusBadParams,
    LotusNotSupported,
    LotusPermissionMissing,
    LotusUnavailable,
)
from lotus_client.heads import HeadSettings, HeadStream
from lotus_client.node import Agent, FinalitySource
from lotus_client.transport import Call, NodeTransport, RetryPolicy
from lotus_client.types import SectorNumber
from tests.head_world import Follower

QUICK = RetryPolicy(attempts=2, first_pause_seconds=0.01)


@pytest.fixture
async def client(devnet: Devstack) -> AsyncIterator[LotusClient]:
    async with LotusClient.connect(ApiInfo.parse(devnet.api_info)) as connected:
        yield connected


async def test_the_probe_knows_the_devstack(devnet: Devstack, client: LotusClient) -> None:
    await devnet.advance(3)
    found = await client.probe()
    assert (found.agent, found.version.agent) == (Agent.UNKNOWN, "sp-plugin-devstack")
    assert found.finality is FinalitySource.RPC_V2
    assert found.has_actor_events is True
    assert found.has_receipt_events in (True, None)
    assert found.missing_methods == ()
    assert "admin" in found.permissions
    assert found.may_push


async def test_errors_of_a_node_have_their_classes(devnet: Devstack) -> None:
    transport = NodeTransport(ApiInfo(ApiInfo.parse(devnet.api_info).address))
    outcomes = await transport.call_many(
        [
            Call("Filecoin.ChainHead"),
            Call("Filecoin.NoSuchMethod"),
            Call("Filecoin.ChainHead", [1]),
            Call("Filecoin.StateGetActor", ["t0999999", []]),
            Call("Filecoin.MpoolPushMessage", [None, None]),
        ]
    )
    await transport.close()
    assert outcomes[0]["Height"] >= 0
    assert [type(outcome) for outcome in outcomes[1:4]] == [LotusNotSupported, LotusBadParams, LotusActorNotFound]  # fmt: skip
    assert isinstance(outcomes[4], LotusPermissionMissing | LotusBadParams)


async def test_heads_come_without_gaps_through_reorgs_and_lost_connections(
    devnet: Devstack, client: LotusClient
) -> None:
    await devnet.advance(5)
    start = await client.head()
    stream = HeadStream(client, start, HeadSettings(first_pause=0.05, longest_pause=0.2))
    follower = Follower(start)

    async def follow() -> None:
        async with aclosing(stream.steps()) as steps:
            async for step in steps:
                follower.take(step.reverted, step.applied, step.head)

    following = asyncio.create_task(follow())

    async def caught_up() -> None:
        async with asyncio.timeout(20):
            while follower.stack[-1].key != (await client.head()).key:  # noqa: ASYNC110 - two sides move
                await asyncio.sleep(0.02)

    await caught_up()
    await devnet.advance(30)
    await caught_up()
    await devnet.reorg(depth=4)
    await devnet.advance(2)
    await caught_up()
    transport = client._transport._inner  # type: ignore[attr-defined]
    for _ in range(2):
        await (
            transport._ws._connection.close()
        )  # the connection breaks, the chain goes on elsewhere
        await devnet.reorg(depth=3)
        await devnet.advance(40)
        await caught_up()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert stream.drops >= 2


class Door:
    """A port before the devnet that can be shut, as a second address of a node."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_open = True
        self.served = 0

    async def handle(self, request: web.Request) -> web.Response:
        if not self.is_open:
            return web.Response(status=502)
        self.served += 1
        import aiohttp

        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.target + request.path,
                data=await request.read(),
                headers={"Content-Type": "application/json"},
            ) as answer,
        ):
            return web.Response(
                body=await answer.read(), status=answer.status, content_type="application/json"
            )


@pytest.fixture
async def doors(devnet: Devstack) -> AsyncIterator[tuple[list[Door], list[ApiInfo]]]:
    target = ApiInfo.parse(devnet.api_info).address
    found, infos, runners = [], [], []
    for _ in range(2):
        door = Door(target)
        app = web.Application()
        app.router.add_post("/rpc/{version}", door.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(door)
        infos.append(ApiInfo.parse(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        runners.append(runner)
    yield found, infos
    for runner in runners:
        await runner.cleanup()


async def test_reads_go_on_at_the_second_node_and_a_pinned_step_begins_again_there(
    devnet: Devstack, doors: tuple[list[Door], list[ApiInfo]]
) -> None:
    (first, second), infos = doors
    switches: list[tuple[str, str]] = []
    async with LotusClient.connect(
        infos, retry=QUICK, on_switch=lambda before, after, why: switches.append((before, after))
    ) as client:
        await client.probe()
        assert second.served == 0

        async def step() -> list[int]:
            async with client.pinned():
                head = await client.head()
                first.is_open = False
                return [head.height, (await client.tipset(head.key)).height]

        with pytest.raises(LotusUnavailable):
            await step()
        assert second.served == 0
        found = await step()
        assert found[0] == found[1]
        assert second.served > 0
        assert switches == [(infos[0].address, infos[1].address)]
        assert client.node_in_use == infos[1].address
        second.is_open = False
        with pytest.raises(LotusUnavailable):
            await client.head()


async def test_two_addresses_of_one_node_agree(devnet: Devstack) -> None:
    await devnet.advance(20)
    info = ApiInfo.parse(devnet.api_info)
    async with LotusClient.connect(info) as one, LotusClient.connect(info) as other:
        worker = (await one.miner_info(devnet.provider.miner)).worker
        assert await compare_nodes(one, other, worker) == ()
        assert await compare_nodes(one, other, Address.of_eth(b"\x07" * 20)) == ()


async def test_two_nodes_on_different_forks_do_not_agree(devnet: Devstack) -> None:
    async with Devstack() as second:
        await second.advance(20)
        await devnet.advance(20)  # the same seed, the same chain
        await second.reorg(depth=15)
        async with (
            LotusClient.connect(ApiInfo.parse(devnet.api_info)) as one,
            LotusClient.connect(ApiInfo.parse(second.api_info)) as other,
        ):
            found = await compare_nodes(one, other, Address.of_id(100))
    assert [item.what for item in found] == ["the tipset at 15"]


async def test_lists_read_in_parts_are_those_of_the_whole(
    devnet: Devstack, client: LotusClient
) -> None:
    await devnet.advance(3)
    miner = devnet.provider.miner
    genesis_miner = (await client.head()).blocks[0].miner
    for address in (miner, genesis_miner):
        sectors = await client.sectors(address)
        assert sectors == [sector async for sector in client.iter_sectors(address)]
        numbers = [sector.number for sector in sectors[:20]]
        found = await client.sector_infos(address, [*numbers, SectorNumber(999_999)])
        assert [found[number] for number in numbers] == sectors[:20]
        assert found[SectorNumber(999_999)] is None
        assert await client.claims(address) == {
            claim.id: claim async for claim in client.iter_claims(address)
        }
    assert len(await client.sectors(genesis_miner)) > 0
