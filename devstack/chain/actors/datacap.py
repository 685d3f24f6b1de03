"""DataCap token f07, FRC-46 (actors.md §5).

Balances are whole bytes; on the wire one byte is 10**18 tokens. Allowances are in tokens, as FRC-46 lets them be any
amount. From network version 29 (FIP-0118) balances freeze; 18 is our guess at the exit code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from devstack.chain.actors import dispatch
from devstack.chain.actors.datacap_allowances import (
    ALLOWANCE_METHODS,
    allow_without_limit,
    spend_allowance,
)
from devstack.chain.actors.dispatch import Action, call_method, plain, taking
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import DatacapState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.datacap import (
    DATACAP_PRECISION,
    BurnFromParams,
    BurnFromReturn,
    BurnParams,
    MintParams,
    MintReturn,
    ReceiverParams,
    TransferFromParams,
    TransferFromReturn,
    TransferParams,
    TransferReturn,
)
from lotus_client.actors.methods import RECEIVE
from lotus_client.actors.methods import DatacapMethod as Method
from lotus_client.address import Address

__all__ = ["invoke"]

P = TypeVar("P")
_REGISTRY = 6


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f07's methods."""
    return call_method(runtime, _METHODS, method, params)


def _name(_runtime: Runtime) -> bytes:
    return cbor.encode("DataCap")


def _symbol(_runtime: Runtime) -> bytes:
    return cbor.encode("DCAP")


def _granularity(_runtime: Runtime) -> bytes:
    return cbor.encode(DATACAP_PRECISION)


def _total_supply(runtime: Runtime) -> bytes:
    return _tokens(runtime.state.supply)


def _balance(runtime: Runtime, holder: Address) -> bytes:
    found = runtime.machine.resolve(holder)
    return _tokens(0 if found is None else runtime.state.balances.get(found, 0))


def _tokens(size: int) -> bytes:
    return cbor.encode(wire.big_bytes(size * DATACAP_PRECISION))


def _moving(read: Callable[[bytes], P], action: Callable[[Runtime, P], bytes]) -> Action:
    """A method that changes balances, which no method does from network version 29 on."""
    inner = taking(read, action)

    def run(runtime: Runtime, params: bytes) -> bytes:
        if runtime.network_version >= 29:
            raise Abort(Exit.FORBIDDEN, "DataCap is frozen since network version 29")
        return inner(runtime, params)

    return run


def _whole_bytes(runtime: Runtime, amount: int) -> int:
    size, rest = divmod(amount, DATACAP_PRECISION)
    runtime.require(
        amount >= 0 and not rest, Exit.ILLEGAL_ARGUMENT, "amounts are whole bytes, not negative"
    )
    return size


def _change(runtime: Runtime, changes: dict[int, int], supply: int = 0) -> None:
    """Add to balances and supply; a holder of nothing has no entry."""
    state: DatacapState = runtime.state
    after = {holder: state.balances.get(holder, 0) + change for holder, change in changes.items()}
    runtime.require(
        all(held >= 0 for held in after.values()), Exit.INSUFFICIENT_FUNDS, "not enough DataCap"
    )
    balances = state.balances.with_(after).without(
        holder for holder, held in after.items() if held == 0
    )
    runtime.set_state(replace(state, balances=balances, supply=state.supply + supply))


def _tell(runtime: Runtime, source: int, target: int, amount: int, data: bytes) -> bytes:
    """The receiver's answer to its tokens; if it refuses, so does the whole call, with its code."""
    hook = ReceiverParams(source, target, runtime.caller, amount, data)
    return runtime.must_send(Address.of_id(target), RECEIVE, hook.to_cbor())


def _held(runtime: Runtime, holder: int) -> int:
    held: int = runtime.state.balances.get(holder, 0)
    return held * DATACAP_PRECISION


def _transfer(runtime: Runtime, params: TransferParams) -> bytes:
    source = runtime.caller
    target = runtime.resolve_id(params.to)
    runtime.require(
        _REGISTRY in (source, target), Exit.FORBIDDEN, "DataCap moves only to and from f06"
    )
    size = _whole_bytes(runtime, params.amount)
    if source == target:
        runtime.require(_held(runtime, source) >= params.amount, Exit.INSUFFICIENT_FUNDS, "short")
    else:
        _change(runtime, {source: -size, target: size})
    answer = _tell(runtime, source, target, params.amount, params.operator_data)
    return TransferReturn(_held(runtime, source), _held(runtime, target), answer).to_cbor()


def _transfer_from(runtime: Runtime, params: TransferFromParams) -> bytes:
    """An operator spends its allowance; only to f06, as everything but f06's own transfers."""
    target = runtime.resolve_id(params.to)
    runtime.require(target == _REGISTRY, Exit.FORBIDDEN, "DataCap moves only to f06")
    size = _whole_bytes(runtime, params.amount)
    source = _other_holder(runtime, params.from_)
    left = spend_allowance(runtime, source, params.amount)
    _change(runtime, {source: -size, target: size})
    answer = _tell(runtime, source, target, params.amount, params.operator_data)
    balances = (_held(runtime, source), _held(runtime, target))
    return TransferFromReturn(*balances, left, answer).to_cbor()


def _other_holder(runtime: Runtime, owner: Address) -> int:
    """The holder whose tokens the caller spends as its operator."""
    found = runtime.machine.resolve(owner)
    runtime.require(found is not None, Exit.INSUFFICIENT_FUNDS, f"{owner} holds nothing")
    assert found is not None
    runtime.require(found != runtime.caller, Exit.ILLEGAL_ARGUMENT, "nobody operates for itself")
    return found


def _mint(runtime: Runtime, params: MintParams) -> bytes:
    runtime.require_caller(_REGISTRY)
    target = runtime.resolve_id(params.to)
    size = _whole_bytes(runtime, params.amount)
    _change(runtime, {target: size}, supply=size)
    for operator in params.operators:
        allow_without_limit(runtime, target, runtime.resolve_id(operator))
    answer = _tell(runtime, _REGISTRY, target, params.amount, b"")
    supply = runtime.state.supply * DATACAP_PRECISION
    return MintReturn(_held(runtime, target), supply, answer).to_cbor()


def _burn(runtime: Runtime, params: BurnParams) -> bytes:
    size = _whole_bytes(runtime, params.amount)
    _change(runtime, {runtime.caller: -size}, supply=-size)
    return BurnParams(_held(runtime, runtime.caller)).to_cbor()


def _burn_from(runtime: Runtime, params: BurnFromParams) -> bytes:
    size = _whole_bytes(runtime, params.amount)
    owner = _other_holder(runtime, params.owner)
    left = spend_allowance(runtime, owner, params.amount)
    _change(runtime, {owner: -size}, supply=-size)
    return BurnFromReturn(_held(runtime, owner), left).to_cbor()


def _destroy(runtime: Runtime, params: BurnFromParams) -> bytes:
    runtime.require_caller(_REGISTRY)
    size = _whole_bytes(runtime, params.amount)
    owner = runtime.resolve_id(params.owner)
    _change(runtime, {owner: -size}, supply=-size)
    return BurnParams(_held(runtime, owner)).to_cbor()


_METHODS: Final[dict[int, Action]] = {
    Method.NAME: plain(_name),
    Method.SYMBOL: plain(_symbol),
    Method.GRANULARITY: plain(_granularity),
    Method.TOTAL_SUPPLY: plain(_total_supply),
    Method.BALANCE: taking(dispatch.address, _balance),
    Method.TRANSFER: _moving(TransferParams.from_cbor, _transfer),
    Method.TRANSFER_FROM: _moving(TransferFromParams.from_cbor, _transfer_from),
    Method.MINT: _moving(MintParams.from_cbor, _mint),
    Method.BURN: _moving(BurnParams.from_cbor, _burn),
    Method.BURN_FROM: _moving(BurnFromParams.from_cbor, _burn_from),
    Method.DESTROY: _moving(BurnFromParams.from_cbor, _destroy),
    **ALLOWANCE_METHODS,
}
