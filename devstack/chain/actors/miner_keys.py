"""A miner's keys and terms: worker, controls, owner, beneficiary, and where it is reached (actors.md §7)."""

from __future__ import annotations

from typing import Any, Final

from devstack.chain.actors.miner_state import require_key
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import (
    MinerDetails,
    MinerState,
    PendingBeneficiaryChange,
    WorkerKeyChange,
)
from devstack.chain.table import replace
from lotus_client.actors.miner_keys import (
    ChangeBeneficiaryParams,
    ChangeMultiaddrsParams,
    ChangePeerIdParams,
    ChangeWorkerAddressParams,
)
from lotus_client.address import Address

__all__ = [
    "change_beneficiary",
    "change_multiaddrs",
    "change_owner",
    "change_peer_id",
    "change_worker",
    "confirm_change_worker",
    "with_due_worker",
]

# builtin-actors runtime/src/runtime/policy.rs
_WORKER_CHANGE_DELAY: Final = 900
_MAX_CONTROLS: Final = 10
_MAX_PEER_ID: Final = 128
_MAX_MULTIADDRS: Final = 1024  # bytes together
_PRINCIPALS: Final = ("account", "ethaccount", "placeholder", "multisig")


def _set(runtime: Runtime, **changes: Any) -> bytes:
    state: MinerState = runtime.state
    runtime.set_state(replace(state, details=replace(state.details, **changes)))
    return b""


def change_worker(runtime: Runtime, params: ChangeWorkerAddressParams) -> bytes:
    """New control addresses at once, a new worker after 900 epochs; a change that waits is not replaced.

    On mainnet a worker has a BLS key; devstack's own miners have secp256k1 workers, so both are taken.
    """
    details: MinerDetails = runtime.state.details
    runtime.require_caller(details.owner)
    worker = runtime.resolve_id(params.new_worker)
    is_account = runtime.code_of(worker) == "account"
    runtime.require(is_account, Exit.ILLEGAL_ARGUMENT, "the worker is no account")
    named = params.new_control_addresses
    runtime.require(len(named) <= _MAX_CONTROLS, Exit.ILLEGAL_ARGUMENT, "too many controls")
    controls = tuple(runtime.resolve_id(one) for one in named)
    are_principals = all(runtime.code_of(one) in _PRINCIPALS for one in controls)
    runtime.require(are_principals, Exit.ILLEGAL_ARGUMENT, "a control address cannot sign")
    pending = details.pending_worker_key
    if worker != details.worker and pending is None:
        pending = WorkerKeyChange(worker, runtime.epoch + _WORKER_CHANGE_DELAY)
    return _set(runtime, controls=controls, pending_worker_key=pending)


def with_due_worker(details: MinerDetails, epoch: int) -> MinerDetails:
    """The details after a worker change whose time has come."""
    pending = details.pending_worker_key
    if pending is None or epoch < pending.effective_at:
        return details
    return replace(details, worker=pending.new_worker, pending_worker_key=None)


def confirm_change_worker(runtime: Runtime) -> bytes:
    """Make a due worker change effective; an early confirmation does nothing."""
    details: MinerDetails = runtime.state.details
    runtime.require_caller(details.owner)
    due = with_due_worker(details, runtime.epoch)
    return _set(runtime, worker=due.worker, pending_worker_key=due.pending_worker_key)


def change_peer_id(runtime: Runtime, params: ChangePeerIdParams) -> bytes:
    """Where libp2p finds the provider."""
    require_key(runtime)
    good = len(params.new_id) <= _MAX_PEER_ID
    runtime.require(good, Exit.ILLEGAL_ARGUMENT, "the peer id is too long")
    return _set(runtime, peer_id=params.new_id)


def change_multiaddrs(runtime: Runtime, params: ChangeMultiaddrsParams) -> bytes:
    """Where the provider listens."""
    require_key(runtime)
    addresses = params.new_multi_addrs
    runtime.require(all(addresses), Exit.ILLEGAL_ARGUMENT, "an empty multiaddress")
    good = sum(map(len, addresses)) <= _MAX_MULTIADDRS
    runtime.require(good, Exit.ILLEGAL_ARGUMENT, "the multiaddresses are too long")
    return _set(runtime, multi_address=addresses)


def change_owner(runtime: Runtime, address: Address) -> bytes:
    """The owner proposes, the new one confirms with its own address; the owner's own address takes it back."""
    details: MinerDetails = runtime.state.details
    new = runtime.resolve_id(address)
    pending = details.pending_owner_address
    if runtime.caller == details.owner or pending is None:
        runtime.require_caller(details.owner)
        return _set(runtime, pending_owner_address=None if new == details.owner else new)
    runtime.require_caller(pending)
    runtime.require(new == pending, Exit.ILLEGAL_ARGUMENT, "another address was proposed")
    term = details.beneficiary
    if term.address == details.owner:
        term = replace(term, address=new)
    return _set(runtime, owner=new, pending_owner_address=None, beneficiary=term)


def change_beneficiary(runtime: Runtime, params: ChangeBeneficiaryParams) -> bytes:
    """Propose (owner) or approve (nominee, present beneficiary); with both approvals it is done."""
    nominee = runtime.resolve_id(params.new_beneficiary)
    details: MinerDetails = runtime.state.details
    if runtime.caller == details.owner:
        pending = _proposal(runtime, nominee, params)
    else:
        pending = _repeated(runtime, nominee, params)
    if runtime.caller == details.beneficiary.address:
        pending = replace(pending, approved_by_beneficiary=True)
    if runtime.caller == nominee:
        pending = replace(pending, approved_by_nominee=True)
    if not (pending.approved_by_beneficiary and pending.approved_by_nominee):
        return _set(runtime, pending_beneficiary_term=pending)
    old = details.beneficiary
    term = replace(
        old,
        address=nominee,
        quota=pending.new_quota,
        used_quota=old.used_quota if nominee == old.address else 0,
        expiration=pending.new_expiration,
    )
    return _set(runtime, beneficiary=term, pending_beneficiary_term=None)


def _proposal(
    runtime: Runtime, nominee: int, params: ChangeBeneficiaryParams
) -> PendingBeneficiaryChange:
    details: MinerDetails = runtime.state.details
    quota = params.new_quota.value
    if nominee == details.owner:
        good = quota == 0 and params.new_expiration == 0
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, "the owner has no quota and no expiration")
    else:
        runtime.require(quota > 0, Exit.ILLEGAL_ARGUMENT, "the quota is positive")
    term = details.beneficiary
    is_spent = term.expiration <= runtime.epoch or term.used_quota >= term.quota
    return PendingBeneficiaryChange(nominee, quota, params.new_expiration, is_spent)


def _repeated(
    runtime: Runtime, nominee: int, params: ChangeBeneficiaryParams
) -> PendingBeneficiaryChange:
    details: MinerDetails = runtime.state.details
    pending = details.pending_beneficiary_term
    if pending is None:
        raise Abort(Exit.FORBIDDEN, "no change of beneficiary was proposed")
    runtime.require_caller(details.beneficiary.address, pending.new_beneficiary)
    repeated = (nominee, params.new_quota.value, params.new_expiration)
    proposed = (pending.new_beneficiary, pending.new_quota, pending.new_expiration)
    runtime.require(repeated == proposed, Exit.ILLEGAL_ARGUMENT, "not what was proposed")
    return pending
