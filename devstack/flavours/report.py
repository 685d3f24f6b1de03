"""What a devnet of some flavour tells the person or program that started it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the stack imports this package
    from devstack.stack import Devstack

__all__ = ["as_lines", "as_values", "connections"]


def connections(net: Devstack) -> dict[str, str]:
    """The environment variables with which tools reach this devnet; `MARKET_URL` is ours, the others are theirs."""
    found = {"FULLNODE_API_INFO": net.api_info}
    if net.config.flavour.has_miner_api:
        found["MINER_API_INFO"] = net.miner_api_info
    else:
        found["CURIO_API_INFO"] = net.curio_api_info
    if net.market_port is not None:
        found["MARKET_URL"] = net.market_url
    return found


def as_values(net: Devstack) -> dict[str, Any]:
    """All of it for a program, as one JSON object."""
    return {
        **connections(net),
        "provider": str(net.provider.miner),
        "network": net.network.config.name,
        "nodes": [net.node_api_info(i) for i in range(len(net.nodes))],
        "miners": [net.miner_node_api_info(i) for i in range(len(net.miners))],
        "gateway": net.gateway_api_info if net.gateway_port else None,
        "eth_rpc": net.eth_rpc_url,
        "eth_chain_id": net.network.config.eip155_chain_id,
        "data_dir": str(net.data_dir.absolute()),
    }


def as_lines(net: Devstack) -> list[str]:
    """All of it for a person: the variables first, so that these lines can be pasted behind `export`."""
    chain_id = net.network.config.eip155_chain_id
    clock = net.config.block_seconds
    time = f"an epoch every {clock:g} s" if clock else "`sp-plugin devstack advance N` mines"
    return [
        *(f"{name}={value}" for name, value in connections(net).items()),
        *(f"node {i}: {net.node_api_info(i)}" for i in range(1, len(net.nodes))),
        *(f"miner {i}: {net.miner_node_api_info(i)}" for i in range(1, len(net.miners))),
        *([f"gateway: {net.gateway_api_info}"] if net.gateway_port else []),
        f"ethereum {net.eth_rpc_url}, chain id {chain_id}",
        f"head at epoch {net.network.epoch}; {time}",
        f"provider {net.provider.miner}, data in {net.data_dir}; Ctrl-C stops it",
    ]
