"""ProveReplicaUpdates3: data for proven sectors that have none (actors.md §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.miner_data import SectorData, claim, notify
from devstack.chain.actors.miner_sectors import is_good_proof, new_weights
from devstack.chain.actors.miner_state import (
    Change,
    available_balance,
    is_mutable,
    require_key,
)
from devstack.chain.commd import CommDError
from devstack.chain.config import SEAL_PROOFS
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import MinerState
from lotus_client.actors import events
from lotus_client.actors.miner_updates import ProveReplicaUpdatesParams, SectorUpdateManifest
from lotus_client.actors.wire import BatchReturn
from lotus_client.cid import FIL_COMMITMENT_SEALED, Cid
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch

__all__ = ["prove_replica_updates"]

_MOST_UPDATES: Final = 256  # builtin-actors policy: prove_replica_updates_max_size
# go-state-types abi/sector.go: update proof types count in the order of sector sizes
_UPDATE_PROOFS: Final = {size: index for index, size in enumerate(SEAL_PROOFS)}


def prove_replica_updates(runtime: Runtime, wanted: ProveReplicaUpdatesParams) -> bytes:
    """Replace sectors by replicas with data; they keep their place and expiration, and gain power at once."""
    state = require_key(runtime)
    _check_form(runtime, wanted)
    numbers = [update.sector for update in wanted.sector_updates]
    missing = [number for number in numbers if number not in state.sectors]
    runtime.require(not missing, Exit.NOT_FOUND, f"no sectors {missing}")
    codes: list[int] = []
    valid: dict[int, SectorData] = {}  # by the update's index
    for index, update in enumerate(wanted.sector_updates):
        is_first = numbers.index(update.sector) == index
        good = is_first and _fits(runtime, state, update)
        good = good and is_good_proof(wanted.sector_proofs[index])
        codes.append(Exit.OK if good else Exit.ILLEGAL_ARGUMENT)
        if good:
            expiration = state.sectors[update.sector].expiration
            valid[index] = SectorData(update.sector, expiration, update.pieces)
    runtime.require(
        valid and not (wanted.require_activation_success and any(codes)),
        Exit.ILLEGAL_ARGUMENT,
        f"updates failed: {codes}",
    )
    refused: dict[int, int] = {}
    claimed = claim(
        runtime, list(valid.values()), refused, all_or_nothing=wanted.require_activation_success
    )
    for index, item in valid.items():
        codes[index] = refused.get(item.number, Exit.OK)
    done = [item for item in valid.values() if item.number not in refused]
    runtime.require(done, Exit.ILLEGAL_ARGUMENT, f"no sector could be updated: {codes}")
    replicas = {
        wanted.sector_updates[index].sector: wanted.sector_updates[index].new_sealed_cid
        for index in valid
    }
    _update(runtime, done, replicas, claimed)
    notify(runtime, done, require_success=wanted.require_notification_success)
    return BatchReturn.of_codes([int(code) for code in codes]).to_cbor()


def _check_form(runtime: Runtime, wanted: ProveReplicaUpdatesParams) -> None:
    count = len(wanted.sector_updates)
    for good, why in (
        (1 <= count <= _MOST_UPDATES, "1 to 256 updates"),
        (not wanted.aggregate_proof and wanted.aggregate_proof_type is None, "no aggregates"),
        (len(wanted.sector_proofs) == count, "one proof per update"),
        (
            wanted.update_proofs_type == _UPDATE_PROOFS[runtime.config.sector_size],
            "another update proof type",
        ),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)


def _fits(runtime: Runtime, state: MinerState, update: SectorUpdateManifest) -> bool:
    """Whether the sector may be changed now, is active and without data; not found if it is somewhere else."""
    deadline = state.deadlines.get(update.deadline)
    if deadline is None or update.new_sealed_cid.codec != FIL_COMMITMENT_SEALED:
        return False
    if not is_mutable(state.proving_period_start, update.deadline, runtime.epoch):
        return False
    if update.partition >= len(deadline.partitions):
        raise Abort(Exit.NOT_FOUND, f"no partition {update.partition}")
    partition = deadline.partitions[update.partition]
    runtime.require(
        update.sector in partition.sectors, Exit.NOT_FOUND, f"sector {update.sector} is not there"
    )
    sector = state.sectors[update.sector]
    try:
        SectorData(update.sector, 0, update.pieces).commd(runtime.config.sector_size)
    except CommDError:
        return False
    has_data = sector.deal_weight or sector.verified_deal_weight
    return update.sector in partition.active and not has_data and sector.expiration > runtime.epoch


def _update(
    runtime: Runtime, valid: list[SectorData], replicas: dict[int, Cid], claimed: dict[int, int]
) -> None:
    change = Change(runtime, require_key(runtime))
    state = change.state
    numbers = [item.number for item in valid]
    change.drop_power(numbers)
    updated = {
        item.number: _updated(
            runtime, item, state.sectors[item.number], replicas, claimed.get(item.number, 0)
        )
        for item in valid
    }
    more = sum(
        sector.initial_pledge.value - state.sectors[number].initial_pledge.value
        for number, sector in updated.items()
    )
    change.state = replace(
        state,
        sectors=state.sectors.with_(updated),
        initial_pledge=state.initial_pledge + more,
    )
    change.add_power(numbers)
    unlocked = available_balance(change.state, runtime.balance) + change.state.fee_debt
    runtime.require(
        more <= 0 or unlocked >= 0,
        Exit.INSUFFICIENT_FUNDS,
        f"the available balance does not cover {more} more pledge",
    )
    change.commit()
    for item in valid:
        commd = item.commd(runtime.config.sector_size)
        runtime.emit(
            events.sector_content_event("sector-updated", item.number, commd, item.contents)
        )


def _updated(
    runtime: Runtime,
    item: SectorData,
    old: SectorOnChainInfo,
    replicas: dict[int, Cid],
    claimed: int,
) -> SectorOnChainInfo:
    now, size = runtime.epoch, runtime.config.sector_size
    weights = new_weights(runtime, item, claimed)
    old_qap = policy.sector_power(old, size)[1]
    pledge = policy.initial_pledge(runtime.machine.actors, weights.qap)
    return replace(
        old,
        sealed_cid=replicas[item.number],
        sector_key_cid=old.sector_key_cid or old.sealed_cid,
        deal_weight=weights.deal_weight,
        verified_deal_weight=weights.verified_deal_weight,
        flags=old.flags | weights.flags,
        power_base_epoch=Epoch(now),
        initial_pledge=max(old.initial_pledge, AttoFil(pledge)),
        daily_fee=AttoFil(old.daily_fee.value * weights.qap // old_qap),
    )
