"""Which methods each path of the node serves."""

from __future__ import annotations

from devstack.node import FullNode
from devstack.rpc import (
    chain,
    chain_v2,
    eth,
    events,
    gas,
    misc,
    mpool,
    objects,
    state_actors,
    state_market,
    state_messages,
    state_miner,
    wallet,
)
from devstack.rpc.methods import MethodTable

__all__ = ["table_v0", "table_v1", "table_v2"]

_COMMON = (
    *chain.METHODS,
    *objects.METHODS,
    *state_actors.METHODS,
    *state_market.METHODS,
    *state_miner.METHODS,
    *mpool.METHODS,
    *gas.METHODS,
    *wallet.METHODS,
    *events.METHODS,
    *eth.METHODS,
)


def table_v1() -> MethodTable[FullNode]:
    """`/rpc/v1`, the path to use."""
    return MethodTable((*_COMMON, *state_messages.METHODS, *misc.METHODS))


def table_v0() -> MethodTable[FullNode]:
    """`/rpc/v0`: the same, with the older forms of message lookups and `Version`."""
    return MethodTable((*_COMMON, *state_messages.METHODS_V0, *misc.METHODS_V0))


def table_v2() -> MethodTable[FullNode]:
    """`/rpc/v2`: tipsets by selector, and what surrounds the chain."""
    return MethodTable((*chain_v2.METHODS, *misc.METHODS, *eth.METHODS))
