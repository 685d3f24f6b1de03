"""`MinerGetBaseInfo`: what a miner needs to try for a block; blocks of others are not taken. Source: Lotus `chain/stmgr/actors.go`.

The sector is drawn as the proofs library draws it; who really wins a devnet epoch is drawn by `devstack.chain.election`.
"""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.election import LOOKBACK
from devstack.chain.randomness import (
    WINNING_POST,
    beacon_entries,
    draw_from_digest,
    latest_beacon_entry,
)
from devstack.node import FullNode
from devstack.rpc.encode import address_json, amount_json, cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, ANY, EPOCH, TIPSET_KEY
from devstack.rpc.randomness import beacon_entry_json
from devstack.rpc.resolve import defined, existing_id
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import Epoch

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None


def _base_info(node: FullNode, miner: MaybeAddress, epoch: Epoch, key: TipSetKey) -> Json | None:
    if not key:
        raise RpcError(
            1,
            "failed to load tipset for mining base: NewTipSet called with zero length array of blocks",
        )
    network = node.network
    base = network.tipset(key)
    before = latest_beacon_entry(network, base)
    entries = beacon_entries(network.config.seed, base.height, epoch)
    past = _lookback_state(node, base, epoch)
    now = network.pending_state(key)
    if past.actor_id(defined(miner)) is None:
        existing_id(now, miner)
        return None  # the miner is younger than the look-back
    found = existing_id(past, miner)
    drawn = entries[-1] if entries else before
    digest = hashlib.blake2b(drawn.data, digest_size=32).digest()
    seed = draw_from_digest(digest, WINNING_POST, epoch, cbor.encode(found.to_bytes()))
    sector = _winning_sector(past, found, seed)
    if sector is None:
        return None
    info, power = past.miner_info(found), past.miner_power(found)
    return {
        "MinerPower": amount_json(power.miner.qap),
        "NetworkPower": amount_json(power.total.qap),
        "Sectors": [_sector_json(sector)],
        "WorkerKey": address_json(now.account_key(info.worker)),
        "SectorSize": info.sector_size,
        "PrevBeaconEntry": beacon_entry_json(before.round, before.data),
        "BeaconEntries": [beacon_entry_json(one.round, one.data) for one in entries] or None,
        "EligibleForMining": power.has_min_power
        and now.miner_power(found).miner.qap > 0
        and now.miner_funds(found).fee_debt.value == 0,
    }


def _lookback_state(node: FullNode, base: TipSet, epoch: Epoch) -> StateView:
    """The state that elections of `epoch` go by: after the newest tipset 900 epochs before, on this chain."""
    height = Epoch(max(epoch - LOOKBACK, 0))
    if height >= base.height:
        return node.network.pending_state(base.key)
    return node.network.pending_state(node.network.tipset_by_height(height, base.key).key)


def _winning_sector(state: StateView, miner: Address, seed: bytes) -> SectorOnChainInfo | None:
    """The one sector that the winning PoSt is about; None without active sectors.

    Source: rust-fil-proofs `storage-proofs-post/src/fallback/vanilla.rs` generate_sector_challenge.
    """
    active = state.active_sectors(miner)
    if not active:
        return None
    prover = miner.payload.ljust(32, b"\x00")
    safe = seed[:31] + bytes((seed[31] & 0x3F,))
    drawn = hashlib.sha256(prover + safe + bytes(8)).digest()
    index = int.from_bytes(drawn[:8], "little") % len(active)
    return active[sorted(active)[index]]


def _sector_json(sector: SectorOnChainInfo) -> Json:
    key = sector.sector_key_cid
    return {
        "SealProof": sector.seal_proof,
        "SectorNumber": sector.number,
        "SectorKey": None if key is None else cid_json(key),
        "SealedCID": cid_json(sector.sealed_cid),
    }


def _not_supported(_node: FullNode, _block: Any) -> NoReturn:
    # The devnet makes its blocks itself; it has no VRF and no proof to judge anybody else's by.
    raise RpcError(1, "method not supported")


METHODS: tuple[Method[FullNode], ...] = (
    Method("MinerGetBaseInfo", Permission.READ, (ADDRESS, EPOCH, TIPSET_KEY), _base_info),
    Method("MinerCreateBlock", Permission.WRITE, (ANY,), _not_supported),
    Method("SyncSubmitBlock", Permission.WRITE, (ANY,), _not_supported),
)
