"""DataCap token f07: what of FRC-46 the story needs (actors.md §5).

Allowances, and so TransferFrom and BurnFrom, are left out: only the market uses them, and the devnet has none.
State and balances are whole bytes; on the wire one byte is 10**18 tokens. From network version 29 balances freeze.
"""

from __future__ import annotations

from devstack.chain.actors.basic import unhandled
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import DatacapState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.datacap import (
    DATACAP_PRECISION,
    BurnParams,
    MintParams,
    MintReturn,
    ReceiverParams,
    TransferParams,
    TransferReturn,
)
from lotus_client.actors.methods import RECEIVE, DatacapMethod
from lotus_client.address import Address

__all__ = ["invoke"]

_REGISTRY = 6


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f07's methods."""
    if method == DatacapMethod.NAME:
        return cbor.encode("DataCap")
    if method == DatacapMethod.SYMBOL:
        return cbor.encode("DCAP")
    if method == DatacapMethod.GRANULARITY:
        return cbor.encode(DATACAP_PRECISION)
    if method == DatacapMethod.TOTAL_SUPPLY:
        return cbor.encode(wire.big_bytes(runtime.state.supply * DATACAP_PRECISION))
    if method == DatacapMethod.BALANCE:
        return _balance(runtime, params)
    if method not in (DatacapMethod.TRANSFER, DatacapMethod.MINT, DatacapMethod.BURN):
        raise unhandled(method)
    if runtime.network_version >= 29:
        # FIP-0118 freezes balances; 18 is our guess at the exit code
        raise Abort(Exit.FORBIDDEN, "DataCap is frozen since network version 29")
    if method == DatacapMethod.TRANSFER:
        return _transfer(runtime, TransferParams.from_cbor(params))
    if method == DatacapMethod.MINT:
        return _mint(runtime, MintParams.from_cbor(params))
    return _burn(runtime, BurnParams.from_cbor(params))


def _balance(runtime: Runtime, params: bytes) -> bytes:
    raw = cbor.decode(params)
    runtime.require(isinstance(raw, bytes), Exit.SERIALIZATION, "expected an address")
    assert isinstance(raw, bytes)
    holder = runtime.machine.resolve(Address.from_bytes(raw))
    held = 0 if holder is None else runtime.state.balances.get(holder, 0)
    return cbor.encode(wire.big_bytes(held * DATACAP_PRECISION))


def _whole_bytes(runtime: Runtime, amount: int) -> int:
    size, rest = divmod(amount, DATACAP_PRECISION)
    runtime.require(
        amount >= 0 and not rest, Exit.ILLEGAL_ARGUMENT, "amounts are whole bytes, not negative"
    )
    return size


def _set_balance(runtime: Runtime, changes: dict[int, int], supply: int = 0) -> None:
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


def _transfer(runtime: Runtime, params: TransferParams) -> bytes:
    source = runtime.caller
    target = runtime.resolve_id(params.to)
    runtime.require(
        _REGISTRY in (source, target), Exit.FORBIDDEN, "DataCap moves only to and from f06"
    )
    size = _whole_bytes(runtime, params.amount)
    if source == target:
        raise Abort(Exit.ILLEGAL_ARGUMENT, "a transfer to oneself")
    _set_balance(runtime, {source: -size, target: size})
    answer = _tell(runtime, source, target, params.amount, params.operator_data)
    balances: dict[int, int] = runtime.state.balances
    return TransferReturn(
        balances.get(source, 0) * DATACAP_PRECISION,
        balances.get(target, 0) * DATACAP_PRECISION,
        answer,
    ).to_cbor()


def _mint(runtime: Runtime, params: MintParams) -> bytes:
    runtime.require_caller(_REGISTRY)
    target = runtime.resolve_id(params.to)
    size = _whole_bytes(runtime, params.amount)
    _set_balance(runtime, {target: size}, supply=size)
    answer = _tell(runtime, _REGISTRY, target, params.amount, b"")
    state: DatacapState = runtime.state
    held = state.balances.get(target, 0) * DATACAP_PRECISION
    return MintReturn(held, state.supply * DATACAP_PRECISION, answer).to_cbor()


def _burn(runtime: Runtime, params: BurnParams) -> bytes:
    size = _whole_bytes(runtime, params.amount)
    _set_balance(runtime, {runtime.caller: -size}, supply=-size)
    held = runtime.state.balances.get(runtime.caller, 0)
    return BurnParams(held * DATACAP_PRECISION).to_cbor()
