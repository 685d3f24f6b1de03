"""What a devnet is to be: its ports, nodes, provider software, clock, and the chain it begins with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from devstack.chain import AccountSpec, NetworkConfig
from devstack.datacap import VERIFIER
from devstack.faults.gateway import LOOKBACK_SECONDS
from devstack.flavours import Flavour

__all__ = ["DevstackConfig", "with_verifier"]

MAX_NODES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DevstackConfig:
    """What `devstack up` was asked for. Port 0 takes a free one; block_seconds 0 mines on request only.

    Further nodes and miners take the ports after the first one's. The providers are the network's; their messages enter
    at the first node.
    """

    data_dir: Path | None = None  # None: a temporary one that goes away with the devnet
    api_port: int = 0
    miner_port: int = 0  # of the provider's RPC: lotus-miner's, or Curio's
    market_port: int = 0  # of booster-http or Curio's market server; without one it is not used
    flavour: Flavour = Flavour.LOTUS_MINER
    storage_paths: int = 1  # how many the provider spreads its sectors over
    unseal_seconds: float = 0.0  # how long the miner takes to unseal a sector
    gateway_port: int | None = None  # None: no gateway before the first node
    gateway_lookback_seconds: int = LOOKBACK_SECONDS
    block_seconds: float = 0.0
    nodes: int = 1
    network: NetworkConfig = field(default_factory=NetworkConfig)
    wallet_accounts: tuple[str, ...] | None = None  # None: those of the network's `accounts`
    keep: bool = False  # go on with the chain that the data directory has, and keep a journal of it
    restore: Path | None = None  # a saved chain to begin with; its network counts, not `network`

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise ValueError(f"a devnet has 1 to {MAX_NODES} nodes")


def with_verifier(config: NetworkConfig) -> NetworkConfig:
    """The network with the account that grants DataCap, unless it has one."""
    if any(account.name == VERIFIER for account in config.accounts):
        return config
    return replace(config, accounts=(*config.accounts, AccountSpec(VERIFIER)))
