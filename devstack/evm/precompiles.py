"""The FEVM's own precompiles: contracts reach native actors through them.

Source: builtin-actors `actors/evm/src/interpreter/precompiles/{mod,fvm}.rs`, FIP-0054. 0xfe…04 is a hole there too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devstack.chain.machine import Runtime
from devstack.evm.interface import CallKind, CallResult
from lotus_client.address import Address, AddressError

__all__ = ["NATIVE", "PrecompileCall", "PrecompileError", "is_reserved"]

_WORD: Final = 32
_CBOR: Final = 0x51
_LAST_RESERVED_METHOD: Final = 1023
_SYSTEM_ERRORS: Final = (5, 6, 7)  # what a send itself fails with; shown negative


class PrecompileError(ValueError):
    """Input that a precompile refuses; the call of it fails."""


@dataclass(frozen=True, slots=True)
class PrecompileCall:
    """What a precompile is called with. `send` makes a call of the machine and gives its result and exit code."""

    runtime: Runtime
    kind: CallKind
    data: bytes
    send: Callable[[Address, int, bytes, int, bool], tuple[CallResult, int]]


class _Words:
    """Solidity's words, right-padded with zeros as if the input went on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def number(self, bits: int = 256) -> int:
        value = int.from_bytes(self.octets(_WORD), "big")
        if value >> bits:
            raise PrecompileError(f"a number does not fit in {bits} bits")
        return value

    def octets(self, length: int) -> bytes:
        if length > len(self._data) + _WORD:
            raise PrecompileError("a length beyond the input")
        found = self._data[self.at : self.at + length].ljust(length, b"\0")
        self.at += length
        return found

    def bytes_at(self, offset: int) -> bytes:
        self.at = offset
        return self.octets(self.number(32))


def _resolve_address(call: PrecompileCall) -> CallResult:
    try:
        address = Address.from_bytes(call.data)
    except AddressError as error:
        raise PrecompileError(str(error)) from error
    found = call.runtime.machine.resolve(address)
    return CallResult(True, b"" if found is None else found.to_bytes(_WORD, "big"), 0)


def _lookup_delegated(call: PrecompileCall) -> CallResult:
    actor = call.runtime.machine.actor(_Words(call.data).number(64))
    delegated = None if actor is None else actor.delegated
    return CallResult(True, b"" if delegated is None else delegated.to_bytes(), 0)


def _call_actor(call: PrecompileCall, *, by_id: bool) -> CallResult:
    if call.kind is not CallKind.DELEGATE:
        raise PrecompileError("call_actor is called with DELEGATECALL only")
    words = _Words(call.data)
    method, value, flags = words.number(64), words.number(), words.number(64)
    codec, params_at, target = words.number(64), words.number(32), words.number(64)
    params = words.bytes_at(params_at)
    if flags > 1:
        raise PrecompileError(f"unknown send flags {flags}")
    if codec != _CBOR and (codec or params):
        raise PrecompileError(f"codec {codec} is not CBOR")
    if 0 < method <= _LAST_RESERVED_METHOD:
        raise PrecompileError(f"method {method} is reserved")
    try:
        address = Address.of_id(target) if by_id else Address.from_bytes(words.bytes_at(target))
    except AddressError as error:
        raise PrecompileError(str(error)) from error
    result, exit_code = call.send(address, method, params, value, flags == 1)
    return CallResult(True, _answer(exit_code, result.output), result.gas_used)


def _answer(exit_code: int, data: bytes) -> bytes:
    """(int256 exit code, uint64 codec, bytes return) in Solidity's ABI; system errors are negative."""
    shown = -exit_code if exit_code in _SYSTEM_ERRORS else exit_code
    head = [shown % (1 << 256), _CBOR if data else 0, 3 * _WORD, len(data)]
    padded = data.ljust(-(-len(data) // _WORD) * _WORD, b"\0")
    return b"".join(word.to_bytes(_WORD, "big") for word in head) + padded


def _call_by_address(call: PrecompileCall) -> CallResult:
    return _call_actor(call, by_id=False)


def _call_by_id(call: PrecompileCall) -> CallResult:
    return _call_actor(call, by_id=True)


def _native(index: int) -> bytes:
    return b"\xfe" + bytes(18) + bytes((index,))


NATIVE: Final[dict[bytes, Callable[[PrecompileCall], CallResult]]] = {
    _native(1): _resolve_address,
    _native(2): _lookup_delegated,
    _native(3): _call_by_address,
    _native(5): _call_by_id,
}


def is_reserved(address: bytes) -> bool:
    """Whether no contract may have this address: precompiles, masked ids, zero (builtin-actors `actors/eam`)."""
    precompile = address[0] in (0x00, 0xFE) and not any(address[1:19])
    masked = address[0] == 0xFF and not any(address[1:12])
    return precompile or masked
