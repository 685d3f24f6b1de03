"""Contracts: the EVM actor's methods around `devstack.evm` (actors.md §10)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import unhandled
from devstack.chain.evm_state import EvmState, bytecode_cid
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.evm import (
    REVERTED,
    ConstructorParams,
    DelegateCallParams,
    EvmMethod,
    cbor_bytes,
    optional_bytes,
)
from lotus_client.crypto import keccak256

__all__ = ["invoke"]

_INIT, _SYSTEM, _EAM = 1, 0, 10
_LAST_RESERVED: Final = 1023
_MAX_CODE: Final = 24 << 10  # EIP-170
_NATIVE_SELECTOR: Final = bytes.fromhex("868e10c4")  # handle_filecoin_method(uint64,uint64,bytes)
_CBOR: Final = 0x51
_WORD: Final = 32


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """A contract's methods; those from 1024 on are the contract's own `handle_filecoin_method`."""
    if method == EvmMethod.CONSTRUCTOR:
        runtime.require_caller(_INIT)
        return _construct(runtime, ConstructorParams.from_cbor(params))
    if method == EvmMethod.RESURRECT:
        runtime.require_caller(_EAM)
        return _resurrect(runtime, ConstructorParams.from_cbor(params))
    if method == EvmMethod.INVOKE_CONTRACT:
        return cbor_bytes(_invoke(runtime, optional_bytes(params)))
    if method == EvmMethod.INVOKE_CONTRACT_DELEGATE:
        return _invoke_delegate(runtime, DelegateCallParams.from_cbor(params))
    if method == EvmMethod.GET_BYTECODE:
        return _get_bytecode(runtime)
    if method == EvmMethod.GET_BYTECODE_HASH:
        state = EvmState() if _is_dead(runtime) else runtime.state
        return cbor_bytes(state.code_hash)
    if method == EvmMethod.GET_STORAGE_AT:
        runtime.require_caller(_SYSTEM)
        return _storage_at(runtime, params)
    if method > _LAST_RESERVED:
        return _native_method(runtime, method, params)
    raise unhandled(method)


def _is_dead(runtime: Runtime) -> bool:
    from devstack.evm.host import origin_of

    state: EvmState = runtime.state
    return state.is_dead(*origin_of(runtime.machine))


def _get_bytecode(runtime: Runtime) -> bytes:
    """The code's CID, by which DELEGATECALL names it; null of a contract that has ended."""
    if _is_dead(runtime):
        return cbor.encode(None)
    code: bytes = runtime.state.bytecode
    cid = bytecode_cid(code)
    runtime.machine.bytecode[cid] = code
    return cbor.encode(cid)


def _run(runtime: Runtime, code: bytes, data: bytes, caller: bytes, value: int) -> bytes:
    """The frame's output; whatever makes it fail aborts with its exit code and revert data."""
    from devstack.evm import Frame, is_available, run
    from devstack.evm.host import MachineHost, eth_address, origin_of

    runtime.require(is_available(), Exit.UNHANDLED, "no EVM: the extra `devstack` is not installed")
    machine = runtime.machine
    frame = Frame(
        code=code,
        data=data,
        address=eth_address(machine, runtime.receiver),
        caller=caller,
        origin=eth_address(machine, origin_of(machine)[0]),
        value=value,
        gas=max(min(runtime.gas_limit, machine.gas_budget - machine.gas_consumed), 0),
        gas_price=machine.gas_price,
        read_only=runtime.read_only,
    )
    before = machine.gas_consumed
    outcome = run(frame, MachineHost(runtime))
    machine.gas_consumed = before + outcome.gas_used  # what it used includes what its calls did
    if outcome.exit_code:
        data = cbor_bytes(outcome.output) if outcome.exit_code == REVERTED else b""
        raise Abort(outcome.exit_code, "contract reverted" if data else "contract failed", data)
    return outcome.output


def _construct(runtime: Runtime, params: ConstructorParams) -> bytes:
    actor = runtime.machine.actors[runtime.receiver]
    runtime.require(actor.delegated is not None, Exit.FORBIDDEN, "no Ethereum address")
    if not params.initcode:
        return b""
    code = _run(runtime, params.initcode, b"", params.creator, runtime.value)
    runtime.require(len(code) <= _MAX_CODE, Exit.ILLEGAL_ARGUMENT, "the code is above 24 KiB")
    runtime.require(code[:1] != b"\xef", Exit.ILLEGAL_ARGUMENT, "code cannot begin with 0xef")
    changed = replace(runtime.state, bytecode=code, bytecode_hash=keccak256(code))
    runtime.set_state(changed)
    return b""


def _resurrect(runtime: Runtime, params: ConstructorParams) -> bytes:
    runtime.require(_is_dead(runtime), Exit.FORBIDDEN, "the contract is alive")
    runtime.set_state(EvmState())
    return _construct(runtime, params)


def _invoke(runtime: Runtime, data: bytes) -> bytes:
    from devstack.evm.host import eth_address

    code: bytes = runtime.state.bytecode
    if not code or _is_dead(runtime):
        return b""
    return _run(runtime, code, data, eth_address(runtime.machine, runtime.caller), runtime.value)


def _invoke_delegate(runtime: Runtime, params: DelegateCallParams) -> bytes:
    runtime.require_caller(runtime.receiver)
    code = runtime.machine.bytecode.get(params.code)
    if code is None:
        raise Abort(Exit.NOT_FOUND, f"no bytecode {params.code}")
    if not code:
        return cbor_bytes(b"")
    return cbor_bytes(_run(runtime, code, params.data, params.caller, params.value))


def _storage_at(runtime: Runtime, params: bytes) -> bytes:
    (slot,) = wire.fields(cbor.decode(params), 1, "GetStorageAt")
    key = wire.octets(slot).rjust(_WORD, b"\0")
    found = b"" if _is_dead(runtime) else runtime.state.storage.get(key, b"")
    return cbor_bytes(found.lstrip(b"\0"))


def _native_method(runtime: Runtime, method: int, params: bytes) -> bytes:
    """Hand a native method to the contract, and take its answer apart (both in Solidity's ABI)."""
    head = [method, _CBOR if params else 0, 3 * _WORD, len(params)]
    words = b"".join(word.to_bytes(_WORD, "big") for word in head)
    padded = params.ljust(-(-len(params) // _WORD) * _WORD, b"\0")
    output = _invoke(runtime, _NATIVE_SELECTOR + words + padded)
    if not output:
        return b""
    exit_code, codec, offset = (_word(output, at) for at in (0, _WORD, 2 * _WORD))
    length = _word(output, offset)
    start = offset + _WORD
    runtime.require(
        exit_code < 1 << 32 and length <= len(output) and (codec == _CBOR or codec == length == 0),
        Exit.SERIALIZATION, "the contract's answer is malformed",
    )  # fmt: skip
    answer = output[start : start + length].ljust(length, b"\0")
    if exit_code:
        raise Abort(exit_code, "the contract exited with a code of its own", answer)
    return answer


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _WORD].ljust(_WORD, b"\0"), "big")
