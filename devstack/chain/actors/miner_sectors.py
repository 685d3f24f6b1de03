"""Committing sectors: PreCommitSectorBatch2 and ProveCommitSectors3 (actors.md §7).

Seal proofs cannot be checked without the proving parameters: any proof is accepted except an empty one and one that
begins with `INVALID_PROOF`, which stands for a proof that does not verify.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.miner_data import SectorData, claim, notify, verify_deals
from devstack.chain.actors.miner_state import (
    Change,
    assign_deadline,
    available_balance,
    deadline_now,
    require_key,
)
from devstack.chain.actors.partitions import quantize_up
from devstack.chain.actors.power_calls import enroll_deadline_cron
from devstack.chain.commd import CommDError, unsealed_cid
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MinerState, Partition, PreCommit
from devstack.ipld import Amt
from lotus_client.actors import events
from lotus_client.actors.miner import (
    PreCommitSectorBatchParams,
    ProveCommitSectorsParams,
    SectorPreCommitInfo,
)
from lotus_client.actors.wire import BatchReturn
from lotus_client.cid import FIL_COMMITMENT_SEALED, FIL_COMMITMENT_UNSEALED
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = [
    "INVALID_PROOF",
    "Weights",
    "add_sectors",
    "is_good_proof",
    "new_weights",
    "pre_commit_batch",
    "prove_commit_sectors",
]

INVALID_PROOF: Final = b"invalid"


def pre_commit_batch(runtime: Runtime, params: bytes) -> bytes:
    """Take deposits for sectors that are to be proven; an event for each in ascending number."""
    wanted = PreCommitSectorBatchParams.from_cbor(params).sectors
    state = require_key(runtime)
    runtime.require(wanted, Exit.ILLEGAL_ARGUMENT, "no sectors")
    numbers = [sector.sector for sector in wanted]
    runtime.require(len(set(numbers)) == len(numbers), Exit.ILLEGAL_ARGUMENT, "repeated sector")
    for sector in wanted:
        _check_pre_commit(runtime, sector)
        runtime.require(
            sector.sector not in state.allocated,
            Exit.ILLEGAL_ARGUMENT,
            f"sector number {sector.sector} was used before",
        )
    verify_deals(runtime, wanted)
    change = Change(runtime, state)
    change.pay_debt()
    runtime.require(change.state.fee_debt == 0, Exit.INSUFFICIENT_FUNDS, "fee debt is not covered")
    state = change.state
    full_power = state.details.sector_size * 10
    deposit = policy.initial_pledge(runtime.machine.actors, full_power)
    free = available_balance(state, runtime.balance - change.burn)
    runtime.require(
        free >= deposit * len(wanted),
        Exit.INSUFFICIENT_FUNDS,
        f"deposits of {deposit} each need {deposit * len(wanted)}, available is {free}",
    )
    change.state = replace(
        state,
        pre_commit_deposits=state.pre_commit_deposits + deposit * len(wanted),
        allocated=state.allocated.with_(numbers),
        clean_ups=_cleaned_up_later(state, numbers, runtime.epoch),
        pre_committed=state.pre_committed.with_(
            {
                sector.sector: PreCommit(
                    sector.sector,
                    sector.seal_proof,
                    sector.sealed_cid,
                    sector.seal_rand_epoch,
                    sector.expiration,
                    sector.unsealed_cid,
                    deposit,
                    runtime.epoch,
                    sector.deal_ids,
                )
                for sector in wanted
            }
        ),
    )
    start_cron = not state.deadline_cron_active
    change.state = replace(change.state, deadline_cron_active=True)
    change.commit()
    for number in sorted(numbers):
        runtime.emit(events.sector_event("sector-precommitted", number))
    if start_cron:
        now = deadline_now(state.proving_period_start, runtime.epoch)
        enroll_deadline_cron(runtime, now.last)
    return b""


def _cleaned_up_later(state: MinerState, numbers: list[int], now: int) -> Amt[frozenset[int]]:
    """The queue with these sectors, at the end of the deadline by which they must have been proven."""
    limit = now + policy.MAX_PROVE_COMMIT + policy.PRE_COMMIT_CLEAN_UP_DELAY
    due = quantize_up(limit, policy.CHALLENGE_WINDOW, state.proving_period_start)
    queued = state.clean_ups.get(due, frozenset()).union(numbers)
    return state.clean_ups.with_({due: queued})


def _check_pre_commit(runtime: Runtime, sector: SectorPreCommitInfo) -> None:
    now, config = runtime.epoch, runtime.config
    proven_by = now + policy.MAX_PROVE_COMMIT
    for good, why in (
        (sector.seal_proof == config.seal_proof, f"the seal proof is {config.seal_proof}"),
        (sector.sealed_cid.codec == FIL_COMMITMENT_SEALED, "the sealed CID is of another kind"),
        (
            sector.unsealed_cid is None or sector.unsealed_cid.codec == FIL_COMMITMENT_UNSEALED,
            "the unsealed CID is of another kind",
        ),
        (sector.seal_rand_epoch < now, "seal randomness from the future"),
        (
            sector.seal_rand_epoch >= now - policy.MAX_SEAL_RANDOMNESS_AGE,
            "seal randomness is too old",
        ),
        (sector.expiration >= proven_by + policy.MIN_SECTOR_LIFE, "expiration is too soon"),
        (sector.expiration <= now + policy.MAX_SECTOR_EXTENSION, "expiration is too far"),
        (sector.sector < 1 << 63, "sector number out of range"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)


@dataclass(frozen=True, slots=True)
class _Activation:
    """A sector that passed the checks."""

    pre_commit: PreCommit
    data: SectorData

    @property
    def number(self) -> int:
        return self.data.number


def prove_commit_sectors(runtime: Runtime, params: bytes) -> bytes:
    """Activate sectors: proofs, claims, pledge, place, events, notifications, in the actor's order."""
    wanted = ProveCommitSectorsParams.from_cbor(params)
    state = require_key(runtime)
    numbers = [manifest.sector for manifest in wanted.manifests]
    missing = [number for number in numbers if number not in state.pre_committed]
    runtime.require(not missing, Exit.NOT_FOUND, f"sectors {missing} are not pre-committed")
    _check_proof_form(runtime, wanted)
    runtime.require(len(set(numbers)) == len(numbers), Exit.ILLEGAL_ARGUMENT, "repeated sector")
    codes: dict[int, int] = dict.fromkeys(numbers, 0)
    valid: list[_Activation] = []
    for index, manifest in enumerate(wanted.manifests):
        pre_commit = state.pre_committed[manifest.sector]
        activation = _Activation(
            pre_commit, SectorData(manifest.sector, pre_commit.expiration, manifest.pieces)
        )
        runtime.require(
            runtime.epoch > pre_commit.epoch + policy.PRE_COMMIT_CHALLENGE_DELAY,
            Exit.FORBIDDEN,
            "too early to prove: the challenge delay has not passed",
        )
        if _is_activatable(runtime, activation) and _is_proven(wanted, index):
            valid.append(activation)
        else:
            codes[manifest.sector] = Exit.ILLEGAL_ARGUMENT
    runtime.require(
        valid and not (wanted.require_activation_success and any(codes.values())),
        Exit.ILLEGAL_ARGUMENT,
        f"activation failed: {codes}",
    )
    all_or_nothing = wanted.require_activation_success
    claimed = claim(runtime, [one.data for one in valid], codes, all_or_nothing=all_or_nothing)
    valid = [activation for activation in valid if codes[activation.number] == 0]
    runtime.require(valid, Exit.ILLEGAL_ARGUMENT, f"no sector could be activated: {codes}")
    _activate(runtime, valid, claimed)
    told = [activation.data for activation in valid]
    notify(runtime, told, require_success=wanted.require_notification_success)
    return BatchReturn.of_codes([codes[number] for number in numbers]).to_cbor()


def _check_proof_form(runtime: Runtime, wanted: ProveCommitSectorsParams) -> None:
    count = len(wanted.manifests)
    single, aggregate = bool(wanted.sector_proofs), bool(wanted.aggregate_proof)
    if single:
        good = len(wanted.sector_proofs) == count and wanted.aggregate_type is None
    else:
        good = wanted.aggregate_type == 1 and count in policy.AGGREGATE_SECTORS
    runtime.require(
        count and single != aggregate and good,
        Exit.ILLEGAL_ARGUMENT,
        "give one proof per sector, or one aggregate of 4 to 819 sectors",
    )


def _is_proven(wanted: ProveCommitSectorsParams, index: int) -> bool:
    proof = wanted.sector_proofs[index] if wanted.sector_proofs else wanted.aggregate_proof
    return is_good_proof(proof)


def is_good_proof(proof: bytes) -> bool:
    """Whether a proof passes for one that verifies."""
    return bool(proof) and not proof.startswith(INVALID_PROOF)


def _is_activatable(runtime: Runtime, activation: _Activation) -> bool:
    """Whether the sector may be activated; a CommD that differs fails the whole message (actors.md §7)."""
    pre_commit = activation.pre_commit
    too_late = runtime.epoch > pre_commit.epoch + policy.MAX_PROVE_COMMIT
    if pre_commit.has_deals or too_late:
        return False
    try:
        computed = activation.data.commd(runtime.config.sector_size)
    except CommDError:
        return False
    zero = unsealed_cid([], runtime.config.sector_size)
    runtime.require(
        (computed or zero) == (pre_commit.unsealed_cid or zero),
        Exit.ILLEGAL_ARGUMENT,
        f"sector {activation.number}: the pieces' CommD is {computed}, not the pre-committed one",
    )
    return True


def _activate(runtime: Runtime, valid: list[_Activation], claimed: dict[int, int]) -> None:
    state = require_key(runtime)
    change = Change(runtime, state)
    sectors = {item.number: _sector(runtime, item, claimed.get(item.number, 0)) for item in valid}
    pledge = sum(sector.initial_pledge.value for sector in sectors.values())
    change.state = replace(
        state,
        sectors=state.sectors.with_(sectors),
        pre_committed=state.pre_committed.without(sectors),
        pre_commit_deposits=state.pre_commit_deposits
        - sum(item.pre_commit.deposit for item in valid),
        initial_pledge=state.initial_pledge + pledge,
    )
    runtime.require(
        available_balance(change.state, runtime.balance) >= 0,
        Exit.INSUFFICIENT_FUNDS,
        f"the available balance does not cover a pledge of {pledge}",
    )
    add_sectors(change, sorted(sectors), runtime.epoch)
    change.commit()
    for item in valid:
        commd, contents = item.data.commd(runtime.config.sector_size), item.data.contents
        runtime.emit(events.sector_content_event("sector-activated", item.number, commd, contents))


@dataclass(frozen=True, slots=True)
class Weights:
    """What a sector's data makes of its power, from now to its expiration."""

    deal_weight: int
    verified_deal_weight: int
    flags: int
    qap: int


def new_weights(runtime: Runtime, data: SectorData, claimed: int) -> Weights:
    """Weights and power of a sector with that data and so many claimed bytes."""
    size, duration = runtime.config.sector_size, data.expiration - runtime.epoch
    plain = data.plain_bytes(runtime.network_version) * duration
    if runtime.network_version >= 29:
        return Weights(plain, 0, policy.FULL_QA_POWER, size * 10)
    verified = claimed * duration
    return Weights(
        plain, verified, policy.SIMPLE_QA_POWER, policy.qa_power(size, duration, verified)
    )


def _sector(runtime: Runtime, item: _Activation, claimed: int) -> SectorOnChainInfo:
    weights = new_weights(runtime, item.data, claimed)
    actors = runtime.machine.actors
    return SectorOnChainInfo(
        number=SectorNumber(item.number),
        seal_proof=item.pre_commit.seal_proof,
        sealed_cid=item.pre_commit.sealed_cid,
        activation=Epoch(runtime.epoch),
        expiration=Epoch(item.pre_commit.expiration),
        deal_weight=weights.deal_weight,
        verified_deal_weight=weights.verified_deal_weight,
        initial_pledge=AttoFil(policy.initial_pledge(actors, weights.qap)),
        power_base_epoch=Epoch(runtime.epoch),
        sector_key_cid=None,
        flags=weights.flags,
        daily_fee=AttoFil(policy.daily_fee(actors, weights.qap)),
    )


def add_sectors(change: Change, numbers: list[int], now: int, deadline: int | None = None) -> None:
    """Give each sector its partition in `deadline`, or in the deadline that the actor chooses; unproven."""
    size = change.state.details.partition_sectors
    for number in numbers:
        index = assign_deadline(change.state, now) if deadline is None else deadline
        partitions = change.state.deadlines[index].partitions
        at = len(partitions) - 1
        if not partitions or len(partitions[at].sectors) >= size:
            at, partition = len(partitions), Partition()
        else:
            partition = partitions[at]
        one = frozenset((number,))
        partition = replace(
            partition, sectors=partition.sectors | one, unproven=partition.unproven | one
        )
        change.set_partition(index, at, partition)
