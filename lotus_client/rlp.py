"""Recursive Length Prefix, Ethereum's encoding of transactions.

Own code because the library for it costs 0.15 s and 27 MB to import, for these few lines. The decoder takes only the
one canonical form. Source: https://ethereum.org/en/developers/docs/data-structures-and-encoding/rlp/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

__all__ = ["RlpError", "RlpItem", "decode", "encode", "integer", "of_integer"]

RlpItem: TypeAlias = "bytes | list[RlpItem]"

_STRING: Final = 0x80
_LIST: Final = 0xC0
_SHORT: Final = 55  # the longest payload whose length fits into the first byte
_MAX_DEPTH: Final = 16


class RlpError(ValueError):
    """Bytes that are not canonical RLP."""


def encode(item: bytes | Sequence[object]) -> bytes:
    """The encoding of a byte string, or of a list of such items."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < _STRING:
            return item
        return _head(_STRING, len(item)) + item
    body = b"".join(encode(part) for part in item)  # type: ignore[arg-type]
    return _head(_LIST, len(body)) + body


def _head(kind: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes((kind + length,))
    size = of_integer(length)
    return bytes((kind + _SHORT + len(size),)) + size


def decode(data: bytes) -> RlpItem:
    """The item that `data` encodes, whole.

    Raises:
        RlpError: cut short, not in the shortest form, nested deeper than 16, or bytes follow.
    """
    item, end = _decode(data, 0, len(data), 0)
    if end != len(data):
        raise RlpError("bytes follow the RLP item")
    return item


def _decode(data: bytes, at: int, limit: int, depth: int) -> tuple[RlpItem, int]:
    if at >= limit:
        raise RlpError("RLP is cut short")
    if depth > _MAX_DEPTH:
        raise RlpError("RLP is nested too deep")
    first = data[at]
    if first < _STRING:
        return data[at : at + 1], at + 1
    kind = _LIST if first >= _LIST else _STRING
    start, length = _length(data, at, limit, first - kind)
    end = start + length
    if end > limit:
        raise RlpError("RLP is cut short")
    if kind == _STRING:
        if length == 1 and data[start] < _STRING:
            raise RlpError("a single byte below 0x80 stands for itself in RLP")
        return data[start:end], end
    items: list[RlpItem] = []
    while start < end:
        item, start = _decode(data, start, end, depth + 1)
        items.append(item)
    return items, end


def _length(data: bytes, at: int, limit: int, short: int) -> tuple[int, int]:
    """Where the payload begins, and its length."""
    if short <= _SHORT:
        return at + 1, short
    start = at + 1 + short - _SHORT
    if start > limit:
        raise RlpError("RLP is cut short")
    length = integer(data[at + 1 : start])
    if length <= _SHORT:
        raise RlpError("an RLP length is not in its shortest form")
    return start, length


def of_integer(value: int) -> bytes:
    """The big-endian bytes of a number from 0 on, without leading zeros; empty for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def integer(item: RlpItem) -> int:
    """The number of such bytes.

    Raises:
        RlpError: a list, or leading zeros.
    """
    if not isinstance(item, bytes):
        raise RlpError("expected a number, found an RLP list")
    if item[:1] == b"\0":
        raise RlpError("an RLP number has no leading zeros")
    return int.from_bytes(item, "big")
