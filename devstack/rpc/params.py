"""JSON parameters to values. A missing struct field is Go's zero value; a wrong form is a ValueError.

Source: Lotus' and go-state-types' `UnmarshalJSON` methods.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from devstack.rpc.methods import Param
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import Signature, SignatureType
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil

__all__ = [
    "ADDRESS",
    "ADDRESSES",
    "AMOUNT",
    "ANY",
    "BOOL",
    "BYTES",
    "CID",
    "EPOCH",
    "FLOAT",
    "INT64",
    "MESSAGE",
    "MESSAGES",
    "OPTIONAL_BITFIELD",
    "OPTIONAL_MESSAGES",
    "SEND_SPEC",
    "SIGNATURE",
    "SIGNED_MESSAGE",
    "SIGNED_MESSAGES",
    "STRING",
    "STRINGS",
    "TIPSET_KEY",
    "UINT64",
    "SendSpec",
    "decode_address",
    "decode_amount",
    "decode_bitfield",
    "decode_bool",
    "decode_bytes",
    "decode_cid",
    "decode_float",
    "decode_int",
    "decode_list",
    "decode_message",
    "decode_object",
    "decode_string",
    "decode_tipset_key",
]

T = TypeVar("T")

_UNDEFINED_ADDRESS = ("", "<empty>")


@dataclass(frozen=True, slots=True)
class SendSpec:
    """`MessageSendSpec`: the fee bound and the idempotency key of `MpoolPushMessage`."""

    max_fee: AttoFil = AttoFil(0)
    uuid: str | None = None
    maximize_fee_cap: bool = False


def decode_object(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise _wrong("an object", value)
    return value


def decode_list(value: Any, decode: Callable[[Any], T]) -> list[T]:
    """A JSON array of items; `null` is the empty list, as a nil slice."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong("an array", value)
    return [decode(item) for item in value]


def decode_int(value: Any, low: int = -(1 << 63), high: int = (1 << 64) - 1) -> int:
    """A JSON whole number within the bounds; `null` leaves the zero value, as Go's decoder does."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("a whole number", value)
    if not low <= value <= high:
        raise ValueError(f"number {value} is out of range")
    return value


def decode_string(value: Any) -> str:
    """A JSON string; `null` is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong("a string", value)
    return value


def decode_bool(value: Any) -> bool:
    """A JSON bool; `null` is false."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def decode_float(value: Any) -> float:
    """A JSON number; `null` is zero."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong("a number", value)
    return float(value)


def decode_bytes(value: Any) -> bytes:
    """Standard base64 text; `null` is no bytes."""
    if value is None:
        return b""
    try:
        return base64.b64decode(decode_string(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"illegal base64 data: {error}") from error


def decode_cid(value: Any) -> Cid:
    """`{"/": "bafy…"}`."""
    if not isinstance(value, dict) or set(value) != {"/"} or not isinstance(value["/"], str):
        raise ValueError("invalid cid json blob")
    return Cid.parse(value["/"])


def decode_address(value: Any) -> Address | None:
    """An address text; the undefined address (`""`, `"<empty>"`) is None."""
    text = decode_string(value)
    return None if text in _UNDEFINED_ADDRESS else Address.parse(text)


def decode_tipset_key(value: Any) -> TipSetKey:
    """An array of CIDs; `null` and `[]` mean the current head."""
    return TipSetKey(tuple(decode_list(value, decode_cid)))


def decode_bitfield(value: Any) -> BitField | None:
    """The set of a run-length array that begins with the unset run; `null` is None (no filter)."""
    if value is None:
        return None
    return BitField.from_run_lengths(decode_list(value, lambda run: decode_int(run, 0)))


def _decode_required_address(value: Any) -> Address:
    address = decode_address(value)
    if address is None:
        raise ValueError("the undefined address is not allowed here")
    return address


def decode_amount(value: Any) -> AttoFil:
    """A decimal string; `null` is zero."""
    text = "0" if value is None else decode_string(value)
    if not text:
        raise ValueError("failed to parse bigint string: '\"\"'")
    return AttoFil.parse(text)


def decode_message(value: Any) -> Message:
    """An unsigned message; its `CID` is not read."""
    body = decode_object(value)
    return Message(
        version=decode_int(body.get("Version"), 0),
        to=_decode_required_address(body.get("To")),
        from_=_decode_required_address(body.get("From")),
        nonce=decode_int(body.get("Nonce"), 0),
        value=decode_amount(body.get("Value")),
        gas_limit=decode_int(body.get("GasLimit"), high=(1 << 63) - 1),
        gas_fee_cap=decode_amount(body.get("GasFeeCap")),
        gas_premium=decode_amount(body.get("GasPremium")),
        method=decode_int(body.get("Method"), 0),
        params=decode_bytes(body.get("Params")),
    )


def _decode_signature(value: Any) -> Signature:
    body = decode_object(value)
    return Signature(
        SignatureType(decode_int(body.get("Type"), 0, 255)), decode_bytes(body.get("Data"))
    )


def _decode_signed_message(value: Any) -> SignedMessage:
    body = decode_object(value)
    return SignedMessage(
        decode_message(body.get("Message")), _decode_signature(body.get("Signature"))
    )


def _decode_send_spec(value: Any) -> SendSpec:
    if value is None:
        return SendSpec()
    body = decode_object(value)
    uuid = decode_string(body.get("MsgUuid")) or None
    if uuid is not None and not uuid.strip("0-"):
        uuid = None  # the all-zero UUID asks the node to make one up
    return SendSpec(
        decode_amount(body.get("MaxFee")), uuid, decode_bool(body.get("MaximizeFeeCap"))
    )


def _wrong(expected: str, value: Any) -> ValueError:
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return ValueError(f"expected {expected}, got {names.get(type(value), 'number')}")


ADDRESSES = Param("[]address.Address", lambda value: decode_list(value, _decode_required_address))
AMOUNT = Param("types.BigInt", decode_amount)
ANY = Param("interface {}", lambda value: value)
ADDRESS = Param("address.Address", decode_address)
BOOL = Param("bool", decode_bool)
BYTES = Param("[]uint8", decode_bytes)
CID = Param("cid.Cid", decode_cid)
EPOCH = Param("abi.ChainEpoch", lambda value: decode_int(value, high=(1 << 63) - 1))
FLOAT = Param("float64", decode_float)
INT64 = Param("int64", lambda value: decode_int(value, high=(1 << 63) - 1))
MESSAGE = Param("*types.Message", decode_message)
MESSAGES = Param("[]*types.Message", lambda value: decode_list(value, decode_message))
OPTIONAL_BITFIELD = Param("*bitfield.BitField", decode_bitfield)
OPTIONAL_MESSAGES = Param("[]*types.Message", lambda value: decode_list(value, decode_message))
SEND_SPEC = Param("*api.MessageSendSpec", _decode_send_spec)
SIGNATURE = Param("*crypto.Signature", _decode_signature)
SIGNED_MESSAGE = Param("*types.SignedMessage", _decode_signed_message)
SIGNED_MESSAGES = Param(
    "[]*types.SignedMessage", lambda value: decode_list(value, _decode_signed_message)
)
STRING = Param("string", decode_string)
STRINGS = Param("[]string", lambda value: decode_list(value, decode_string))
TIPSET_KEY = Param("types.TipSetKey", decode_tipset_key)
UINT64 = Param("uint64", lambda value: decode_int(value, 0))
