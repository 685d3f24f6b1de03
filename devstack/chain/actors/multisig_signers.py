"""Multisig: what only the multisig itself may change, through a proposal: signers, threshold, lock (actors.md §3)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import Action, taking
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MultisigState, Transaction
from devstack.chain.table import replace
from devstack.ipld import Hamt
from lotus_client.actors.methods import MultisigMethod as Method
from lotus_client.actors.multisig import (
    AddSignerParams,
    ChangeThresholdParams,
    LockBalanceParams,
    RemoveSignerParams,
    SwapSignerParams,
)

__all__ = ["MAX_SIGNERS", "SIGNER_METHODS"]

MAX_SIGNERS: Final = 256


def _own_state(runtime: Runtime) -> MultisigState:
    runtime.require_caller(runtime.receiver)
    state: MultisigState = runtime.state
    return state


def _add(runtime: Runtime, params: AddSignerParams) -> bytes:
    state = _own_state(runtime)
    signer = runtime.resolve_id(params.signer)
    runtime.require(len(state.signers) < MAX_SIGNERS, Exit.FORBIDDEN, "256 signers are the most")
    runtime.require(signer not in state.signers, Exit.FORBIDDEN, "already a signer")
    threshold = state.threshold + params.change
    runtime.set_state(replace(state, signers=(*state.signers, signer), threshold=threshold))
    return b""


def _remove(runtime: Runtime, params: RemoveSignerParams) -> bytes:
    """A signer goes with its approvals; what nobody approves any more is dropped."""
    state = _own_state(runtime)
    signer = runtime.resolve_id(params.signer)
    runtime.require(signer in state.signers, Exit.FORBIDDEN, "not a signer")
    runtime.require(len(state.signers) > 1, Exit.FORBIDDEN, "the only signer stays")
    threshold = state.threshold - params.change
    runtime.require(
        1 <= threshold <= len(state.signers) - 1, Exit.ILLEGAL_ARGUMENT, "threshold out of range"
    )
    signers = tuple(one for one in state.signers if one != signer)
    pending = _without_approvals(state.pending, signer)
    runtime.set_state(replace(state, signers=signers, threshold=threshold, pending=pending))
    return b""


def _swap(runtime: Runtime, params: SwapSignerParams) -> bytes:
    state = _own_state(runtime)
    old, new = runtime.resolve_id(params.from_), runtime.resolve_id(params.to)
    runtime.require(old in state.signers, Exit.FORBIDDEN, "not a signer")
    runtime.require(new not in state.signers, Exit.ILLEGAL_ARGUMENT, "already a signer")
    signers = (*(one for one in state.signers if one != old), new)
    pending = _without_approvals(state.pending, old)
    runtime.set_state(replace(state, signers=signers, pending=pending))
    return b""


def _without_approvals(pending: Hamt[int, Transaction], signer: int) -> Hamt[int, Transaction]:
    """Pending calls without that signer's approvals (builtin-actors `purge_approvals`)."""
    changed = {
        txn_id: replace(txn, approved=tuple(one for one in txn.approved if one != signer))
        for txn_id, txn in pending.items()
        if signer in txn.approved
    }
    orphaned = [txn_id for txn_id, txn in changed.items() if not txn.approved]
    return pending.with_(changed).without(orphaned)


def _change_threshold(runtime: Runtime, params: ChangeThresholdParams) -> bytes:
    state = _own_state(runtime)
    runtime.require(
        1 <= params.threshold <= len(state.signers),
        Exit.ILLEGAL_ARGUMENT,
        "threshold out of range",
    )
    runtime.set_state(replace(state, threshold=params.threshold))
    return b""


def _lock(runtime: Runtime, params: LockBalanceParams) -> bytes:
    """Lock once; a lock that exists can never be changed."""
    state = _own_state(runtime)
    runtime.require(params.unlock_duration > 0, Exit.ILLEGAL_ARGUMENT, "duration is positive")
    runtime.require(params.amount.value >= 0, Exit.ILLEGAL_ARGUMENT, "negative amount")
    runtime.require(state.unlock_duration == 0, Exit.FORBIDDEN, "the lock cannot be changed")
    locked = replace(
        state,
        initial_balance=params.amount.value,
        start_epoch=params.start_epoch,
        unlock_duration=params.unlock_duration,
    )
    runtime.set_state(locked)
    return b""


SIGNER_METHODS: Final[dict[int, Action]] = {
    Method.ADD_SIGNER: taking(AddSignerParams.from_cbor, _add),
    Method.REMOVE_SIGNER: taking(RemoveSignerParams.from_cbor, _remove),
    Method.SWAP_SIGNER: taking(SwapSignerParams.from_cbor, _swap),
    Method.CHANGE_THRESHOLD: taking(ChangeThresholdParams.from_cbor, _change_threshold),
    Method.LOCK_BALANCE: taking(LockBalanceParams.from_cbor, _lock),
}
