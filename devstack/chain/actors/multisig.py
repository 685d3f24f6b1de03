"""Multisig: propose, approve, cancel. A failing inner call does not fail the message (actors.md §3)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import Action, call_method, taking
from devstack.chain.actors.multisig_signers import MAX_SIGNERS, SIGNER_METHODS
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import MultisigState, Transaction
from devstack.chain.table import replace
from lotus_client.actors.methods import MultisigMethod as Method
from lotus_client.actors.multisig import (
    ApproveReturn,
    ConstructorParams,
    ProposeParams,
    ProposeReturn,
    TxnIdParams,
    proposal_hash,
)
from lotus_client.address import Address
from lotus_client.types import AttoFil

__all__ = ["invoke", "locked_amount"]


def locked_amount(state: MultisigState, epoch: int) -> int:
    """What of the initial balance still vests: linear, rounded up."""
    elapsed = epoch - state.start_epoch
    if elapsed >= state.unlock_duration:
        return 0
    left = state.unlock_duration - max(elapsed, 0)
    return -(-state.initial_balance * left // state.unlock_duration)


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """A multisig's methods; unknown exported numbers are answered with nothing."""
    return call_method(runtime, _METHODS, method, params, accepts_any_exported=True)


def _construct(runtime: Runtime, params: ConstructorParams) -> bytes:
    """The state of a new multisig, its signers resolved to ids."""
    runtime.require_caller(1)
    runtime.require(
        1 <= len(params.signers) <= MAX_SIGNERS, Exit.ILLEGAL_ARGUMENT, "1 to 256 signers"
    )
    signers = tuple(runtime.resolve_id(signer) for signer in params.signers)
    for good, why in (
        (len(set(signers)) == len(signers), "a signer is listed twice"),
        (1 <= params.threshold <= len(signers), "threshold out of range"),
        (params.unlock_duration >= 0, "negative duration"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)
    state = MultisigState(signers, params.threshold)
    if params.unlock_duration:
        state = replace(
            state,
            initial_balance=runtime.value,
            start_epoch=params.start_epoch,
            unlock_duration=params.unlock_duration,
        )
    runtime.set_state(state)
    return b""


def _require_signer(runtime: Runtime) -> MultisigState:
    state: MultisigState = runtime.state
    runtime.require(runtime.caller in state.signers, Exit.FORBIDDEN, "not a signer")
    return state


def _propose(runtime: Runtime, call: ProposeParams) -> bytes:
    state = _require_signer(runtime)
    runtime.require(call.value.value >= 0, Exit.ILLEGAL_ARGUMENT, "negative value")
    txn_id = state.next_txn
    txn = Transaction(call.to, call.value.value, call.method, call.params, ())
    runtime.set_state(
        replace(state, next_txn=txn_id + 1, pending=state.pending.with_({txn_id: txn}))
    )
    applied, code, result = _add_approval(runtime, txn_id, txn)
    return ProposeReturn(txn_id, applied, code, result).to_cbor()


def _approve(runtime: Runtime, params: TxnIdParams) -> bytes:
    state = _require_signer(runtime)
    txn = _pending(runtime, params, Exit.ILLEGAL_ARGUMENT)
    if len(txn.approved) >= state.threshold:
        applied, code, result = _execute(runtime, params.txn_id, txn)
    else:
        applied, code, result = _add_approval(runtime, params.txn_id, txn)
    return ApproveReturn(applied, code, result).to_cbor()


def _cancel(runtime: Runtime, params: TxnIdParams) -> bytes:
    state = _require_signer(runtime)
    txn = _pending(runtime, params, Exit.ILLEGAL_STATE)
    runtime.require(
        txn.approved[:1] == (runtime.caller,), Exit.FORBIDDEN, "only the proposer cancels"
    )
    runtime.set_state(replace(state, pending=state.pending.without([params.txn_id])))
    return b""


def _pending(runtime: Runtime, params: TxnIdParams, mismatch: Exit) -> Transaction:
    txn: Transaction | None = runtime.state.pending.get(params.txn_id)
    runtime.require(txn, Exit.NOT_FOUND, f"no transaction {params.txn_id}")
    assert txn is not None
    if params.proposal_hash:
        requester = Address.of_id(txn.approved[0]) if txn.approved else None
        call = ProposeParams(txn.to, AttoFil(txn.value), txn.method, txn.params)
        runtime.require(
            params.proposal_hash == proposal_hash(requester, call), mismatch, "hash mismatch"
        )
    return txn


def _add_approval(runtime: Runtime, txn_id: int, txn: Transaction) -> tuple[bool, int, bytes]:
    runtime.require(runtime.caller not in txn.approved, Exit.FORBIDDEN, "already approved")
    txn = replace(txn, approved=(*txn.approved, runtime.caller))
    state: MultisigState = runtime.state
    runtime.set_state(replace(state, pending=state.pending.with_({txn_id: txn})))
    if len(txn.approved) < state.threshold:
        return False, 0, b""
    return _execute(runtime, txn_id, txn)


def _execute(runtime: Runtime, txn_id: int, txn: Transaction) -> tuple[bool, int, bytes]:
    state: MultisigState = runtime.state
    left = runtime.balance - txn.value
    locked = locked_amount(state, runtime.epoch) if txn.value else 0
    runtime.require(left >= locked, Exit.INSUFFICIENT_FUNDS, "not enough unlocked funds")
    runtime.set_state(replace(state, pending=state.pending.without([txn_id])))
    sent = runtime.send(txn.to, txn.method, txn.params, txn.value)
    return True, sent.exit_code, sent.return_


_METHODS: Final[dict[int, Action]] = {
    Method.CONSTRUCTOR: taking(ConstructorParams.from_cbor, _construct),
    Method.PROPOSE: taking(ProposeParams.from_cbor, _propose),
    Method.APPROVE: taking(TxnIdParams.from_cbor, _approve),
    Method.CANCEL: taking(TxnIdParams.from_cbor, _cancel),
    **SIGNER_METHODS,
}
