"""What a node says about itself and its network, and the check that it is the one we want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lotus_client.address import NetworkPrefix
from lotus_client.cid import Cid
from lotus_client.errors import LotusWrongNetwork
from lotus_client.types import Epoch, NetworkVersion

__all__ = ["NetworkParams", "NodeCapabilities", "NodeVersion", "check_network"]

# Names that people use for what the chain calls itself. Source: Lotus `build/params_*.go`, genesis of each network.
_ALIASES: Final = {
    "mainnet": frozenset({"mainnet", "testnetnet", "filecoin"}),
    "calibnet": frozenset({"calibrationnet"}),
    "calibration": frozenset({"calibrationnet"}),
}


@dataclass(frozen=True, slots=True)
class NodeVersion:
    """The node's software. `api_version` is major << 16 | minor << 8 | patch."""

    version: str
    api_version: int
    block_delay_seconds: int
    agent: str | None


@dataclass(frozen=True, slots=True)
class NetworkParams:
    """Constants of the network. `upgrades` are the `Upgrade…Height` fields by name; None where not told."""

    network_name: str
    block_delay_seconds: int
    pre_commit_challenge_delay: Epoch
    chain_id: int | None
    genesis_timestamp: int | None
    upgrades: Mapping[str, Epoch]


@dataclass(frozen=True, slots=True)
class NodeCapabilities:
    """What `LotusClient.probe` found out. `has_actor_events` is None when the node would not say."""

    network_name: str
    genesis: Cid
    version: NodeVersion
    network_version: NetworkVersion
    chain_id: int | None
    block_delay_seconds: int
    address_prefix: NetworkPrefix
    has_actor_events: bool | None
    permissions: tuple[str, ...]


def check_network(
    found: NodeCapabilities, *, network_name: str | None = None, genesis: Cid | None = None
) -> None:
    """Return if the node serves the expected network; what is None is not checked.

    A name may be the usual one (`mainnet`, `calibnet`) or the chain's own. Only the genesis is proof: two local
    networks may bear one name.

    Raises:
        LotusWrongNetwork: it serves another; says which.
    """
    if network_name is not None:
        accepted = _ALIASES.get(network_name, frozenset()) | {network_name}
        if found.network_name not in accepted:
            raise LotusWrongNetwork(
                f"the node is on network {found.network_name!r}, the config asks for {network_name!r}"
            )
    if genesis is not None and found.genesis != genesis:
        raise LotusWrongNetwork(
            f"the node's genesis is {found.genesis}, expected {genesis}: another chain of the name "
            f"{found.network_name!r} (a local network made anew has a new genesis)"
        )
