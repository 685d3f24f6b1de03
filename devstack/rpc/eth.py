"""All of `Eth*`, with their names of Ethereum (`eth_*`, `net_*`, `web3_*`, `trace_*`: Lotus `api/eth_aliases.go`)."""

from __future__ import annotations

from devstack.node import FullNode
from devstack.rpc import eth_blocks, eth_fees, eth_logs, eth_state, eth_traces, eth_transactions
from devstack.rpc.methods import Method

__all__ = ["METHODS"]

METHODS: tuple[Method[FullNode], ...] = (
    *eth_state.METHODS,
    *eth_fees.METHODS,
    *eth_blocks.METHODS,
    *eth_transactions.METHODS,
    *eth_logs.METHODS,
    *eth_traces.METHODS,
)
