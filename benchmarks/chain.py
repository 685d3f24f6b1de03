"""Epochs a second of the devnet's mining and of the follower's catch-up over its HTTP node."""

from __future__ import annotations

import asyncio
import tempfile
import time

from deals.follower import ChainFollower
from devstack.chain import Network, NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.types import ActorId, Epoch
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository

__all__ = ["catch_up_rate", "mining_rate"]

_PROVIDER = ActorId(1001)
_SECTORS = 480  # of the genesis miner


def mining_rate(epochs: int) -> float:
    """Epochs a second of mining, without any socket."""
    network = Network(NetworkConfig(genesis_sectors=_SECTORS))
    started = time.perf_counter()
    network.advance(epochs)
    return epochs / (time.perf_counter() - started)


def catch_up_rate(epochs: int) -> float:
    """Epochs a second that a follower takes over, with its node in the same process and on the same core."""
    return asyncio.run(_catch_up(epochs))


async def _catch_up(epochs: int) -> float:
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
                started = time.perf_counter()
                await follower.catch_up()
                return epochs / (time.perf_counter() - started)
        finally:
            await store.close()
