"""ProveCommitSectorsNI: sectors without data and without a pre-commit (FIP-0092, actors.md §7).

There is no aggregate fee: FIP-0100 replaced the fees of batches by the daily fee. Left out: the refusal during an active
consensus fault, as there are none here. Proofs pass as `miner_sectors.is_good_proof` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.miner_data import SectorData
from devstack.chain.actors.miner_sectors import add_sectors, is_good_proof, new_weights
from devstack.chain.actors.miner_state import (
    Change,
    available_balance,
    deadline_now,
    is_mutable,
    require_key,
)
from devstack.chain.actors.power_calls import enroll_deadline_cron
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MinerState
from lotus_client.actors import events
from lotus_client.actors.miner_noninteractive import (
    ProveCommitSectorsNIParams,
    SectorNIActivationInfo,
)
from lotus_client.actors.wire import BatchReturn
from lotus_client.cid import FIL_COMMITMENT_SEALED
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = ["NON_INTERACTIVE", "prove_commit_sectors_ni"]

# go-state-types abi/sector.go: the V1_1 seal proofs are 5 to 9, their non-interactive forms 15 to 19
NON_INTERACTIVE: Final = 10
_SECTORS: Final = range(1, 66)  # FIP-0092: at most 65 in one message
_SNARK_PACK_V2: Final = 1
_RANDOMNESS_LOOKBACK: Final = policy.MIN_SECTOR_LIFE  # FIP-0092: 180 days


def prove_commit_sectors_ni(runtime: Runtime, wanted: ProveCommitSectorsNIParams) -> bytes:
    """Activate sectors in the deadline the caller names; which of them failed. No power before their first WindowPoSt."""
    count = len(wanted.sectors)
    runtime.require(
        count in _SECTORS, Exit.ILLEGAL_ARGUMENT, f"1 to 65 sectors at a time, not {count}"
    )
    state = require_key(runtime)
    _check_form(runtime, state, wanted)
    codes = _checked(runtime, wanted.sectors)
    runtime.require(
        not all(codes) and not (wanted.require_activation_success and any(codes)),
        Exit.ILLEGAL_ARGUMENT,
        f"activation failed: {codes}",
    )
    runtime.require(
        is_good_proof(wanted.aggregate_proof),
        Exit.ILLEGAL_ARGUMENT,
        "the aggregate proof does not verify",
    )
    valid = [sector for sector, code in zip(wanted.sectors, codes, strict=True) if code == 0]
    _activate(runtime, wanted, valid)
    return BatchReturn.of_codes([int(code) for code in codes]).to_cbor()


def _check_form(runtime: Runtime, state: MinerState, wanted: ProveCommitSectorsNIParams) -> None:
    deadline, seal_proof = wanted.proving_deadline, runtime.config.seal_proof + NON_INTERACTIVE
    runtime.require(
        deadline < policy.DEADLINES, Exit.ILLEGAL_ARGUMENT, f"there is no deadline {deadline}"
    )
    runtime.require(
        is_mutable(state.proving_period_start, deadline, runtime.epoch),
        Exit.FORBIDDEN,
        f"deadline {deadline} is the current or the next one",
    )
    runtime.require(
        wanted.seal_proof_type == seal_proof,
        Exit.ILLEGAL_ARGUMENT,
        f"the seal proof is {seal_proof}, not {wanted.seal_proof_type}",
    )
    runtime.require(
        wanted.aggregate_proof_type == _SNARK_PACK_V2,
        Exit.ILLEGAL_ARGUMENT,
        "the aggregate proof type must be 1, SnarkPackV2",
    )


def _checked(runtime: Runtime, sectors: tuple[SectorNIActivationInfo, ...]) -> list[Exit]:
    """An exit code for each sector; of sectors of one number only the first may pass."""
    seen: set[int] = set()
    codes = []
    for sector in sectors:
        good = sector.sector not in seen and _is_good(runtime, sector)
        codes.append(Exit.OK if good else Exit.ILLEGAL_ARGUMENT)
        seen.add(sector.sector)
    return codes


def _is_good(runtime: Runtime, sector: SectorNIActivationInfo) -> bool:
    now, life = runtime.epoch, sector.expiration - runtime.epoch
    return (
        sector.sector < 1 << 63
        and policy.MIN_SECTOR_LIFE
        <= life
        <= min(policy.MAX_SECTOR_EXTENSION, policy.MAX_SECTOR_LIFE)
        and sector.sealer_id == runtime.receiver
        and sector.sealing_number == sector.sector
        and sector.sealed_cid.codec == FIL_COMMITMENT_SEALED
        and now - _RANDOMNESS_LOOKBACK <= sector.seal_rand_epoch < now
    )


def _activate(
    runtime: Runtime, wanted: ProveCommitSectorsNIParams, valid: list[SectorNIActivationInfo]
) -> None:
    change = Change(runtime, require_key(runtime))
    state = change.state
    named = {sector.sector for sector in wanted.sectors if sector.sector < 1 << 63}
    sectors = {one.sector: _sector(runtime, one, wanted.seal_proof_type) for one in valid}
    pledge = sum(sector.initial_pledge.value for sector in sectors.values())
    unlocked = available_balance(state, runtime.balance) + state.fee_debt
    runtime.require(
        unlocked >= pledge,
        Exit.INSUFFICIENT_FUNDS,
        f"a pledge of {pledge} is needed, available is {unlocked}",
    )
    used = sorted(number for number in named if number in state.allocated)
    runtime.require(not used, Exit.ILLEGAL_ARGUMENT, f"sector numbers {used} were used before")
    change.state = replace(
        state,
        sectors=state.sectors.with_(sectors),
        allocated=state.allocated.with_(named),  # those of refused sectors too, as the actor does
        initial_pledge=state.initial_pledge + pledge,
        deadline_cron_active=True,
    )
    add_sectors(change, sorted(sectors), runtime.epoch, wanted.proving_deadline)
    change.pay_debt()
    runtime.require(change.state.fee_debt == 0, Exit.INSUFFICIENT_FUNDS, "fee debt is not covered")
    change.commit()
    for one in valid:
        runtime.emit(events.sector_content_event("sector-activated", one.sector, None, ()))
    if not state.deadline_cron_active:
        enroll_deadline_cron(runtime, deadline_now(state.proving_period_start, runtime.epoch).last)


def _sector(runtime: Runtime, one: SectorNIActivationInfo, seal_proof: int) -> SectorOnChainInfo:
    weights = new_weights(runtime, SectorData(one.sector, one.expiration, ()), 0)
    actors = runtime.machine.actors
    return SectorOnChainInfo(
        number=SectorNumber(one.sector),
        seal_proof=seal_proof,
        sealed_cid=one.sealed_cid,
        activation=Epoch(runtime.epoch),
        expiration=Epoch(one.expiration),
        deal_weight=weights.deal_weight,
        verified_deal_weight=weights.verified_deal_weight,
        initial_pledge=AttoFil(policy.initial_pledge(actors, weights.qap)),
        power_base_epoch=Epoch(runtime.epoch),
        sector_key_cid=None,
        flags=weights.flags,
        daily_fee=AttoFil(policy.daily_fee(actors, weights.qap)),
    )
