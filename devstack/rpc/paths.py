"""Paths through blocks, as `ChainGetNode` takes them (Lotus `node/impl/full/chain.go`, `resolveOnce`).

`/ipfs/CID/0/…` follows lists by index, maps by key, and links. Three steps look into state maps: `@Ha:ADDRESS`, `@Hi:NUMBER`
and `@Hu:NUMBER` (or `@H:KEY`) into a HAMT of bit width 5, `@A:INDEX` into an AMT; `@state` turns an actor's record into its state.
A value from inside a block is given the CID of itself as a block, under sha2-256.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from devstack.chain.blocks import BlockIndex
from devstack.chain.table import signed_varint
from devstack.rpc.encode import cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.state_json import actor_state_json
from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.cid import DAG_CBOR, RAW, Cid, CidError
from lotus_client.varint import encode_uvarint

__all__ = ["resolve_path"]

_BIT_WIDTH = 5


@dataclass(frozen=True, slots=True)
class _Node:
    cid: Cid
    value: Any


def resolve_path(blocks: BlockIndex, path: str) -> dict[str, Any]:
    """The `IpldObject` at the path.

    Raises:
        RpcError: not a path, or it leads nowhere.
    """
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["ipfs"]:
        parts = parts[1:]
    try:
        root = Cid.parse(parts[0] if parts else "")
    except CidError as error:
        raise RpcError(1, f"parsing path: invalid path {path!r}: {error}") from error
    found = _load(blocks, root)
    names = parts[1:]
    while names:
        found, names = _step(blocks, found, names)
    return {"Cid": cid_json(found.cid), "Obj": _json(found.value)}


def _load(blocks: BlockIndex, cid: Cid) -> _Node:
    block = blocks.get(cid)
    if block is None:
        raise RpcError(1, f"block was not found locally (offline): ipld: could not find {cid}")
    return _Node(cid, block if cid.codec == RAW else cbor.decode(block))


def _step(blocks: BlockIndex, node: _Node, names: list[str]) -> tuple[_Node, list[str]]:
    """The node that the first names lead to, and the rest of them."""
    first, rest = names[0], names[1:]
    if first.startswith("@H"):
        return _inside(blocks, _in_hamt(blocks, node, _hamt_key(first))), rest
    if first.startswith("@A:"):
        return _inside(blocks, _in_amt(blocks, node, _number(first[3:], "parsing amt index"))), rest
    if first == "@state":
        return _actor_state(blocks, node), rest
    value = node.value
    for at, name in enumerate(names):
        value = _child(value, name)
        if isinstance(value, Cid):
            return _load(blocks, value), names[at + 1 :]
    raise RpcError(1, "non-link found at given path")


def _child(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        if name not in value:
            raise RpcError(1, "no such link found")
        return value[name]
    if not isinstance(value, list):
        raise RpcError(1, "tried to resolve through object that had no links")
    if not name.isdecimal():
        raise RpcError(1, f'strconv.Atoi: parsing "{name}": invalid syntax')
    if int(name) >= len(value):
        raise RpcError(1, "array index out of range")
    return value[int(name)]


def _inside(blocks: BlockIndex, value: Any) -> _Node:
    """A value of a map as a node: what it links to, or itself."""
    if isinstance(value, Cid):
        return _load(blocks, value)
    return _wrapped(value)


def _wrapped(value: Any) -> _Node:
    return _Node(Cid.of_sha2_256(DAG_CBOR, cbor.encode(value)), value)


def _number(text: str, doing: str, lowest: int = 0) -> int:
    digits = text[1:] if lowest < 0 and text.startswith("-") else text
    if not digits.isdecimal():
        raise RpcError(1, f'{doing}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _hamt_key(name: str) -> bytes:
    kind, _, text = name.partition(":")
    if kind == "@Ha":
        try:
            return Address.parse(text).to_bytes()
        except AddressError as error:
            raise RpcError(1, f"parsing addr: {error}") from error
    if kind == "@Hi":
        return signed_varint(_number(text, "parsing int64", -1))
    if kind == "@Hu":
        return encode_uvarint(_number(text, "parsing uint64"))
    return text.encode()


def _in_hamt(blocks: BlockIndex, node: _Node, key: bytes) -> Any:
    hashed = int.from_bytes(hashlib.sha256(key).digest(), "big")
    shift = 256
    value = node.value
    while True:
        if not _is_hamt(value):
            raise RpcError(1, "resolving hamt link: the block is no HAMT node")
        bits, shift = int.from_bytes(value[0], "big"), shift - _BIT_WIDTH
        bit = 1 << (hashed >> shift & ((1 << _BIT_WIDTH) - 1))
        if not bits & bit:
            raise RpcError(1, "resolve hamt: not found")
        pointer = value[1][(bits & (bit - 1)).bit_count()]
        if not isinstance(pointer, Cid):
            break
        value = _load(blocks, pointer).value
    for one, found in pointer:
        if one == key:
            return found
    raise RpcError(1, "resolve hamt: not found")


def _is_hamt(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], bytes)
        and isinstance(value[1], list)
        and int.from_bytes(value[0], "big").bit_count() == len(value[1])
    )


def _in_amt(blocks: BlockIndex, node: _Node, index: int) -> Any:
    root = node.value
    if not isinstance(root, list) or len(root) not in (3, 4) or not isinstance(root[-1], list):
        raise RpcError(1, "load amt: the block is no AMT root")
    width, height = (root[0], root[1]) if len(root) == 4 else (3, root[0])
    inner = root[-1]
    if index >> width * (height + 1):
        raise RpcError(1, "resolve amt: not found")
    for level in range(height, -1, -1):
        bits = int.from_bytes(inner[0], "little")
        bit = 1 << (index >> width * level & ((1 << width) - 1))
        if not bits & bit:
            raise RpcError(1, "resolve amt: not found")
        item = inner[1 if level else 2][(bits & (bit - 1)).bit_count()]
        if level == 0:
            return item
        inner = _load(blocks, item).value
    raise RpcError(1, "resolve amt: not found")


def _actor_state(blocks: BlockIndex, node: _Node) -> _Node:
    """The state of the actor whose record this is, as `StateReadState` shows it."""
    record = node.value
    if not isinstance(record, list) or len(record) != 5 or not isinstance(record[1], Cid):
        raise RpcError(
            1, "unmarshalling actor struct for @state: cbor input had wrong number of fields"
        )
    state = blocks.find(record[1])
    if state is None:
        raise RpcError(1, f"getting actor head for @state: ipld: could not find {record[1]}")
    return _wrapped(_from_json(actor_state_json(state)))


def _from_json(value: Any) -> Any:
    """JSON as Go reads it without types: numbers are floats, `{"/": …}` is a link."""
    if isinstance(value, dict):
        if value.keys() == {"/"}:
            return Cid.parse(value["/"])
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return float(value) if type(value) is int else value


def _json(value: Any) -> Any:
    if isinstance(value, Cid):
        return cid_json(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, list) else value
