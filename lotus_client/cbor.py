"""DAG-CBOR as the chain writes it: deterministic, definite lengths, CIDs as tag 42.

Own code because chain objects need exact bytes with our own `Cid` values, and because the decoder must be
strict: a non-minimal integer or an indefinite length is refused, since it would not survive a round trip.
Source: https://ipld.io/specs/codecs/dag-cbor/spec/ and actors' cbor-gen output.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from lotus_client.cid import Cid, CidError

__all__ = [
    "CborError",
    "CborValue",
    "decode",
    "decode_bigint",
    "decode_first",
    "encode",
    "encode_bigint",
    "join_list",
]

CborValue: TypeAlias = (
    "int | bytes | str | bool | float | Cid | list[CborValue] | dict[str, CborValue] | None"
)

_MAX_DEPTH: Final = 128


class CborError(ValueError):
    """Bytes that are not strict DAG-CBOR; `offset` is where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.offset = offset


def encode(value: object) -> bytes:
    """The one DAG-CBOR encoding of ints, bytes, str, bool, float, None, Cid, lists/tuples and str-keyed dicts.

    Raises:
        TypeError: a value of another type.
        ValueError: an integer beyond 64 bits (use `encode_bigint`), a float that is not finite, text with lone
            surrogates, or nesting deeper than 128.
    """
    parts: list[bytes] = []
    _encode_all(parts.append, (value,), 0)
    return b"".join(parts)


def join_list(encoded: Sequence[bytes]) -> bytes:
    """The encoding of the list whose items have these encodings."""
    return _head(4, len(encoded)) + b"".join(encoded)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    if argument < 1 << 8:
        return bytes((major << 5 | 24, argument))
    if argument < 1 << 16:
        return bytes((major << 5 | 25,)) + argument.to_bytes(2, "big")
    if argument < 1 << 32:
        return bytes((major << 5 | 26,)) + argument.to_bytes(4, "big")
    if argument < 1 << 64:
        return bytes((major << 5 | 27,)) + argument.to_bytes(8, "big")
    raise ValueError("an integer beyond 64 bits is no CBOR int; encode it with encode_bigint")


# Most numbers and lengths of the chain are small, so their heads are made once.
_SMALL: Final = 256
_SMALL_INTS: Final = [_head(0, argument) for argument in range(_SMALL)]
_SMALL_BYTES: Final = [_head(2, argument) for argument in range(_SMALL)]
_SMALL_LISTS: Final = [_head(4, argument) for argument in range(_SMALL)]
_LINK: Final = b"\xd8\x2a"
_BLOCK_CID_BYTES: Final = 38
_BLOCK_LINK: Final = _LINK + _head(2, _BLOCK_CID_BYTES + 1) + b"\x00"


def _encode_all(put: Callable[[Any], None], values: Sequence[Any], depth: int) -> None:
    """Put the pieces of each value's encoding; the commonest types come first, by exact type, for speed."""
    if depth > _MAX_DEPTH and values:
        raise ValueError(f"a value nested deeper than {_MAX_DEPTH} is not encoded")
    for value in values:
        kind = type(value)
        if kind is bytes:
            size = len(value)
            put(_SMALL_BYTES[size] if size < _SMALL else _head(2, size))
            put(value)
        elif kind is int:
            if 0 <= value < _SMALL:
                put(_SMALL_INTS[value])
            else:
                put(_head(0, value) if value >= 0 else _head(1, -1 - value))
        elif kind is Cid:
            raw = value.raw
            size = len(raw)
            put(_BLOCK_LINK if size == _BLOCK_CID_BYTES else _LINK + _head(2, size + 1) + b"\x00")
            put(raw)
        elif kind is list or kind is tuple:
            size = len(value)
            put(_SMALL_LISTS[size] if size < _SMALL else _head(4, size))
            _encode_all(put, value, depth + 1)
        elif value is None:
            put(b"\xf6")
        else:
            _encode_rare(put, value, depth)


def _encode_rare(put: Callable[[Any], None], value: Any, depth: int) -> None:
    if isinstance(value, bool):
        put(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        put(_head(0, value) if value >= 0 else _head(1, -1 - value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        put(_head(2, len(value)))
        put(bytes(value))
    elif isinstance(value, str):
        text = value.encode()
        put(_head(3, len(text)) + text)
    elif isinstance(value, Cid):
        put(_LINK + _head(2, len(value.raw) + 1) + b"\x00" + value.raw)
    elif isinstance(value, (list, tuple)):
        put(_head(4, len(value)))
        _encode_all(put, value, depth + 1)
    elif isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("DAG-CBOR map keys are text")
        put(_head(5, len(value)))
        # shorter keys first, then bytewise: RFC 7049 canonical order, which DAG-CBOR keeps
        for key in sorted(value, key=lambda key: (len(key.encode()), key.encode())):
            _encode_all(put, (key,), depth + 1)
            _encode_all(put, (value[key],), depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("DAG-CBOR has no NaN and no infinities")
        put(b"\xfb" + struct.pack(">d", value))
    else:
        raise TypeError(f"DAG-CBOR cannot hold a {type(value).__name__}")


def decode(data: bytes) -> CborValue:
    """The value that `data` encodes, whole.

    Raises:
        CborError: not strict DAG-CBOR, nested deeper than 128, or bytes follow the value.
    """
    value, end = decode_first(data)
    if end != len(data):
        raise CborError(f"{len(data) - end} bytes follow the value", end)
    return value


def decode_first(data: bytes, offset: int = 0) -> tuple[CborValue, int]:
    """The value that begins at `offset`, and the offset behind it.

    Raises:
        CborError: as `decode`, except that bytes may follow.
    """
    return _decode(data, offset, 0)


def _argument(data: bytes, offset: int) -> tuple[int, int, int]:
    """Major type, argument and the offset behind the head."""
    if offset >= len(data):
        raise CborError("CBOR is cut short", offset)
    major, short = data[offset] >> 5, data[offset] & 0x1F
    if short < 24:
        return major, short, offset + 1
    if short > 27:
        raise CborError("indefinite lengths and reserved heads are not DAG-CBOR", offset)
    width = 1 << (short - 24)
    end = offset + 1 + width
    if end > len(data):
        raise CborError("CBOR is cut short", offset)
    argument = int.from_bytes(data[offset + 1 : end], "big")
    if major != 7 and (argument < 24 if width == 1 else argument < 1 << (4 * width)):
        raise CborError("CBOR number is not in its shortest form", offset)
    return major, argument, end


def _decode(data: bytes, offset: int, depth: int) -> tuple[CborValue, int]:
    if depth > _MAX_DEPTH:
        raise CborError(f"CBOR is nested deeper than {_MAX_DEPTH}", offset)
    major, argument, position = _argument(data, offset)
    if major == 0:
        return argument, position
    if major == 1:
        return -1 - argument, position
    if major in (2, 3):
        end = position + argument
        if end > len(data):
            raise CborError("CBOR string is cut short", offset)
        chunk = bytes(data[position:end])
        if major == 2:
            return chunk, end
        try:
            return chunk.decode(), end
        except UnicodeDecodeError as error:
            raise CborError("CBOR text is not UTF-8", offset) from error
    if major == 4:
        if argument > len(data) - position:  # each item takes at least one byte
            raise CborError(f"CBOR list claims {argument} items", offset)
        items: list[CborValue] = []
        for _ in range(argument):
            item, position = _decode(data, position, depth + 1)
            items.append(item)
        return items, position
    if major == 5:
        return _decode_map(data, offset, argument, position, depth)
    if major == 6:
        return _decode_link(data, offset, argument, position, depth)
    return _decode_simple(data, offset, position)


def _decode_map(
    data: bytes, offset: int, size: int, position: int, depth: int
) -> tuple[dict[str, CborValue], int]:
    if size > len(data) - position:
        raise CborError(f"CBOR map claims {size} entries", offset)
    entries: dict[str, CborValue] = {}
    for _ in range(size):
        at = position
        key, position = _decode(data, position, depth + 1)
        if not isinstance(key, str):
            raise CborError("DAG-CBOR map keys are text", at)
        # Real chain blocks hold maps in other orders than the canonical one, so only repeats are refused.
        if key in entries:
            raise CborError(f"CBOR map key {key[:80]!r} is repeated", at)
        entries[key], position = _decode(data, position, depth + 1)
    return entries, position


def _decode_link(data: bytes, offset: int, tag: int, position: int, depth: int) -> tuple[Cid, int]:
    if tag != 42:
        raise CborError(f"tag {tag} is not DAG-CBOR, only 42 is", offset)
    link, position = _decode(data, position, depth + 1)
    if not isinstance(link, bytes) or link[:1] != b"\x00":
        raise CborError("tag 42 holds no CID", offset)
    try:
        return Cid.from_bytes(link[1:]), position
    except CidError as error:
        raise CborError(f"tag 42: {error}", offset) from error


def _decode_simple(data: bytes, offset: int, position: int) -> tuple[bool | float | None, int]:
    first = data[offset]
    if first == 0xF4:
        return False, position
    if first == 0xF5:
        return True, position
    if first == 0xF6:
        return None, position
    if first == 0xFB:
        value: float = struct.unpack(">d", data[offset + 1 : offset + 9])[0]
        if not math.isfinite(value):
            raise CborError("DAG-CBOR has no NaN and no infinities", offset)
        return value, position
    raise CborError(f"simple value 0x{first:02x} is not DAG-CBOR", offset)


def encode_bigint(value: int) -> bytes:
    """The actors' byte form of a big integer: empty for 0, else a sign byte and big-endian magnitude.

    This is the content; wrap it with `encode` (it is a CBOR byte string on the wire).
    Source: go-state-types `big/int.go`.
    """
    if value == 0:
        return b""
    magnitude = abs(value)
    size = (magnitude.bit_length() + 7) >> 3
    return (b"\x01" if value < 0 else b"\x00") + magnitude.to_bytes(size, "big")


def decode_bigint(raw: CborValue) -> int:
    """The integer of `encode_bigint`'s bytes.

    Raises:
        CborError: not a byte string, an unknown sign byte, or leading zeros.
    """
    if not isinstance(raw, bytes):
        raise CborError("a big integer is a byte string", 0)
    if not raw:
        return 0
    if raw[0] > 1 or len(raw) < 2 or raw[1] == 0:
        raise CborError(
            "a big integer is a sign byte 0 or 1 and a magnitude without leading zeros", 0
        )
    magnitude = int.from_bytes(raw[1:], "big")
    return -magnitude if raw[0] else magnitude
