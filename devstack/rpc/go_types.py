"""The Go types of actors' params and returns: between their CBOR and the JSON that Lotus prints and reads.

A JSON `null` or a missing field is Go's zero value; an empty list or byte string prints as `null`, as cbor-gen leaves it nil.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from devstack.rpc.encode import address_json, bytes_json, cid_json
from devstack.rpc.params import (
    decode_address,
    decode_amount,
    decode_bitfield,
    decode_bool,
    decode_bytes,
    decode_cid,
    decode_int,
    decode_list,
    decode_object,
    decode_string,
)
from lotus_client.actors import wire
from lotus_client.actors.wire import ParamsError
from lotus_client.address import Address
from lotus_client.bitfield import BitField

__all__ = [
    "ADDRESS",
    "BIG",
    "BITFIELD",
    "BOOL",
    "BYTES",
    "CID",
    "EMPTY",
    "INT",
    "SIGNATURE",
    "TEXT",
    "UINT",
    "GoType",
    "MethodTypes",
    "maybe",
    "slice_of",
    "struct",
]


@dataclass(frozen=True, slots=True)
class GoType:
    """One type. `to_json` takes a decoded CBOR value, `to_cbor` gives one; ValueError says what does not fit."""

    to_json: Callable[[Any], Any]
    to_cbor: Callable[[Any], Any]


MethodTypes = tuple[GoType, GoType]  # a method's params and its return


def _address_to_json(value: Any) -> str:
    raw = wire.octets(value)
    return address_json(Address.from_bytes(raw) if raw else None)


def _address_to_cbor(value: Any) -> bytes:
    address = decode_address(value)
    return b"" if address is None else address.to_bytes()


def _bytes_to_json(value: Any) -> str | None:
    return bytes_json(wire.octets(value) or None)


def _signature_to_json(value: Any) -> dict[str, Any]:
    raw = wire.octets(value)
    if not raw:
        raise ParamsError("a signature has at least its type byte")
    return {"Type": raw[0], "Data": base64.b64encode(raw[1:]).decode()}


def _signature_to_cbor(value: Any) -> bytes:
    body = decode_object(value)
    return bytes((decode_int(body.get("Type"), 0, 255),)) + decode_bytes(body.get("Data"))


def _bitfield_to_cbor(value: Any) -> bytes:
    return (decode_bitfield(value) or BitField()).encode()


ADDRESS: Final = GoType(_address_to_json, _address_to_cbor)
BIG: Final = GoType(
    lambda value: str(wire.big(value)), lambda value: wire.big_bytes(decode_amount(value))
)
BITFIELD: Final = GoType(lambda value: wire.bitfield(value).run_lengths(), _bitfield_to_cbor)
BOOL: Final = GoType(wire.boolean, decode_bool)
BYTES: Final = GoType(_bytes_to_json, decode_bytes)
CID: Final = GoType(lambda value: cid_json(wire.link(value)), decode_cid)
INT: Final = GoType(wire.integer, lambda value: decode_int(value, high=(1 << 63) - 1))
SIGNATURE: Final = GoType(_signature_to_json, _signature_to_cbor)
TEXT: Final = GoType(wire.text, decode_string)
UINT: Final = GoType(wire.unsigned, lambda value: decode_int(value, 0))
EMPTY: Final = GoType(lambda _value: {}, lambda _value: None)  # abi.EmptyValue: no bytes at all


def slice_of(item: GoType) -> GoType:
    """A list."""

    def to_json(value: Any) -> list[Any] | None:
        return list(wire.items(value, item.to_json, "a list")) or None

    return GoType(to_json, lambda value: decode_list(value, item.to_cbor))


def maybe(inner: GoType) -> GoType:
    """A pointer, which may be nil."""
    return GoType(
        lambda value: None if value is None else inner.to_json(value),
        lambda value: None if value is None else inner.to_cbor(value),
    )


def struct(**fields: GoType) -> GoType:
    """A struct: a JSON object by its Go field names, a CBOR array in their order."""

    def to_json(value: Any) -> dict[str, Any]:
        items = wire.fields(value, len(fields), f"a struct of {', '.join(fields)}")
        return {
            name: kind.to_json(item)
            for (name, kind), item in zip(fields.items(), items, strict=True)
        }

    def to_cbor(value: Any) -> list[Any]:
        body = {} if value is None else decode_object(value)
        return [kind.to_cbor(body.get(name)) for name, kind in fields.items()]

    return GoType(to_json, to_cbor)
