"""One execution as Parity's traces. Source: Lotus `node/impl/eth/trace.go`.

`gasUsed` is the sum of an execution's gas charges; the devnet's executions list none, so it is 0 as StateCompute shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from devstack.chain import ExecutionTrace
from devstack.chain.states import CODE_CIDS
from devstack.rpc.eth_forms import (
    hex_bytes,
    masked,
)
from devstack.rpc.eth_transactions import abi_words, native_input
from lotus_client.actors.evm import (
    EAM,
    REVERTED,
    Create2Params,
    CreateParams,
    CreateReturn,
    DelegateCallParams,
    EamMethod,
    EvmMethod,
    optional_bytes,
)
from lotus_client.actors.methods import INIT
from lotus_client.actors.system import CreatedActor
from lotus_client.actors.wire import ParamsError

__all__ = ["traces_of"]

Json = dict[str, Any]

_EVM: Final = CODE_CIDS["evm"]
_NO_CODE: Final = "0xfe"  # where bytecode is asked for that cannot be known
_EXEC, _EXEC4, _CONSTRUCTOR = 2, 3, 1
_LAST_PRIVATE: Final = 1023
_OUT_OF_GAS, _INSUFFICIENT, _FATAL, _FIRST_ACTOR_ERROR = 7, 6, 10, 16
_ERRORS: Final = {
    REVERTED: "Reverted",
    34: "invalid instruction",
    35: "undefined instruction",
    36: "stack underflow",
    37: "stack overflow",
    38: "illegal memory access",
    39: "invalid jump destination",
    40: "self destruct failed",
}


@dataclass(slots=True)
class _Caller:
    """Whose calls are being turned into traces."""

    address: bytes
    is_contract: bool
    traces: list[Json]
    count: int = 0
    last_code: bytes | None = field(default=None)  # the contract last asked for its bytecode


def _address(call: ExecutionTrace) -> bytes:
    assert call.invoked is not None
    assert call.invoked_id is not None
    delegated = call.invoked.delegated_address
    found = None if delegated is None else delegated.eth_address
    return masked(call.invoked_id) if found is None else found


def _error(call: ExecutionTrace) -> str:
    code = call.exit_code
    if code == 0:
        return ""
    if code == _OUT_OF_GAS:
        return "out of gas"
    if code < _FIRST_ACTOR_ERROR:
        return f"vm error: {code}"
    return _ERRORS.get(code, f"actor error: {code}")


def traces_of(execution: ExecutionTrace, sender: bytes) -> list[Json]:
    """The traces of a message, its own call first, then those it made, depth first."""
    caller = _Caller(sender, is_contract=False, traces=[])
    _build(caller, [], execution)
    return caller.traces


def _build(caller: _Caller, path: list[int], call: ExecutionTrace) -> None:
    """Add the traces of a call and of what it called."""
    trace, inner = _build_one(caller, path, call)
    if trace is None:
        return
    caller.traces.append(trace)
    caller.count += 1
    if inner is None or inner.invoked is None or not inner.subcalls:
        return
    callee = _Caller(_address(inner), inner.invoked.code == _EVM, caller.traces)
    for sub in inner.subcalls:
        _build(callee, [*path, callee.count], sub)
    trace["subtraces"] = callee.count


def _build_one(
    caller: _Caller, path: list[int], call: ExecutionTrace
) -> tuple[Json | None, ExecutionTrace | None]:
    """The trace of one call, None if Ethereum would show none, and the call to look into for more."""
    if call.invoked is None or (path and call.exit_code in (_INSUFFICIENT, _FATAL)):
        return None, None
    if call.method == EvmMethod.INVOKE_CONTRACT:
        return _contract_call(caller, path, call), call
    if call.to == INIT and call.method in (_EXEC, _EXEC4):
        return _native_creation(caller, path, call)
    if call.to == EAM and call.method in tuple(EamMethod):
        return _creation(caller, path, call)
    if caller.is_contract and 0 < call.method <= _LAST_PRIVATE:
        return _private_call(caller, path, call)
    return _native_call(caller, path, call), call


def _trace(kind: str, path: list[int], call: ExecutionTrace, action: Json, result: Json) -> Json:
    return {
        "type": kind,
        "error": _error(call),
        "subtraces": 0,
        "traceAddress": path,
        "action": action,
        "result": {"gasUsed": "0x0", **result},
    }


def _call(
    caller: _Caller, path: list[int], call: ExecutionTrace, given: bytes, output: bytes,
    *, kind: str = "", to: bytes | None = None,
) -> Json:  # fmt: skip
    action = {
        "callType": kind or ("staticcall" if call.read_only else "call"),
        "from": hex_bytes(caller.address),
        "to": hex_bytes(_address(call) if to is None else to),
        "gas": hex(call.gas_limit),
        "value": hex(call.value.value),
        "input": hex_bytes(given),
    }
    return _trace("call", path, call, action, {"output": hex_bytes(output)})


def _native_call(caller: _Caller, path: list[int], call: ExecutionTrace) -> Json:
    given = native_input(call.method, call.params_codec, call.params)
    output = abi_words(call.exit_code, call.return_codec, call.return_)
    return _call(caller, path, call, given, output)


def _contract_call(caller: _Caller, path: list[int], call: ExecutionTrace) -> Json:
    try:
        given, output = optional_bytes(call.params), optional_bytes(call.return_)
    except ParamsError:
        return _native_call(caller, path, call)
    return _call(caller, path, call, given, output)


def _create(
    caller: _Caller, path: list[int], call: ExecutionTrace, code: str, *,
    address: bytes | None, output: str,
) -> Json:  # fmt: skip
    action = {
        "from": hex_bytes(caller.address),
        "gas": hex(call.gas_limit),
        "value": hex(call.value.value),
        "init": code,
    }
    made = {"address": None if address is None else hex_bytes(address), "code": output}
    return _trace("create", path, call, action, made)


def _native_creation(
    caller: _Caller, path: list[int], call: ExecutionTrace
) -> tuple[Json | None, ExecutionTrace | None]:
    constructor = next((sub for sub in call.subcalls if sub.method == _CONSTRUCTOR), None)
    if call.read_only or (constructor is None and call.exit_code):
        return None, None
    address: bytes | None = None
    if call.exit_code == 0:
        address = masked(CreatedActor.from_cbor(call.return_).id_address.actor_id)
    output = "0x" if address is None else _NO_CODE
    trace = _create(caller, path, call, _NO_CODE, address=address, output=output)
    return trace, constructor


def _creation(
    caller: _Caller, path: list[int], call: ExecutionTrace
) -> tuple[Json | None, ExecutionTrace | None]:
    constructor = next(
        (
            inner
            for sub in call.subcalls
            for inner in (sub.subcalls if sub.to == INIT else (sub,))
            if inner.method in (EvmMethod.CONSTRUCTOR, EvmMethod.RESURRECT)
        ),
        None,
    )
    if call.read_only or constructor is None:
        return None, None
    address: bytes | None = None
    output = "0x"
    if call.exit_code == 0:
        address, output = CreateReturn.from_cbor(call.return_).eth_address, _NO_CODE
    elif call.exit_code == REVERTED:
        output = hex_bytes(optional_bytes(constructor.return_))
    code = hex_bytes(_initcode(call))
    return _create(caller, path, call, code, address=address, output=output), constructor


def _initcode(call: ExecutionTrace) -> bytes:
    if call.method == EamMethod.CREATE:
        return CreateParams.from_cbor(call.params).initcode
    if call.method == EamMethod.CREATE2:
        return Create2Params.from_cbor(call.params).initcode
    return optional_bytes(call.params)


def _private_call(
    caller: _Caller, path: list[int], call: ExecutionTrace
) -> tuple[Json | None, ExecutionTrace | None]:
    """What a contract does by itself: only a DELEGATECALL shows, made of two such calls."""
    if call.method == EvmMethod.GET_BYTECODE:
        caller.last_code = _address(call) if call.exit_code == 0 else None
    if call.method != EvmMethod.INVOKE_CONTRACT_DELEGATE or caller.last_code is None:
        return None, None
    given = DelegateCallParams.from_cbor(call.params).data
    output = optional_bytes(call.return_)
    trace = _call(caller, path, call, given, output, kind="delegatecall", to=caller.last_code)
    return trace, call
