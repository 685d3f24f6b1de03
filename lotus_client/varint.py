"""Unsigned varints as multiformats and the Filecoin address format use them (LEB128, minimal form)."""

from __future__ import annotations

__all__ = ["VarintError", "decode_uvarint", "encode_uvarint"]

# unsigned-varint spec: at most nine bytes, i.e. 63 bits; Filecoin ids need the 64th bit too.
# Source: https://github.com/multiformats/unsigned-varint
_MAX_BYTES = 10


class VarintError(ValueError):
    """The bytes at `offset` are not a minimal unsigned varint of at most 64 bits."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.offset = offset


def encode_uvarint(value: int) -> bytes:
    """The minimal varint bytes of `value`.

    Raises:
        ValueError: `value` is negative or needs more than 64 bits.
    """
    if not 0 <= value < 1 << 64:
        raise ValueError(f"a uvarint holds 0..2**64-1, got {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_uvarint(data: bytes | memoryview, offset: int = 0) -> tuple[int, int]:
    """The value at `offset` and the offset behind it.

    Raises:
        VarintError: truncated, longer than 64 bits, or padded with a trailing zero group.
    """
    value = shift = 0
    for position in range(offset, min(offset + _MAX_BYTES, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and position > offset:
                raise VarintError("varint is not in its shortest form", offset)
            if value >= 1 << 64:
                raise VarintError("varint exceeds 64 bits", offset)
            return value, position + 1
        shift += 7
    if len(data) - offset < _MAX_BYTES:
        raise VarintError("varint is cut short", offset)
    raise VarintError("varint exceeds 64 bits", offset)
