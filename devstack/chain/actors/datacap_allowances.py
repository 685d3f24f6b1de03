"""DataCap token f07: what operators may spend of a holder's tokens (FRC-46)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import Action, taking
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import DatacapState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.datacap import (
    INFINITE_ALLOWANCE,
    AllowanceChange,
    AllowanceQuery,
    RevokeAllowanceParams,
)
from lotus_client.actors.methods import DatacapMethod as Method

__all__ = ["ALLOWANCE_METHODS", "allow_without_limit", "spend_allowance"]


def _allowed(state: DatacapState, owner: int, operator: int) -> int:
    mine = state.allowances.get(owner)
    return mine.get(operator, 0) if mine is not None else 0


def _allow(runtime: Runtime, owner: int, operator: int, amount: int) -> None:
    """Set an allowance; one of nothing has no entry."""
    state: DatacapState = runtime.state
    mine = {**state.allowances.get(owner, {}), operator: amount}
    mine = {one: tokens for one, tokens in mine.items() if tokens}
    every = state.allowances
    allowances = every.with_({owner: mine}) if mine else every.without([owner])
    runtime.set_state(replace(state, allowances=allowances))


def allow_without_limit(runtime: Runtime, owner: int, operator: int) -> None:
    """The allowance that Mint gives to the operators it names."""
    _allow(runtime, owner, operator, INFINITE_ALLOWANCE)


def spend_allowance(runtime: Runtime, owner: int, amount: int) -> int:
    """Take tokens from what the caller may spend of the owner's; what is left of the allowance."""
    left = _allowed(runtime.state, owner, runtime.caller) - amount
    runtime.require(left >= 0, Exit.INSUFFICIENT_FUNDS, "the allowance is too small")
    _allow(runtime, owner, runtime.caller, left)
    return left


def _query(runtime: Runtime, params: AllowanceQuery) -> bytes:
    """Addresses that are not on chain have and give nothing."""
    owner = runtime.machine.resolve(params.owner)
    operator = runtime.machine.resolve(params.operator)
    allowed = 0
    if owner is not None and operator is not None:
        allowed = _allowed(runtime.state, owner, operator)
    return cbor.encode(wire.big_bytes(allowed))


def _increase(runtime: Runtime, params: AllowanceChange) -> bytes:
    return _add(runtime, params, 1)


def _decrease(runtime: Runtime, params: AllowanceChange) -> bytes:
    return _add(runtime, params, -1)


def _add(runtime: Runtime, params: AllowanceChange, sign: int) -> bytes:
    runtime.require(params.amount >= 0, Exit.ILLEGAL_ARGUMENT, "negative allowance")
    operator = runtime.resolve_id(params.operator)
    before = _allowed(runtime.state, runtime.caller, operator)
    after = max(before + sign * params.amount, 0)
    _allow(runtime, runtime.caller, operator, after)
    return cbor.encode(wire.big_bytes(after))


def _revoke(runtime: Runtime, params: RevokeAllowanceParams) -> bytes:
    """The return is what the allowance was."""
    operator = runtime.resolve_id(params.operator)
    before = _allowed(runtime.state, runtime.caller, operator)
    _allow(runtime, runtime.caller, operator, 0)
    return cbor.encode(wire.big_bytes(before))


ALLOWANCE_METHODS: Final[dict[int, Action]] = {
    Method.ALLOWANCE: taking(AllowanceQuery.from_cbor, _query),
    Method.INCREASE_ALLOWANCE: taking(AllowanceChange.from_cbor, _increase),
    Method.DECREASE_ALLOWANCE: taking(AllowanceChange.from_cbor, _decrease),
    Method.REVOKE_ALLOWANCE: taking(RevokeAllowanceParams.from_cbor, _revoke),
}
