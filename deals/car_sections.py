"""The sections of a CARv1 by their heads alone: where each block lies, without reading the blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from deals.car_errors import CarCorrupt, CarLimitExceeded, CarLimits
from deals.ranges import RangeSource
from lotus_client.cid import Cid, CidError
from lotus_client.varint import VarintError, decode_uvarint

__all__ = ["MAX_HEAD", "BlockPlace", "SectionHead", "read_head", "walk_sections"]

# The longest CID `Cid.decode` accepts, with its four varints, behind the section's own varint.
MAX_HEAD: Final = 10 + 4096 + 40
# Enough for the heads of nearly all sections: CIDs of version 1 with 32 bytes of digest need 40.
_USUAL_HEAD: Final = 64


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block's bytes lie in the stream, in bytes from the stream's start."""

    cid: Cid
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class SectionHead:
    """A section that begins at `start`, with its block; `end` is the byte behind it."""

    start: int
    place: BlockPlace
    end: int


def read_head(source: RangeSource, start: int, limits: CarLimits) -> SectionHead | None:
    """The section that begins at `start`; None where the stream ends there, or zeros follow.

    Raises:
        CarCorrupt: there is no section, or it is cut short; names the byte.
        CarLimitExceeded: its block would be above the limit.
    """
    if (
        start >= source.size
    ):  # an index that lies may name any place, also one that no seek can reach
        return None
    head = source.read(start, _USUAL_HEAD)
    if not head or head[0] == 0:
        return None
    try:
        length, skip = decode_uvarint(head)
    except VarintError as error:
        raise CarCorrupt(f"a section's length: {error}", start) from error
    if length > limits.max_block + MAX_HEAD:
        text = f"a section of {length} bytes exceeds the block limit {limits.max_block}"
        raise CarLimitExceeded(text, start)
    try:
        cid, behind = Cid.decode(head[: skip + length], skip)
    except CidError:
        cid, behind = _long_cid(source, start, skip, length)
    place = BlockPlace(cid, start + behind, length - (behind - skip))
    if place.size > limits.max_block:
        text = f"block {cid} has {place.size} bytes, the limit is {limits.max_block}"
        raise CarLimitExceeded(text, place.offset)
    end = start + skip + length
    if end > source.size:
        raise CarCorrupt(f"block {cid} is cut short", place.offset)
    return SectionHead(start, place, end)


def _long_cid(source: RangeSource, start: int, skip: int, length: int) -> tuple[Cid, int]:
    head = source.read(start, skip + min(length, MAX_HEAD))
    try:
        return Cid.decode(head, skip)
    except CidError as error:
        text = f"a section does not begin with a CID: {error}"
        raise CarCorrupt(text, start + skip) from error


def walk_sections(
    source: RangeSource, start: int, data_end: int | None, limits: CarLimits
) -> Iterator[SectionHead]:
    """Every section from `start` to the end of the data: `data_end` of a CARv2, else the stream's end or the zeros in a piece.

    Raises:
        CarCorrupt, CarLimitExceeded: as `read_head`; also for more blocks than allowed.
    """
    count = 0
    while data_end is None or start < data_end:
        head = read_head(source, start, limits)
        if head is None:
            return
        count += 1
        if count > limits.max_blocks:
            raise CarLimitExceeded(f"more than {limits.max_blocks} blocks", start)
        if data_end is not None and head.end > data_end:
            raise CarCorrupt("a section goes beyond the CARv2 data", start)
        yield head
        start = head.end
