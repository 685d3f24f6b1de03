"""One devnet chain followed by events, by receipts and by state: the same index; and by a node with a gateway's methods."""

import asyncio

import pytest

from deals.event_sources import SourceName
from deals.follower import ChainFollower
from deals.gaps import GapKind
from devstack.datacap import grant_datacap
from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.errors import LotusNotSupported
from lotus_client.transport import NodeTransport
from lotus_client.types import Epoch
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from tests.databases import database_url
from tests.integration.test_following import dump
from tests.integration.test_following_devstack import PAYLOAD, PROVIDER, allocate

# Lotus `node/impl/full/dummy.go`; lotus-gateway's OpenRPC has none of the second.
EVENTS_API = ("GetActorEventsRaw", "SubscribeActorEventsRaw")
NOT_ON_A_GATEWAY = ("StateMinerActiveSectors", "StateMinerSectors", "StateCompute")


class Without:
    """A transport that refuses some methods as a node does that has them switched off."""

    def __init__(self, inner, *methods):
        self._inner = inner
        self._refused = {f"Filecoin.{method}" for method in methods}

    async def call(self, method, params):
        if method in self._refused:
            raise LotusNotSupported(
                method, 1, "module disabled, enable with Events.EnableActorEventsAPI"
            )
        return await self._inner.call(method, params)

    async def close(self):
        await self._inner.close()


@pytest.fixture
async def devnet():
    async with Devstack(DevstackConfig()) as net:
        await grant_datacap(net.node, net.network.key("alice").address, 1 << 30)
        yield net


async def followed(net, store, *refused, claims_every=1):
    """A fresh index of the whole chain, and the follower that made it."""
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    transport = Without(NodeTransport(ApiInfo.parse(net.api_info)), *refused)
    client = LotusClient(transport)
    try:
        follower = ChainFollower(
            client,
            ChainRepository(store),
            PROVIDER,
            start_at=Epoch(0),
            range_epochs=50,
            claims_every=claims_every,
        )
        await follower.catch_up()
    finally:
        await client.close()
    return follower


async def test_a_real_node_s_chain_gives_one_index_whatever_the_source(devnet, tmp_path):
    await devnet.provider.add_piece(PAYLOAD, allocation=await allocate(devnet, PAYLOAD))
    await devnet.provider.add_piece(PAYLOAD[:1000])
    await devnet.advance(60)
    await devnet.reorg(depth=7)
    other = PAYLOAD[:5000]
    await devnet.provider.add_piece(other, allocation=await allocate(devnet, other))
    await devnet.advance(60)
    stores = [Store(database_url(tmp_path, name)) for name in "abcd"]
    try:
        index = await followed(devnet, stores[0])
        receipts = await followed(devnet, stores[1], *EVENTS_API)
        state = await followed(devnet, stores[2], *EVENTS_API, "ChainGetParentReceipts")
        gateway = await followed(devnet, stores[3], *NOT_ON_A_GATEWAY)
        names = [one.source.name for one in (index, receipts, state, gateway)]
        assert (
            names
            == ["events-api", "receipts", "state", "events-api"]
            == [
                SourceName.EVENTS_API,
                SourceName.RECEIPTS,
                SourceName.STATE,
                SourceName.EVENTS_API,
            ]
        )
        dumps = [await dump(store) for store in stores]
        assert dumps[0] == dumps[1] == dumps[3]
        repositories = [ChainRepository(store) for store in stores]
        claims = [await repository.claims(PROVIDER) for repository in repositories]
        assert len(claims[0]) == 2
        assert claims[0] == claims[1] == claims[2] == claims[3]
        assert await repositories[0].gaps(PROVIDER) == ()
        (gap,) = await repositories[2].gaps(PROVIDER)
        assert gap.kind is GapKind.EVENTS
        kinds = [
            sorted(piece.provenance.kind.value for piece in await repository.held_pieces(PROVIDER))
            for repository in repositories
        ]
        assert kinds[0] == ["claim", "claim", "ddo"]
        assert kinds[2] == ["claim", "claim"]  # the piece without a claim is in the gap
    finally:
        await asyncio.gather(*(store.close() for store in stores))
