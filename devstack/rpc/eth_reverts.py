"""Failed calls as eth_call and eth_estimateGas report them. Source: Lotus `api/api_errors.go`, `chain/types/ethtypes`."""

from __future__ import annotations

from typing import Final

from devstack.chain import Invocation
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import hex_bytes
from lotus_client.actors.evm import optional_bytes
from lotus_client.actors.wire import ParamsError

__all__ = ["revert_error", "revert_reason"]

_ERROR: Final = bytes.fromhex("08c379a0")  # Error(string)
_PANIC: Final = bytes.fromhex("4e487b71")  # Panic(uint256)
_PANICS: Final = {
    0x00: "Panic()",
    0x01: "Assert()",
    0x11: "ArithmeticOverflow()",
    0x12: "DivideByZero()",
    0x21: "InvalidEnumVariant()",
    0x22: "InvalidStorageArray()",
    0x31: "PopEmptyArray()",
    0x32: "ArrayIndexOutOfBounds()",
    0x41: "OutOfMemory()",
    0x51: "CalledUninitializedFunction()",
}
_WORD: Final = 32


def revert_reason(data: bytes) -> str:
    """What a contract reverted with, in words: the text of Error(string), a panic's name, else hex."""
    if len(data) < 4 + _WORD:
        return hex_bytes(data)
    selector, body = data[:4], data[4:]
    if selector == _PANIC:
        code = int.from_bytes(body[:_WORD], "big")
        return _PANICS.get(code, f"Panic({code:#x})")
    if selector == _ERROR:
        start = int.from_bytes(body[:_WORD], "big")
        length = int.from_bytes(body[start : start + _WORD], "big")
        text = body[start + _WORD : start + _WORD + length]
        if len(text) == length and start + _WORD <= len(body):
            return f"Error({text.decode(errors='replace')})"
    return hex_bytes(data)


def revert_error(run: Invocation) -> RpcError:
    """The error of a call that failed: code 3 with the revert data."""
    code = run.receipt.exit_code
    try:
        data = optional_bytes(run.receipt.return_)
        reason = revert_reason(data) if data else "none"
    except ParamsError:
        data, reason = b"", "ERROR: revert reason is not cbor encoded bytes"
    return RpcError.reverted(
        f"message execution failed (exit=[{code}], revert reason=[{reason}], "
        f"vm error=[{run.error}])",
        data,
    )
