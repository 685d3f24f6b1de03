"""`State*` reads of miner actors."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.states import MinerDetails, PendingBeneficiaryChange
from devstack.node import FullNode
from devstack.rpc.encode import (
    address_json,
    amount_json,
    bitfield_json,
    bytes_json,
    list_json,
    power_json,
    sector_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, OPTIONAL_BITFIELD, TIPSET_KEY, UINT64
from devstack.rpc.resolve import existing_id, state_at
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.cid import encode_base58
from lotus_client.state import MinerPower
from lotus_client.types import SectorNumber

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None

# builtin-actors runtime/src/runtime/policy.rs
_DEADLINES = 48
_PROVING_PERIOD = 2880
_CHALLENGE_WINDOW = 60
_CHALLENGE_LOOKBACK = 20
_FAULT_DECLARATION_CUTOFF = 70


def _at(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> tuple[StateView, Address]:
    state = state_at(node, key)
    found = existing_id(state, miner)
    if found not in state.miners():
        raise RpcError(1, f"failed to load miner actor state: {address_json(found)} is no miner")
    return state, found


def _info(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> Json:
    state, miner = _at(node, miner, key)
    info, term = state.miner_info(miner), state.miner_info(miner).beneficiary
    details: MinerDetails = state.actor_state(miner).details
    worker, owner = details.pending_worker_key, details.pending_owner_address
    return {
        "Owner": address_json(info.owner),
        "Worker": address_json(info.worker),
        "NewWorker": address_json(None if worker is None else Address.of_id(worker.new_worker)),
        "ControlAddresses": list_json(info.control_addresses, address_json),
        "WorkerChangeEpoch": -1 if worker is None else worker.effective_at,
        "PeerId": encode_base58(details.peer_id) if _is_peer_id(details.peer_id) else None,
        "Multiaddrs": list_json(details.multi_address, bytes_json),
        "WindowPoStProofType": info.window_post_proof_type,
        "SectorSize": info.sector_size,
        "WindowPoStPartitionSectors": node.network.config.partition_sectors,
        "ConsensusFaultElapsed": -1,
        "PendingOwnerAddress": None if owner is None else address_json(Address.of_id(owner)),
        "Beneficiary": address_json(term.address),
        "BeneficiaryTerm": {
            "Quota": amount_json(term.quota),
            "UsedQuota": amount_json(term.used_quota),
            "Expiration": term.expiration,
        },
        "PendingBeneficiaryTerm": _pending_term(details.pending_beneficiary_term),
    }


def _is_peer_id(data: bytes) -> bool:
    """Whether the bytes are a multihash (sha2-256, or of a short key itself); Lotus shows no others."""
    return len(data) > 2 and data[0] in (0x00, 0x12) and data[1] == len(data) - 2


def _pending_term(pending: PendingBeneficiaryChange | None) -> Json | None:
    if pending is None:
        return None
    return {
        "NewBeneficiary": address_json(Address.of_id(pending.new_beneficiary)),
        "NewQuota": amount_json(pending.new_quota),
        "NewExpiration": pending.new_expiration,
        "ApprovedByBeneficiary": pending.approved_by_beneficiary,
        "ApprovedByNominee": pending.approved_by_nominee,
    }


def _power(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> Json:
    if miner is None:  # `lotus state power` asks for the network's total this way
        total = state_at(node, key).miner_power(node.network.genesis_miner).total
        nothing = {"RawBytePower": "0", "QualityAdjPower": "0"}
        return {"MinerPower": nothing, "TotalPower": power_json(total), "HasMinPower": False}
    state, miner = _at(node, miner, key)
    power: MinerPower = state.miner_power(miner)
    return {
        "MinerPower": power_json(power.miner),
        "TotalPower": power_json(power.total),
        "HasMinPower": power.has_min_power,
    }


def _sectors(
    node: FullNode, miner: MaybeAddress, wanted: BitField | None, key: TipSetKey
) -> list[Json] | None:
    state, miner = _at(node, miner, key)
    sectors = state.sectors(miner)
    if wanted is None:
        return list_json((sectors[number] for number in sorted(sectors)), sector_json)
    chosen = [sectors[number] for number in sorted(sectors) if number in wanted]
    if len(chosen) != wanted.count:
        raise RpcError(1, "failed to load sectors: a sector of the filter does not exist")
    return list_json(chosen, sector_json)


def _active_sectors(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> list[Json] | None:
    state, miner = _at(node, miner, key)
    active = state.active_sectors(miner)
    return list_json((active[number] for number in sorted(active)), sector_json)


def _sector(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> Json | None:
    state, miner = _at(node, miner, key)
    sector = state.sectors(miner).get(number)
    return None if sector is None else sector_json(sector)


def _sector_expiration(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> Json:
    state, miner = _at(node, miner, key)
    sector = state.sectors(miner).get(number)
    if sector is None:
        raise RpcError(1, f"failed to find sector {number}")
    return {"OnTime": sector.expiration, "Early": 0}


def _sector_partition(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> Json:
    state, miner = _at(node, miner, key)
    place = state.sector_place(miner, number)
    if place is None:
        raise RpcError(1, f"sector {number} not due at any deadline")
    return {"Deadline": place.deadline, "Partition": place.partition}


def _faults(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> list[int]:
    state, miner = _at(node, miner, key)
    return bitfield_json(state.faults(miner))


def _recoveries(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> list[int]:
    state, miner = _at(node, miner, key)
    return bitfield_json(state.recoveries(miner))


def _sector_count(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> Json:
    state, miner = _at(node, miner, key)
    return {
        "Live": len(state.live_sectors(miner)),
        "Active": len(state.active_sectors(miner)),
        "Faulty": len(state.faults(miner)),
    }


def _proving_deadline(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> Json:
    state, miner = _at(node, miner, key)
    deadline = state.proving_deadline(miner)
    return {
        "CurrentEpoch": deadline.current_epoch,
        "PeriodStart": deadline.period_start,
        "Index": deadline.index,
        "Open": deadline.open,
        "Close": deadline.close,
        "Challenge": deadline.challenge,
        "FaultCutoff": deadline.fault_cutoff,
        "WPoStPeriodDeadlines": _DEADLINES,
        "WPoStProvingPeriod": _PROVING_PERIOD,
        "WPoStChallengeWindow": _CHALLENGE_WINDOW,
        "WPoStChallengeLookback": _CHALLENGE_LOOKBACK,
        "FaultDeclarationCutoff": _FAULT_DECLARATION_CUTOFF,
    }


def _available_balance(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> str:
    state, miner = _at(node, miner, key)
    return amount_json(state.available_balance(miner))


_READ = Permission.READ
_MINER = (ADDRESS, TIPSET_KEY)
_SECTOR = (ADDRESS, UINT64, TIPSET_KEY)

METHODS: tuple[Method[FullNode], ...] = (
    Method("StateMinerInfo", _READ, _MINER, _info),
    Method("StateMinerPower", _READ, _MINER, _power),
    Method("StateMinerSectors", _READ, (ADDRESS, OPTIONAL_BITFIELD, TIPSET_KEY), _sectors),
    Method("StateMinerActiveSectors", _READ, _MINER, _active_sectors),
    Method("StateMinerFaults", _READ, _MINER, _faults),
    Method("StateMinerRecoveries", _READ, _MINER, _recoveries),
    Method("StateMinerSectorCount", _READ, _MINER, _sector_count),
    Method("StateMinerProvingDeadline", _READ, _MINER, _proving_deadline),
    Method("StateMinerAvailableBalance", _READ, _MINER, _available_balance),
    Method("StateSectorGetInfo", _READ, _SECTOR, _sector),
    Method("StateSectorExpiration", _READ, _SECTOR, _sector_expiration),
    Method("StateSectorPartition", _READ, _SECTOR, _sector_partition),
)
