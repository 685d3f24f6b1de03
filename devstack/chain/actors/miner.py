"""Storage miners: their methods, and the ones about money.

Left out: changes of worker, owner and beneficiary, sector extension, replica updates, aggregated and
non-interactive variants other than ProveCommitSectors3's aggregate form. They exit 22 (no such method).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devstack.chain.actors import miner_proving, miner_sectors, vesting
from devstack.chain.actors.dispatch import unhandled
from devstack.chain.actors.miner_state import Change, available_balance
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MinerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.miner import ApplyRewardsParams, WithdrawBalanceParams
from lotus_client.address import Address

__all__ = ["invoke"]

_LOCKED_NUMERATOR: Final = 3  # of 4: actors/miner/src/monies.rs LOCKED_REWARD_FACTOR


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """A miner's methods by number."""
    action = _METHODS.get(method)
    if action is None:
        raise unhandled(method)
    return action(runtime, params)


def _control_addresses(runtime: Runtime, _params: bytes) -> bytes:
    details = runtime.state.details
    keys = [Address.of_id(actor_id).to_bytes() for actor_id in (details.owner, details.worker)]
    return cbor.encode([*keys, [Address.of_id(one).to_bytes() for one in details.controls]])


def _deadline_cron(runtime: Runtime, _params: bytes) -> bytes:
    runtime.require_caller(4)
    miner_proving.end_deadline(runtime)
    return b""


def _apply_rewards(runtime: Runtime, params: bytes) -> bytes:
    """Lock three quarters, take penalties and debts first from what is locked, then from what is free."""
    award = ApplyRewardsParams.from_cbor(params)
    runtime.require_caller(2)
    reward = award.reward.value
    runtime.require(
        reward >= 0 and award.penalty.value >= 0, Exit.ILLEGAL_ARGUMENT, "negative reward"
    )
    change = Change(runtime, runtime.state)
    locked = reward * _LOCKED_NUMERATOR // 4
    change.state = vesting.add_award(change.state, runtime.epoch, locked)
    change.add_debt(award.penalty.value)
    change.pay_debt()
    change.commit()
    return b""


def _withdraw(runtime: Runtime, params: bytes) -> bytes:
    """Pay what is free to the beneficiary, whoever of the two asks; the return is the amount."""
    asked = WithdrawBalanceParams.from_cbor(params).amount.value
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


_METHODS: Final[dict[int, Callable[[Runtime, bytes], bytes]]] = {
    Method.CONTROL_ADDRESSES: _control_addresses,
    Method.SUBMIT_WINDOWED_POST: miner_proving.submit_post,
    Method.TERMINATE_SECTORS: miner_proving.terminate_sectors,
    Method.DECLARE_FAULTS: miner_proving.declare_faults,
    Method.DECLARE_FAULTS_RECOVERED: miner_proving.declare_recoveries,
    Method.ON_DEFERRED_CRON_EVENT: _deadline_cron,
    Method.APPLY_REWARDS: _apply_rewards,
    Method.WITHDRAW_BALANCE: _withdraw,
    Method.WITHDRAW_BALANCE_EXPORTED: _withdraw,
    Method.PRE_COMMIT_SECTOR_BATCH2: miner_sectors.pre_commit_batch,
    Method.PROVE_COMMIT_SECTORS3: miner_sectors.prove_commit_sectors,
}
