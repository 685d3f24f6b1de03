"""`State*` reads of actors, the network and the verified registry."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain.code_cids import CODE_CIDS, MANIFEST
from devstack.node import FullNode
from devstack.rpc.encode import (
    actor_json,
    address_json,
    allocation_json,
    amount_json,
    cid_json,
    claim_json,
    list_json,
    map_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, TIPSET_KEY, UINT64
from devstack.rpc.resolve import defined, existing_id, state_at
from devstack.rpc.state_json import actor_state_json
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.types import AllocationId, ClaimId, Epoch

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None

# Lotus `build/buildconstants/params_2k.go` puts the heights of upgrades that genesis already has below zero,
# and `api/types.go` names them in this order.
_PAST_UPGRADES = [
    "Smoke",
    "Breeze",
    "Ignition",
    "Liftoff",
    "Assembly",
    "Refuel",
    "Tape",
    "Kumquat",
    "Calico",
    "Persian",
    "Orange",
    "Claus",
    "Trust",
    "Norwegian",
    "Turbo",
    "Hyperdrive",
    "Chocolate",
    "OhSnap",
    "Skyr",
    "Shark",
    "Hygge",
    "Lightning",
    "Thunder",
    "Watermelon",
    "Dragon",
    "Phoenix",
    "Waffle",
    "Tuktuk",
    "Teep",
    "Tock",
    "GoldenWeek",
    "FireHorse",
]
# go-state-types actors/version.go VersionForNetwork, from the first version with a bundle
_ACTORS_VERSIONS = {
    16: 8, 17: 9, 18: 10, 19: 11, 20: 11, 21: 12, 22: 13, 23: 14, 24: 15, 25: 16, 26: 16, 27: 17,
    28: 18, 29: 19,
}  # fmt: skip
_FAR_AWAY = Epoch(999_999_999_999_999)


def _network_name(node: FullNode) -> str:
    return node.network.config.name


def _network_version(node: FullNode, key: TipSetKey) -> int:
    return int(node.network.network_version(node.network.tipset(key).height))


def _network_params(node: FullNode) -> Json:
    config = node.network.config
    upgrades = {f"Upgrade{name}Height": -index for index, name in enumerate(_PAST_UPGRADES, 1)}
    upgrades["BreezeGasTampingDuration"] = 0
    upgrades["UpgradeXxHeight"] = _FAR_AWAY if config.nv29_epoch is None else config.nv29_epoch
    return {
        "NetworkName": config.name,
        "BlockDelaySecs": config.block_delay_seconds,
        "ConsensusMinerMinPower": "2048",
        "PreCommitChallengeDelay": PRECOMMIT_CHALLENGE_DELAY,
        "ForkUpgradeParams": upgrades,
        "Eip155ChainID": config.eip155_chain_id,
        "GenesisTimestamp": config.genesis_timestamp,
    }


PRECOMMIT_CHALLENGE_DELAY = 10  # Lotus params_2k.go


def _actor(node: FullNode, address: MaybeAddress, key: TipSetKey) -> Json:
    state = state_at(node, key)
    return actor_json(state.actor(existing_id(state, address)))


def _lookup_id(node: FullNode, address: MaybeAddress, key: TipSetKey) -> str:
    return address_json(existing_id(state_at(node, key), address))


def _robust_address(node: FullNode, address: MaybeAddress, key: TipSetKey) -> str:
    state, wanted = state_at(node, key), defined(address)
    if wanted.protocol != 0:
        raise RpcError(
            1, "failed to decode provided address as id addr: cannot get id from non id address"
        )
    found = state.robust_address(wanted)
    if found is None:
        raise RpcError(1, f"Address {address_json(wanted)} not found")
    return address_json(found)


def _account_key(node: FullNode, address: MaybeAddress, key: TipSetKey) -> str:
    return address_json(state_at(node, key).account_key(defined(address)))


def _read_state(node: FullNode, address: MaybeAddress, key: TipSetKey) -> Json:
    state = state_at(node, key)
    found = existing_id(state, address)
    actor = state.actor(found)
    return {
        "Balance": amount_json(actor.balance),
        "Code": cid_json(actor.code),
        "State": actor_state_json(state.actor_state(found)),
    }


def _list_actors(node: FullNode, key: TipSetKey) -> list[str] | None:
    return list_json(map(Address.of_id, state_at(node, key).tree.actors), address_json)


def _bundle_of(version: int) -> int:
    """The actors' version at a network version.

    Raises:
        RpcError: no such network version.
    """
    actors = _ACTORS_VERSIONS.get(version)
    if actors is None:
        raise RpcError(1, f"invalid network version {version}: unsupported network version")
    return actors


def _is_ours(node: FullNode, version: int) -> bool:
    config = node.network.config
    return version == config.network_version or (version == 29 and config.nv29_epoch is not None)


def _code_cids(node: FullNode, version: int) -> Json:
    actors = _bundle_of(version)
    if not _is_ours(node, version):
        raise RpcError(
            1,
            f"could not find cids for network version {version}, actors version {actors}",
        )
    return {name: cid_json(CODE_CIDS[name]) for name in sorted(CODE_CIDS)}


def _manifest_cid(node: FullNode, version: int) -> Json:
    actors = _bundle_of(version)
    if not _is_ours(node, version):
        raise RpcError(
            1,
            f"could not find manifest cid for network version {version}, actors version {actors}",
        )
    return cid_json(MANIFEST.cid)


def _list_miners(node: FullNode, key: TipSetKey) -> list[str] | None:
    return list_json(state_at(node, key).miners(), address_json)


def _allocations(node: FullNode, client: MaybeAddress, key: TipSetKey) -> Json:
    state = state_at(node, key)
    return map_json(state.allocations(existing_id(state, client)), allocation_json)


def _allocation(
    node: FullNode, client: MaybeAddress, number: AllocationId, key: TipSetKey
) -> Json | None:
    state = state_at(node, key)
    found = state.allocations(existing_id(state, client)).get(number)
    return None if found is None else allocation_json(found)


def _all_allocations(node: FullNode, key: TipSetKey) -> Json:
    return map_json(state_at(node, key).all_allocations(), allocation_json)


def _claims(node: FullNode, provider: MaybeAddress, key: TipSetKey) -> Json:
    state = state_at(node, key)
    return map_json(state.claims(existing_id(state, provider)), claim_json)


def _claim(node: FullNode, provider: MaybeAddress, number: ClaimId, key: TipSetKey) -> Json | None:
    state = state_at(node, key)
    found = state.claims(existing_id(state, provider)).get(number)
    return None if found is None else claim_json(found)


def _all_claims(node: FullNode, key: TipSetKey) -> Json:
    return map_json(state_at(node, key).all_claims(), claim_json)


def _client_status(node: FullNode, client: MaybeAddress, key: TipSetKey) -> str | None:
    return _datacap_json(state_at(node, key).datacap(_lookup(node, client, key)))


def _verifier_status(node: FullNode, verifier: MaybeAddress, key: TipSetKey) -> str | None:
    return _datacap_json(state_at(node, key).verifier_datacap(_lookup(node, verifier, key)))


def _lookup(node: FullNode, address: MaybeAddress, key: TipSetKey) -> Address:
    found = state_at(node, key).actor_id(defined(address))
    if found is None:
        # Lotus wraps the lookup's error in text here, which loses the code of "actor not found".
        raise RpcError(1, f"loading address {address_json(address)}: actor not found")
    return Address.of_id(found)


def _datacap_json(datacap: int | None) -> str | None:
    return None if datacap is None else str(datacap)


def _root_key(node: FullNode, key: TipSetKey) -> str:
    return address_json(state_at(node, key).root_key())


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("StateNetworkName", _READ, (), _network_name),
    Method("StateNetworkVersion", _READ, (TIPSET_KEY,), _network_version),
    Method("StateGetNetworkParams", _READ, (), _network_params),
    Method("StateGetActor", _READ, (ADDRESS, TIPSET_KEY), _actor),
    Method("StateLookupID", _READ, (ADDRESS, TIPSET_KEY), _lookup_id),
    Method("StateLookupRobustAddress", _READ, (ADDRESS, TIPSET_KEY), _robust_address),
    Method("StateAccountKey", _READ, (ADDRESS, TIPSET_KEY), _account_key),
    Method("StateReadState", _READ, (ADDRESS, TIPSET_KEY), _read_state),
    Method("StateListActors", _READ, (TIPSET_KEY,), _list_actors),
    Method("StateActorCodeCIDs", _READ, (UINT64,), _code_cids),
    Method("StateActorManifestCID", _READ, (UINT64,), _manifest_cid),
    Method("StateListMiners", _READ, (TIPSET_KEY,), _list_miners),
    Method("StateGetAllocations", _READ, (ADDRESS, TIPSET_KEY), _allocations),
    Method("StateGetAllocation", _READ, (ADDRESS, UINT64, TIPSET_KEY), _allocation),
    Method("StateGetAllAllocations", _READ, (TIPSET_KEY,), _all_allocations),
    Method("StateGetClaims", _READ, (ADDRESS, TIPSET_KEY), _claims),
    Method("StateGetClaim", _READ, (ADDRESS, UINT64, TIPSET_KEY), _claim),
    Method("StateGetAllClaims", _READ, (TIPSET_KEY,), _all_claims),
    Method("StateVerifiedClientStatus", _READ, (ADDRESS, TIPSET_KEY), _client_status),
    Method("StateVerifierStatus", _READ, (ADDRESS, TIPSET_KEY), _verifier_status),
    Method("StateVerifiedRegistryRootKey", _READ, (TIPSET_KEY,), _root_key),
)
