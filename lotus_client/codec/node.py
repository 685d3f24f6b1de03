"""What a node says of itself. Source: Lotus `api/api_common.go`, `api/types.go` (NetworkParams)."""

from __future__ import annotations

from typing import Any

from lotus_client.codec.reading import at
from lotus_client.node import NetworkParams, NodeVersion
from lotus_client.types import Epoch

__all__ = [
    "network_params_from_json",
    "network_params_to_json",
    "node_version_from_json",
    "node_version_to_json",
]


def node_version_from_json(raw: Any, path: str = "$") -> NodeVersion:
    """The answer of `Version`."""
    here = at(raw, path)
    return NodeVersion(
        version=here.field("Version").text(),
        api_version=here.field("APIVersion").integer(0, (1 << 32) - 1),
        block_delay_seconds=here.field("BlockDelay").integer(),
        agent=here.field("Agent").optional(lambda agent: agent.text()),
    )


def node_version_to_json(version: NodeVersion) -> dict[str, Any]:
    """The answer of `Version` as Lotus prints it."""
    return {
        "Version": version.version,
        "APIVersion": version.api_version,
        "BlockDelay": version.block_delay_seconds,
        "Agent": version.agent or "",
    }


def network_params_from_json(raw: Any, path: str = "$") -> NetworkParams:
    """The answer of `StateGetNetworkParams`; upgrades that a newer node adds are kept by name."""
    here = at(raw, path)
    return NetworkParams(
        network_name=here.field("NetworkName").text(),
        block_delay_seconds=here.field("BlockDelaySecs").integer(),
        pre_commit_challenge_delay=Epoch(here.field("PreCommitChallengeDelay").epoch()),
        chain_id=here.field("Eip155ChainID").optional(lambda item: item.integer()),
        genesis_timestamp=here.field("GenesisTimestamp").optional(lambda item: item.integer()),
        upgrades={
            name: Epoch(item.epoch())
            for name, item in here.field("ForkUpgradeParams").entries()
            if name.startswith("Upgrade")
        },
    )


def network_params_to_json(params: NetworkParams, consensus_miner_min_power: int) -> dict[str, Any]:
    """The answer of `StateGetNetworkParams` as Lotus prints it."""
    return {
        "NetworkName": params.network_name,
        "BlockDelaySecs": params.block_delay_seconds,
        "ConsensusMinerMinPower": str(consensus_miner_min_power),
        "PreCommitChallengeDelay": params.pre_commit_challenge_delay,
        "ForkUpgradeParams": dict(params.upgrades),
        "Eip155ChainID": params.chain_id,
        "GenesisTimestamp": params.genesis_timestamp,
    }
