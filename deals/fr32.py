"""Fr32 padding: 127 payload bytes become 128, so that every 32-byte word is below the BLS12-381 field's size.

A quad of 127 bytes is a little-endian number of 1016 bits, cut into four words of 254 bits; each word is written as 32
little-endian bytes whose two top bits are zero. Source: filecoin-project/specs, "Piece Commitment"; go-fil-commp-hashhash.

`pad_quads` and `unpad_quads` hand the work to a kernel (`deals.kernels`); everything else goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from deals.kernels import current_kernel
from lotus_client.types import PaddedPieceSize

__all__ = [
    "PADDED_QUAD",
    "UNPADDED_QUAD",
    "check_padded_piece_size",
    "pad",
    "pad_quads",
    "pad_stream",
    "padded_length",
    "padded_piece_size_for",
    "padded_range",
    "read_up_to",
    "unpad_quads",
    "unpad_quads_into",
    "unpadded_length",
]

UNPADDED_QUAD: Final = 127
PADDED_QUAD: Final = 128

# Quads per read when streaming: 4096 quads are 512 KiB padded.
_STREAM_QUADS: Final = 4096


def pad_quads(data: bytes | memoryview) -> bytes:
    """The Fr32 form of whole quads: 128 bytes for every 127.

    Raises:
        ValueError: the length is not a multiple of 127.
    """
    if len(data) % UNPADDED_QUAD:
        raise ValueError(f"{len(data)} bytes are not whole 127-byte quads")
    return current_kernel().pad(data)


def unpad_quads(data: bytes | memoryview) -> bytes:
    """The payload of whole padded quads: 127 bytes for every 128.

    The two top bits of each 32-byte word are dropped unseen, as Lotus does; CommP is what proves bytes.

    Raises:
        ValueError: the length is not a multiple of 128.
    """
    if len(data) % PADDED_QUAD:
        raise ValueError(f"{len(data)} bytes are not whole 128-byte padded quads")
    return current_kernel().unpad(data)


def unpad_quads_into(data: bytes | bytearray | memoryview, out: memoryview) -> int:
    """How many payload bytes of whole padded quads were written to the start of `out`, which may begin where `data` does.

    Raises:
        ValueError: the length is not a multiple of 128, or `out` has no room.
    """
    size = unpadded_length(len(data))
    if len(out) < size:
        raise ValueError(f"{len(out)} bytes have no room for {size}")
    current_kernel().unpad_into(data, out)
    return size


def pad(data: bytes) -> bytes:
    """The Fr32 form of any bytes, zero-filled to a whole quad (no bytes give no bytes)."""
    missing = -len(data) % UNPADDED_QUAD
    return pad_quads(data + bytes(missing) if missing else data)


def padded_length(unpadded: int) -> int:
    """Padded bytes that `unpadded` payload bytes occupy: whole quads, not yet a power of two."""
    return -(-unpadded // UNPADDED_QUAD) * PADDED_QUAD


def unpadded_length(padded: int) -> int:
    """Payload bytes that fit in `padded` bytes; exact when `padded` is a multiple of 128.

    Raises:
        ValueError: `padded` is not whole quads.
    """
    quads, rest = divmod(padded, PADDED_QUAD)
    if rest or padded < 0:
        raise ValueError(f"{padded} is not a number of whole 128-byte padded quads")
    return quads * UNPADDED_QUAD


def padded_piece_size_for(payload_size: int) -> PaddedPieceSize:
    """The smallest padded piece size that holds the payload; at least 128.

    Raises:
        ValueError: `payload_size` is negative.
    """
    if payload_size < 0:
        raise ValueError(f"a payload of {payload_size} bytes cannot be")
    quads = max(1, -(-payload_size // UNPADDED_QUAD))
    return PaddedPieceSize(PADDED_QUAD << (quads - 1).bit_length())


def check_padded_piece_size(size: int) -> PaddedPieceSize:
    """`size` as a padded piece size.

    Raises:
        ValueError: not a power of two of at least 128 and at most 2**62 (FRC-0069 heights fit well within).
    """
    if size < PADDED_QUAD or size & (size - 1) or size > 1 << 62:
        raise ValueError(f"{size} is not a padded piece size: a power of two from 128")
    return PaddedPieceSize(size)


def padded_range(start: int, stop: int) -> tuple[int, int]:
    """The padded bytes [a, b) that must be read to obtain payload bytes [start, stop).

    Unpadding them gives payload from `a // 128 * 127`; the caller slices.

    Raises:
        ValueError: `0 <= start <= stop` does not hold.
    """
    if not 0 <= start <= stop:
        raise ValueError(f"{start}..{stop} is not a range of bytes")
    return start // UNPADDED_QUAD * PADDED_QUAD, padded_length(stop)


def read_up_to(reader: BinaryIO, size: int) -> bytes:
    """`size` bytes, or fewer only at the end of the stream (raw readers may answer short)."""
    first = reader.read(size)
    if len(first) == size or not first:
        return first
    parts = [first]
    missing = size - len(first)
    while missing and (part := reader.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def pad_stream(reader: BinaryIO) -> Iterator[bytes]:
    """The Fr32 form of everything in `reader`, in bounded chunks of whole quads; the last is zero-filled."""
    while chunk := read_up_to(reader, _STREAM_QUADS * UNPADDED_QUAD):
        yield pad(chunk)
