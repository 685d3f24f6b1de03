"""Which methods each path of the node serves."""

from __future__ import annotations

from devstack.node import FullNode
from devstack.rpc import (
    chain,
    chain_head,
    chain_v2,
    daemon,
    eth,
    events,
    f3,
    gas,
    market_funds,
    misc,
    mpool,
    mpool_check,
    msig,
    msig_reads,
    net,
    objects,
    paych,
    randomness,
    state_actors,
    state_market,
    state_messages,
    state_miner,
    state_params,
    state_pledge,
    state_sectors,
    state_supply,
    wallet,
    winning,
)
from devstack.rpc.discover import with_discover
from devstack.rpc.methods import MethodTable
from devstack.rpc.v0_names import V0_NAMES

__all__ = ["table_v0", "table_v1", "table_v2"]

_COMMON = (
    *chain.METHODS,
    *chain_head.METHODS,
    *daemon.METHODS,
    *eth.METHODS,
    *events.METHODS,
    *f3.METHODS,
    *gas.METHODS,
    *market_funds.METHODS,
    *mpool.METHODS,
    *mpool_check.METHODS,
    *msig_reads.METHODS,
    *net.METHODS,
    *objects.METHODS,
    *state_actors.METHODS,
    *state_market.METHODS,
    *state_miner.METHODS,
    *state_params.METHODS,
    *state_pledge.METHODS,
    *state_supply.METHODS,
    *wallet.METHODS,
    *winning.METHODS,
)


def table_v1() -> MethodTable[FullNode]:
    """`/rpc/v1`, the path to use."""
    return with_discover(
        (
            *_COMMON,
            *misc.METHODS,
            *msig.METHODS,
            *paych.METHODS,
            *randomness.METHODS,
            *state_messages.METHODS,
            *state_sectors.METHODS,
        )
    )


def table_v0() -> MethodTable[FullNode]:
    """`/rpc/v0`: the methods that v0 knows, with its older forms of multisigs, lookups and `Version`."""
    methods = (
        *_COMMON,
        *misc.METHODS_V0,
        *msig.METHODS_V0,
        *paych.METHODS_V0,
        *randomness.METHODS_V0,
        *state_messages.METHODS_V0,
        *state_sectors.METHODS_V0,
    )
    return with_discover(tuple(method for method in methods if method.name in V0_NAMES))


def table_v2() -> MethodTable[FullNode]:
    """`/rpc/v2`: tipsets by selector, and `Eth*`. Lotus' v2 has no `Common` group: neither versions nor tokens."""
    return MethodTable((*chain_v2.METHODS, *eth.METHODS))
