"""What a node says about itself and its network, and the check that it is the one we want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lotus_client.address import NetworkPrefix
from lotus_client.cid import Cid
from lotus_client.errors import LotusWrongNetwork
from lotus_client.types import Epoch, NetworkVersion

__all__ = [
    "Agent",
    "FinalitySource",
    "NetworkParams",
    "NodeCapabilities",
    "NodeVersion",
    "check_network",
]

# Names that people use for what the chain calls itself. Source: Lotus `build/params_*.go`, genesis of each network.
_ALIASES: Final = {
    "mainnet": frozenset({"mainnet", "testnetnet", "filecoin"}),
    "calibnet": frozenset({"calibrationnet"}),
    "calibration": frozenset({"calibrationnet"}),
}


class Agent(StrEnum):
    """Whose software answers. A gateway passes its node's version on and is known by what it does not serve."""

    LOTUS = "lotus"
    GATEWAY = "gateway"
    FOREST = "forest"
    CURIO = "curio"
    UNKNOWN = "unknown"


class FinalitySource(StrEnum):
    """How the final tipset is read, best first."""

    RPC_V2 = "/rpc/v2 (F3 or the EC calculator)"
    RPC_V1 = "ChainGetFinalizedTipSet (F3, or 900 epochs)"
    EC = "900 epochs below the head"


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
    """What `LotusClient.probe` found out. The two about events are None when the node would not say.

    `has_actor_events` is the method that filters them, `has_receipt_events` that of single receipts. `missing_methods`
    are those of the sidecar's that this node does not serve, without `Filecoin.`.
    """

    network_name: str
    genesis: Cid
    version: NodeVersion
    network_version: NetworkVersion
    chain_id: int | None
    block_delay_seconds: int
    address_prefix: NetworkPrefix
    has_actor_events: bool | None
    permissions: tuple[str, ...]
    has_receipt_events: bool | None = None
    agent: Agent = Agent.UNKNOWN
    finality: FinalitySource = FinalitySource.RPC_V1
    missing_methods: tuple[str, ...] = ()

    @property
    def software(self) -> str:
        """What answers, for people: `gateway 1.36.2+mainnet`."""
        known = self.agent is not Agent.UNKNOWN
        return f"{self.agent if known else self.version.agent or self.agent} {self.version.version}"

    @property
    def may_push(self) -> bool:
        """Whether `MpoolPush` will be taken: the token has `write`, or it is a gateway, which asks for no token."""
        if "MpoolPush" in self.missing_methods:
            return False
        return "write" in self.permissions or self.agent is Agent.GATEWAY


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
