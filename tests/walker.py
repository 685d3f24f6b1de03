"""An independent reader of state blocks: HAMT, AMT and bitfields from bytes, as the usual tools read them.

Shares nothing with `devstack.ipld` but the CBOR decoder. `get` gives a block's bytes by the bytes of its CID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from lotus_client import cbor
from lotus_client.bitfield import BitField
from lotus_client.cid import Cid

__all__ = ["Get", "bits", "number", "read", "read_amt", "read_hamt"]

Get = Callable[[bytes], bytes]


def read(get: Get, cid: Cid | bytes) -> Any:
    """The value of a block, whose hash is checked."""
    raw = cid if isinstance(cid, bytes) else cid.raw
    block = get(raw)
    assert raw[-32:] == hashlib.blake2b(block, digest_size=32).digest()
    return cbor.decode(block)


def number(raw: Any) -> int:
    """A big integer."""
    return cbor.decode_bigint(raw)


def bits(raw: Any) -> set[int]:
    """A bitfield's numbers."""
    assert raw[-1:] != b"\0"
    field = BitField.decode(raw)
    return {one for start, stop in field.ranges for one in range(start, stop)}


def read_hamt(get: Get, cid: Cid | bytes, bit_width: int = 5) -> dict[bytes, Any]:
    """All entries of a HAMT, each found where its hash says it must be."""
    found: dict[bytes, Any] = {}
    _hamt_node(get, read(get, cid), "", bit_width, found)
    return found


def _hamt_node(get: Get, node: Any, path: str, width: int, found: dict[bytes, Any]) -> int:
    bitfield, pointers = node
    assert bitfield[:1] != b"\0"
    taken = int.from_bytes(bitfield, "big")
    slots = [slot for slot in range(1 << width) if taken >> slot & 1]
    assert len(slots) == len(pointers)
    total = 0
    for slot, pointer in zip(slots, pointers, strict=True):
        below = path + format(slot, f"0{width}b")
        if isinstance(pointer, Cid):
            inside = _hamt_node(get, read(get, pointer), below, width, found)
            assert inside > 3, "a child with so few entries is a bucket in canonical form"
            total += inside
            continue
        keys = [key for key, _ in pointer]
        assert keys == sorted(keys)
        assert 1 <= len(keys) <= 3
        for key, value in pointer:
            hashed = format(int.from_bytes(hashlib.sha256(key).digest(), "big"), "0256b")
            assert hashed.startswith(below)
            found[key] = value
        total += len(keys)
    return total


def read_amt(get: Get, cid: Cid | bytes) -> dict[int, Any]:
    """All entries of an AMT."""
    width, height, count, node = read(get, cid)
    found: dict[int, Any] = {}
    _amt_node(get, node, width, height, 0, found)
    assert len(found) == count
    assert height == 0 or max(found) >= 1 << width * height
    return found


def _amt_node(
    get: Get, node: Any, width: int, height: int, base: int, found: dict[int, Any]
) -> None:
    bitmap, links, values = node
    assert len(bitmap) == max((1 << width) // 8, 1)
    taken = int.from_bytes(bitmap, "little")
    slots = [slot for slot in range(1 << width) if taken >> slot & 1]
    assert len(slots) == len(links) + len(values)
    assert not (links if height == 0 else values)
    for slot, item in zip(slots, links or values, strict=True):
        at = base + (slot << width * height)
        if height:
            _amt_node(get, read(get, item), width, height - 1, at, found)
        else:
            found[at] = item
