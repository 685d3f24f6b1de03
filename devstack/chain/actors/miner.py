"""Storage miners: their methods by number, and the ones about money.

Left out: compacting partitions, disputes and consensus faults; they exit 22 (no such method).
"""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import (
    dispatch,
    miner_extensions,
    miner_keys,
    miner_noninteractive,
    miner_proving,
    miner_reads,
    miner_sectors,
    miner_updates,
    vesting,
)
from devstack.chain.actors.dispatch import Action, call_method, plain, taking
from devstack.chain.actors.miner_state import Change, available_balance, require_key
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MinerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.miner import ApplyRewardsParams, WithdrawBalanceParams
from lotus_client.actors.miner_keys import (
    ChangeBeneficiaryParams,
    ChangeMultiaddrsParams,
    ChangePeerIdParams,
    ChangeWorkerAddressParams,
)
from lotus_client.actors.miner_noninteractive import ProveCommitSectorsNIParams
from lotus_client.actors.miner_updates import (
    ExtendSectorExpirationParams,
    ProveReplicaUpdatesParams,
)
from lotus_client.address import Address

__all__ = ["invoke", "locked_part"]

_LOCKED_NUMERATOR: Final = 3  # of 4: actors/miner/src/monies.rs LOCKED_REWARD_FACTOR


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """A miner's methods by number."""
    return call_method(runtime, _METHODS, method, params)


def _deadline_cron(runtime: Runtime, _params: bytes) -> bytes:
    runtime.require_caller(4)
    miner_proving.end_deadline(runtime)
    return b""


def locked_part(reward: int) -> int:
    """How much of an award, in attoFIL, vests; the rest is free at once."""
    return reward * _LOCKED_NUMERATOR // 4


def _apply_rewards(runtime: Runtime, award: ApplyRewardsParams) -> bytes:
    """Lock three quarters, take penalties and debts first from what is locked, then from what is free."""
    runtime.require_caller(2)
    reward = award.reward.value
    runtime.require(
        reward >= 0 and award.penalty.value >= 0, Exit.ILLEGAL_ARGUMENT, "negative reward"
    )
    change = Change(runtime, runtime.state)
    change.state = vesting.add_award(change.state, runtime.epoch, locked_part(reward))
    change.add_debt(award.penalty.value)
    change.pay_debt()
    change.commit()
    return b""


def _withdraw(runtime: Runtime, params: WithdrawBalanceParams) -> bytes:
    """Pay what is free to the beneficiary, whoever of the two asks; the return is the amount."""
    asked = params.amount.value
    state: MinerState = runtime.state
    terms = state.details.beneficiary
    runtime.require(asked >= 0, Exit.ILLEGAL_ARGUMENT, "negative amount")
    runtime.require_caller(state.details.owner, terms.address)
    change = Change(runtime, state)
    change.state = vesting.unlock_due(vesting.settled(state), runtime.epoch)
    change.pay_debt()
    runtime.require(change.state.fee_debt == 0, Exit.INSUFFICIENT_FUNDS, "fee debt is not covered")
    amount = min(asked, max(available_balance(change.state, runtime.balance - change.burn), 0))
    if terms.address != state.details.owner:
        left = terms.quota - terms.used_quota
        runtime.require(
            left > 0 and runtime.epoch < terms.expiration, Exit.FORBIDDEN, "the quota is used up"
        )
        amount = min(amount, left)
        used = replace(terms, used_quota=terms.used_quota + amount)
        details = replace(change.state.details, beneficiary=used)
        change.state = replace(change.state, details=details)
    change.commit()
    if amount:
        runtime.must_send(Address.of_id(terms.address), 0, value=amount)
    return cbor.encode(wire.big_bytes(amount))


def _repay_debt(runtime: Runtime) -> bytes:
    """Pay as much of the fee debt as vesting and free funds cover."""
    change = Change(runtime, require_key(runtime))
    change.pay_debt()
    change.commit()
    return b""


_withdrawing = taking(WithdrawBalanceParams.from_cbor, _withdraw)
_repaying = plain(_repay_debt)
_worker = taking(ChangeWorkerAddressParams.from_cbor, miner_keys.change_worker)
_confirm_worker = plain(miner_keys.confirm_change_worker)
_owner = taking(dispatch.address, miner_keys.change_owner)
_beneficiary = taking(ChangeBeneficiaryParams.from_cbor, miner_keys.change_beneficiary)
_peer_id = taking(ChangePeerIdParams.from_cbor, miner_keys.change_peer_id)
_multiaddrs = taking(ChangeMultiaddrsParams.from_cbor, miner_keys.change_multiaddrs)

_METHODS: Final[dict[int, Action]] = {
    **miner_reads.READ_METHODS,
    Method.CHANGE_WORKER_ADDRESS: _worker,
    Method.CHANGE_WORKER_ADDRESS_EXPORTED: _worker,
    Method.CONFIRM_CHANGE_WORKER_ADDRESS: _confirm_worker,
    Method.CONFIRM_CHANGE_WORKER_ADDRESS_EXPORTED: _confirm_worker,
    Method.CHANGE_OWNER_ADDRESS: _owner,
    Method.CHANGE_OWNER_ADDRESS_EXPORTED: _owner,
    Method.CHANGE_BENEFICIARY: _beneficiary,
    Method.CHANGE_BENEFICIARY_EXPORTED: _beneficiary,
    Method.CHANGE_PEER_ID: _peer_id,
    Method.CHANGE_PEER_ID_EXPORTED: _peer_id,
    Method.CHANGE_MULTIADDRS: _multiaddrs,
    Method.CHANGE_MULTIADDRS_EXPORTED: _multiaddrs,
    Method.WITHDRAW_BALANCE: _withdrawing,
    Method.WITHDRAW_BALANCE_EXPORTED: _withdrawing,
    Method.REPAY_DEBT: _repaying,
    Method.REPAY_DEBT_EXPORTED: _repaying,
    Method.ON_DEFERRED_CRON_EVENT: taking(bytes, _deadline_cron),
    Method.APPLY_REWARDS: taking(ApplyRewardsParams.from_cbor, _apply_rewards),
    Method.SUBMIT_WINDOWED_POST: taking(bytes, miner_proving.submit_post),
    Method.TERMINATE_SECTORS: taking(bytes, miner_proving.terminate_sectors),
    Method.DECLARE_FAULTS: taking(bytes, miner_proving.declare_faults),
    Method.DECLARE_FAULTS_RECOVERED: taking(bytes, miner_proving.declare_recoveries),
    Method.PRE_COMMIT_SECTOR_BATCH2: taking(bytes, miner_sectors.pre_commit_batch),
    Method.PROVE_COMMIT_SECTORS3: taking(bytes, miner_sectors.prove_commit_sectors),
    Method.PROVE_REPLICA_UPDATES3: taking(
        ProveReplicaUpdatesParams.from_cbor, miner_updates.prove_replica_updates
    ),
    Method.PROVE_COMMIT_SECTORS_NI: taking(
        ProveCommitSectorsNIParams.from_cbor, miner_noninteractive.prove_commit_sectors_ni
    ),
    Method.EXTEND_SECTOR_EXPIRATION2: taking(
        ExtendSectorExpirationParams.from_cbor, miner_extensions.extend_expiration
    ),
}
