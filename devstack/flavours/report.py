"""What a devnet of some flavour tells the person or program that started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the stack imports this package
    from devstack.stack import Devstack

__all__ = ["connections"]


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
