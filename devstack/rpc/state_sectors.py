"""Deadlines, partitions and sector numbers of miners. Source: Lotus `node/impl/full/state.go`."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.states import Deadline, MinerState, Partition, PreCommit
from devstack.node import FullNode
from devstack.rpc.encode import amount_json, bitfield_json, cid_json, list_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, EPOCH, TIPSET_KEY, UINT64
from devstack.rpc.resolve import existing_id, state_at
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.types import Epoch, SectorNumber

__all__ = ["METHODS", "METHODS_V0"]

Json = dict[str, Any]
MaybeAddress = Address | None

_DEADLINES: Final = 48  # builtin-actors policy, wpost_period_deadlines


def _miner(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> MinerState:
    state: StateView = state_at(node, key)
    found = existing_id(state, miner)
    if state.code_name(found) != "storageminer":
        code = state.actor(found).code
        raise RpcError(1, f"failed to load miner actor state: unknown actor code {code}")
    held: MinerState = state.actor_state(found)
    return held


def _deadlines(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> list[Json]:
    state = _miner(node, miner, key)
    return [_deadline_json(state, state.deadlines[index]) for index in range(_DEADLINES)]


def _deadline_json(state: MinerState, deadline: Deadline) -> Json:
    fee = sum(
        state.sectors[number].daily_fee.value
        for partition in deadline.partitions
        for number in partition.live
    )
    return {
        "PostSubmissions": bitfield_json(deadline.posted),
        "DisputableProofCount": len(deadline.submissions_snapshot),
        "DailyFee": amount_json(fee),
    }


def _partitions(
    node: FullNode, miner: MaybeAddress, index: int, key: TipSetKey
) -> list[Json] | None:
    state = _miner(node, miner, key)
    if index >= _DEADLINES:
        raise RpcError(1, f"failed to load the deadline: invalid deadline {index}")
    return list_json(state.deadlines[index].partitions, _partition_json)


def _partition_json(partition: Partition) -> Json:
    return {
        "AllSectors": bitfield_json(partition.sectors),
        "FaultySectors": bitfield_json(partition.faults),
        "RecoveringSectors": bitfield_json(partition.recoveries),
        "LiveSectors": bitfield_json(partition.live),
        "ActiveSectors": bitfield_json(partition.active),
    }


def _allocated(node: FullNode, miner: MaybeAddress, key: TipSetKey) -> list[int]:
    return bitfield_json(_miner(node, miner, key).allocated)


def _is_allocated(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> bool:
    return number in _miner(node, miner, key).allocated


def _precommit(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> Json | None:
    found = _miner(node, miner, key).pre_committed.get(number)
    return None if found is None else _precommit_json(number, found)


def _precommit_v0(
    node: FullNode, miner: MaybeAddress, number: SectorNumber, key: TipSetKey
) -> Json:
    found = _precommit(node, miner, number, key)
    if found is None:
        raise RpcError(1, "precommit info does not exist")
    return found


def _precommit_json(number: int, found: PreCommit) -> Json:
    unsealed = found.unsealed_cid
    return {
        "Info": {
            "SealProof": found.seal_proof,
            "SectorNumber": number,
            "SealedCID": cid_json(found.sealed_cid),
            "SealRandEpoch": found.seal_rand_epoch,
            "DealIDs": list_json(found.deal_ids, int),
            "Expiration": found.expiration,
            "UnsealedCid": None if unsealed is None else cid_json(unsealed),
        },
        "PreCommitDeposit": amount_json(found.deposit),
        "PreCommitEpoch": found.epoch,
    }


def _all_faults(_node: FullNode, _lookback: Epoch, _key: TipSetKey) -> NoReturn:
    raise RpcError(1, "fixme")  # word for word what Lotus answers


_READ = Permission.READ
_MINER = (ADDRESS, TIPSET_KEY)
_SECTOR = (ADDRESS, UINT64, TIPSET_KEY)

_COMMON: tuple[Method[FullNode], ...] = (
    Method("StateMinerDeadlines", _READ, _MINER, _deadlines),
    Method("StateMinerPartitions", _READ, _SECTOR, _partitions),
    Method("StateMinerAllocated", _READ, _MINER, _allocated),
    Method("StateMinerSectorAllocated", _READ, _SECTOR, _is_allocated),
    Method("StateAllMinerFaults", _READ, (EPOCH, TIPSET_KEY), _all_faults),
)

METHODS: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("StateSectorPreCommitInfo", _READ, _SECTOR, _precommit),
)
METHODS_V0: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("StateSectorPreCommitInfo", _READ, _SECTOR, _precommit_v0),
)
