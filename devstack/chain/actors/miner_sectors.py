"""Committing sectors: PreCommitSectorBatch2 and ProveCommitSectors3 (actors.md §7).

Seal proofs cannot be checked without the proving parameters: any proof is accepted except an empty one and one that
begins with `INVALID_PROOF`, which stands for a proof that does not verify.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.miner_state import (
    Change,
    assign_deadline,
    available_balance,
    deadline_now,
    require_key,
)
from devstack.chain.actors.power_calls import enroll_deadline_cron
from devstack.chain.commd import CommDError, unsealed_cid
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import Partition, PreCommit
from lotus_client import cbor
from lotus_client.actors import events
from lotus_client.actors.methods import VERIFIED_REGISTRY, MarketMethod, VerifregMethod
from lotus_client.actors.miner import (
    PieceActivationManifest,
    PreCommitSectorBatchParams,
    ProveCommitSectorsParams,
    SectorPreCommitInfo,
)
from lotus_client.actors.verifreg import (
    AllocationClaim,
    ClaimAllocationsParams,
    ClaimAllocationsReturn,
    SectorAllocationClaims,
)
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.cid import FIL_COMMITMENT_SEALED, Cid
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = ["INVALID_PROOF", "add_sectors", "pre_commit_batch", "prove_commit_sectors"]

INVALID_PROOF: Final = b"invalid"
_NOTIFICATION_SEND_FAILED: Final = 1001
_NOTIFICATION_ABORTED: Final = 1002
_NOTIFICATION_REJECTED: Final = 1004


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
        allocated=state.allocated.with_(dict.fromkeys(numbers, True)),
        pre_committed=state.pre_committed.with_(
            {
                sector.sector: PreCommit(
                    sector.seal_proof,
                    sector.sealed_cid,
                    sector.expiration,
                    sector.unsealed_cid,
                    deposit,
                    runtime.epoch,
                    bool(sector.deal_ids),
                    sector.seal_rand_epoch,
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


def _check_pre_commit(runtime: Runtime, sector: SectorPreCommitInfo) -> None:
    now, config = runtime.epoch, runtime.config
    proven_by = now + policy.MAX_PROVE_COMMIT
    for good, why in (
        (sector.seal_proof == config.seal_proof, f"the seal proof is {config.seal_proof}"),
        (sector.sealed_cid.codec == FIL_COMMITMENT_SEALED, "the sealed CID is of another kind"),
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

    number: int
    pre_commit: PreCommit
    pieces: tuple[PieceActivationManifest, ...]


def prove_commit_sectors(runtime: Runtime, params: bytes) -> bytes:
    """Activate sectors: proofs, claims, pledge, place, events, notifications, in the actor's order."""
    wanted = ProveCommitSectorsParams.from_cbor(params)
    state = require_key(runtime)
    _check_proof_form(runtime, wanted)
    numbers = [manifest.sector for manifest in wanted.manifests]
    runtime.require(len(set(numbers)) == len(numbers), Exit.ILLEGAL_ARGUMENT, "repeated sector")
    codes: dict[int, int] = dict.fromkeys(numbers, 0)
    valid: list[_Activation] = []
    for index, manifest in enumerate(wanted.manifests):
        pre_commit = state.pre_committed.get(manifest.sector)
        if pre_commit is None:
            raise Abort(Exit.NOT_FOUND, f"sector {manifest.sector} is not pre-committed")
        activation = _Activation(manifest.sector, pre_commit, manifest.pieces)
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
    claimed = _claim(runtime, wanted, valid, codes)
    valid = [activation for activation in valid if codes[activation.number] == 0]
    runtime.require(valid, Exit.ILLEGAL_ARGUMENT, f"no sector could be activated: {codes}")
    _activate(runtime, valid, claimed)
    _notify(runtime, valid, require_success=wanted.require_notification_success)
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
    return bool(proof) and not proof.startswith(INVALID_PROOF)


def _is_activatable(runtime: Runtime, activation: _Activation) -> bool:
    """Whether the sector may be activated; a CommD that differs fails the whole message (actors.md §7)."""
    pre_commit = activation.pre_commit
    too_late = runtime.epoch > pre_commit.epoch + policy.MAX_PROVE_COMMIT
    if pre_commit.has_deals or too_late:
        return False
    pieces = [(piece.cid, piece.size) for piece in activation.pieces]
    try:
        computed = unsealed_cid(pieces, runtime.config.sector_size) if pieces else None
    except CommDError:
        return False
    zero = unsealed_cid([], runtime.config.sector_size)
    runtime.require(
        (computed or zero) == (pre_commit.unsealed_cid or zero),
        Exit.ILLEGAL_ARGUMENT,
        f"sector {activation.number}: the pieces' CommD is {computed}, not the pre-committed one",
    )
    return True


def _claim(
    runtime: Runtime,
    wanted: ProveCommitSectorsParams,
    valid: list[_Activation],
    codes: dict[int, int],
) -> dict[int, int]:
    """Claimed bytes per sector. From network version 29 named allocations are ignored."""
    any_named = any(piece.allocation for item in valid for piece in item.pieces)
    if runtime.network_version >= 29 or not any_named:
        return {}
    sectors = tuple(
        SectorAllocationClaims(
            item.number,
            item.pre_commit.expiration,
            tuple(
                AllocationClaim(piece.allocation.client, piece.allocation.id, piece.cid, piece.size)
                for piece in item.pieces
                if piece.allocation
            ),
        )
        for item in valid
    )
    asked = ClaimAllocationsParams(sectors, wanted.require_activation_success).to_cbor()
    answer = ClaimAllocationsReturn.from_cbor(
        runtime.must_send(VERIFIED_REGISTRY, VerifregMethod.CLAIM_ALLOCATIONS, asked)
    )
    failed = dict(answer.sector_results.fail_codes)
    spaces = iter(answer.claimed_space)
    claimed: dict[int, int] = {}
    for index, item in enumerate(valid):
        if index in failed:
            codes[item.number] = failed[index]
        else:
            claimed[item.number] = next(spaces)
    return claimed


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
        pieces = [(piece.cid, piece.size) for piece in item.pieces]
        runtime.emit(
            events.sector_content_event(
                "sector-activated", item.number, _event_cid(runtime, pieces), pieces
            )
        )


def _event_cid(runtime: Runtime, pieces: list[tuple[Cid, int]]) -> Cid | None:
    return unsealed_cid(pieces, runtime.config.sector_size) if pieces else None


def _sector(runtime: Runtime, item: _Activation, claimed: int) -> SectorOnChainInfo:
    now, size = runtime.epoch, runtime.config.sector_size
    duration = item.pre_commit.expiration - now
    plain = sum(
        piece.size
        for piece in item.pieces
        if runtime.network_version >= 29 or piece.allocation is None
    )
    if runtime.network_version >= 29:
        flags, weight, qap = policy.FULL_QA_POWER, 0, size * 10
    else:
        flags, weight = 0, claimed * duration
        qap = policy.qa_power(size, duration, weight)
    actors = runtime.machine.actors
    return SectorOnChainInfo(
        number=SectorNumber(item.number),
        seal_proof=item.pre_commit.seal_proof,
        sealed_cid=item.pre_commit.sealed_cid,
        activation=Epoch(now),
        expiration=Epoch(item.pre_commit.expiration),
        deal_weight=plain * duration,
        verified_deal_weight=weight,
        initial_pledge=AttoFil(policy.initial_pledge(actors, qap)),
        power_base_epoch=Epoch(now),
        sector_key_cid=None,
        flags=flags,
        daily_fee=AttoFil(policy.daily_fee(actors, qap)),
    )


def add_sectors(change: Change, numbers: list[int], now: int) -> None:
    """Give each sector its deadline and partition, unproven."""
    size = change.state.details.partition_sectors
    for number in numbers:
        index = assign_deadline(change.state, now)
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


def _notify(runtime: Runtime, valid: list[_Activation], *, require_success: bool) -> None:
    """Tell the actors that manifests name, one call each in address order."""
    told: dict[Address, list[list[object]]] = {}
    for item in sorted(valid, key=lambda one: one.number):
        by_address: dict[Address, list[object]] = {}
        for piece in item.pieces:
            for notice in piece.notify:
                content = [piece.cid, piece.size, notice.payload]
                by_address.setdefault(notice.address, []).append(content)
        for address, contents in by_address.items():
            change = [item.number, item.pre_commit.expiration, contents]
            told.setdefault(address, []).append(change)
    for address in sorted(told):
        sent = runtime.send(
            address, MarketMethod.SECTOR_CONTENT_CHANGED, cbor.encode(told[address])
        )
        if not require_success:
            continue
        if sent.exit_code:
            code = _NOTIFICATION_ABORTED
            if sent.exit_code in (Exit.UNSPECIFIED, Exit.INSUFFICIENT_FUNDS):
                code = _NOTIFICATION_SEND_FAILED
            raise Abort(code, f"notification of {address} failed")
        if not _all_accepted(sent.return_):
            raise Abort(_NOTIFICATION_REJECTED, f"{address} rejected the sectors")


def _all_accepted(raw: bytes) -> bool:
    answer = cbor.decode(raw) if raw else None
    return isinstance(answer, list) and all(
        isinstance(row, list) and all(flag is True for flag in row) for row in answer
    )
