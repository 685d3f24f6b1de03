"""Making a sidecar ready: its data directory, node, database and treasury are opened and checked, and closed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from lotus_client.client import LotusClient
from lotus_client.node import check_network
from sp_plugin.config import Config
from sp_plugin.data_dir import locked_data_dir
from sp_plugin.errors import RefusedByPolicy
from sp_plugin.miner import connect_miner
from sp_plugin.node import SameChain, check_node, connect_node, nodes_agree
from sp_plugin.service import Sidecar
from sp_plugin.store.exclusive import held_alone
from sp_plugin.store.migrate import open_store
from sp_plugin.treasury import Treasury, open_treasury, shared_keys

__all__ = ["open_sidecar", "refuse_shared_wallet"]


@asynccontextmanager
async def open_sidecar(config: Config) -> AsyncIterator[Sidecar]:
    """A sidecar connected to its node and its store, ready to run; everything is closed at the end.

    Raises:
        LotusUnavailable, LotusWrongNetwork: the node cannot be reached, or is not the one the config means (exit 4).
        ConfigError: its token is an admin token (exit 2).
        Conflict: another sidecar runs on the same data_dir.
        StoreError: the database cannot be used.
    """
    async with AsyncExitStack() as stack:
        data = stack.enter_context(locked_data_dir(config.data_dir))
        node = await stack.enter_async_context(connect_node(config.node))
        found = await node.probe()
        check_node(config.node, found)
        check_network(found, genesis=data.first_genesis(found.genesis))
        info = await node.miner_info(config.provider.actor)
        store = await open_store(config.database_url)
        stack.push_async_callback(store.close)
        await stack.enter_async_context(held_alone(store))
        same_chain = SameChain(node, found.genesis)
        agree = nodes_agree(config.node, node)
        if agree is not None:
            stack.push_async_callback(agree.close)
        treasury = await open_treasury(
            config.payouts,
            node,
            store,
            provider=config.provider.actor,
            network=found.network_name,
            genesis=found.genesis,
            same_chain=same_chain,
            agreement=None if agree is None else agree.why_not,
        )
        stack.push_async_callback(treasury.close)
        await refuse_shared_wallet(config, treasury, node)
        miner = connect_miner(config.provider.miner)
        if miner is not None:
            stack.push_async_callback(miner.close)
        yield Sidecar(
            config,
            data,
            node=node,
            found=found,
            store=store,
            sector_size=info.sector_size,
            head=(await node.head()).height,
            treasury=treasury,
            miner=miner,
        )


async def refuse_shared_wallet(config: Config, treasury: Treasury, node: LotusClient) -> None:
    """Return if the signer holds no other key of the provider, or the config says that this is meant.

    Raises:
        RefusedByPolicy: it does; whoever controls this process could then move the provider's own keys.
    """
    if not config.payouts.enabled or treasury.wallet is None or config.payouts.allow_shared_wallet:
        return
    if shared := await shared_keys(treasury.wallet, node, config.provider.actor):
        raise RefusedByPolicy(
            "payouts.allow_shared_wallet",
            [
                f"the signer also holds {', '.join(map(str, shared))}; use a wallet with the payout key only"
            ],
        )
