"""Epochs a second of a devnet with many sectors, and of the follower's catch-up over its HTTP node."""

from __future__ import annotations

import asyncio
import tempfile

from benchmarks.measure import Row, Sample, Timer
from deals.follower import ChainFollower
from devstack.chain import Network, NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.types import ActorId, Epoch
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository

__all__ = ["catch_up", "rows"]

_PROVIDER = ActorId(1001)
_SECTORS = 480  # of the genesis miner
_EPOCHS = 2000


def rows() -> list[Row]:
    """Mining with window PoSts of many sectors."""
    return [Row("devnet mining, 480 sectors beside", "epochs/s", "", _mining_rate)]


def _mining_rate() -> Sample:
    network = Network(NetworkConfig(genesis_sectors=_SECTORS))
    timer = Timer()
    network.advance(_EPOCHS)
    return Sample(_EPOCHS / timer.wall, timer.cpu)


def catch_up(epochs: int) -> Sample:
    """Seconds in which a follower takes over so many epochs, with its node in the same process and on the same core."""
    return asyncio.run(_catch_up(epochs))


async def _catch_up(epochs: int) -> Sample:
    config = DevstackConfig(network=NetworkConfig(genesis_sectors=_SECTORS))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite+aiosqlite:///{folder}/state.db")
        async with store.transaction() as connection:
            await connection.run_sync(metadata.create_all)
        try:
            async with (
                Devstack(config) as net,
                LotusClient.connect(ApiInfo.parse(net.api_info)) as client,
            ):
                net.network.advance(epochs)
                follower = ChainFollower(
                    client, ChainRepository(store), _PROVIDER, start_at=Epoch(0)
                )
                timer = Timer()
                await follower.catch_up()
                return Sample(timer.wall, timer.cpu)
        finally:
            await store.close()
