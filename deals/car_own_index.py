"""The index at the end of a CARv2, as where to look for blocks before the CAR was walked over.

It is only a claim of whoever made the file: a block is believed when its section's head and its hash are right, as with every index
here. It gives no lengths, and may leave out blocks or name others.
Source: https://ipld.io/specs/transport/car/carv2/ (index format); go-car `index` for the fields' widths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from deals.car import CarReader
from deals.car_errors import CarCorrupt, CarLimits
from deals.car_index import IndexEntry
from deals.ranges import RangeSource, ranges_of
from lotus_client.varint import VarintError, decode_uvarint

__all__ = ["own_index"]

_SORTED: Final = 0x0400
_MULTIHASH_SORTED: Final = 0x0401
_COUNT: Final = struct.Struct("<I")
_CODE: Final = struct.Struct("<Q")
_BUCKET: Final = struct.Struct("<IQ")  # bytes of one record, and of all of them
_OFFSET: Final = 8
_MOST_DIGEST: Final = 128
_CHUNK: Final = 1 << 16
_MOST_GROUPS: Final = 1024  # hash functions, and lengths of their digests


def own_index(stream: BinaryIO, limits: CarLimits) -> Iterator[tuple[bytes, IndexEntry]] | None:
    """(Digest, entry) of the blocks that the CARv2's index names, lengths 0 since it tells none; None where there is no index.

    The pairs are read as they are taken, in bounded memory.

    Raises:
        CarError: the stream is no CAR. While iterating: the index cannot be read further; names the byte.
    """
    stream.seek(0)
    reader = CarReader(stream, limits)
    if not reader.index_start:
        return None
    return _Reading(ranges_of(stream), reader.index_start, reader.data_start, limits).pairs()


class _Reading:
    """One pass over an index."""

    def __init__(self, source: RangeSource, start: int, data_start: int, limits: CarLimits) -> None:
        self._source = source
        self._at = start
        self._data_start = data_start
        self._left = limits.max_blocks

    def pairs(self) -> Iterator[tuple[bytes, IndexEntry]]:
        head = self._source.read(self._at, 10)
        try:
            codec, skip = decode_uvarint(head)
        except VarintError as error:
            raise CarCorrupt(f"the CARv2 index: {error}", self._at) from error
        if codec not in (_SORTED, _MULTIHASH_SORTED):
            raise CarCorrupt(f"a CARv2 index of the unknown kind 0x{codec:x}", self._at)
        self._at += skip
        functions = self._count() if codec == _MULTIHASH_SORTED else 1
        for _ in range(functions):
            if codec == _MULTIHASH_SORTED:
                self._take(_CODE.size)  # which hash function: the CID asked for tells it too
            for _ in range(self._count()):
                yield from self._bucket()

    def _count(self) -> int:
        (count,) = _COUNT.unpack(self._take(_COUNT.size))
        if count > _MOST_GROUPS:
            raise CarCorrupt(f"a CARv2 index in {count} groups", self._at)
        return int(count)

    def _bucket(self) -> Iterator[tuple[bytes, IndexEntry]]:
        width, size = _BUCKET.unpack(self._take(_BUCKET.size))
        if not _OFFSET < width <= _OFFSET + _MOST_DIGEST or size % width:
            raise CarCorrupt(f"a CARv2 index of {size} bytes in records of {width}", self._at)
        self._left -= size // width
        if self._left < 0:
            raise CarCorrupt(
                "the CARv2 index has more records than a CAR may have blocks", self._at
            )
        step = _CHUNK // width * width
        while size:
            chunk = self._take(min(step, size))
            size -= len(chunk)
            for at in range(0, len(chunk), width):
                (offset,) = _CODE.unpack_from(chunk, at + width - _OFFSET)
                if self._data_start + offset < self._source.size:
                    digest = chunk[at : at + width - _OFFSET]
                    yield digest, IndexEntry(self._data_start + offset, 0)

    def _take(self, size: int) -> bytes:
        data = self._source.read(self._at, size)
        if len(data) != size:
            raise CarCorrupt("the CARv2 index is cut short", self._at)
        self._at += size
        return data
