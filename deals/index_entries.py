"""Every entry of an aggregate's index with its place, or what is wrong with it: the data that people look for when a segment is missing.

Draft second versions of the index have entries of 128 bytes, with the payload's size, a codec and an access list. The drafts
disagree on their fields and no aggregator is known to write them, so such an entry is recognised by its checksum, and refused.
Source: FRC-0058; the forks of filecoin-project/go-data-segment that try out a second version (`SegmentDescV2`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from deals.data_segment import IndexEntry, index_place
from deals.fr32 import check_padded_piece_size, pad, read_up_to, unpadded_length
from lotus_client.types import PaddedPieceSize

__all__ = ["MOST_ENTRIES", "IndexFault", "PlacedEntry", "examine_index"]

MOST_ENTRIES: Final = 1 << 18  # as many as the index of a 32 GiB piece has room for
_CHUNK_ENTRIES: Final = 1024
_ENTRY: Final = 64
_CHECKSUM: Final = 16
_DRAFT: Final = "it has 128 bytes, as in drafts of a second version of the index, which is not read"


@dataclass(frozen=True, slots=True)
class PlacedEntry:
    """A well-formed entry and its number in the index, counted from 0."""

    number: int
    entry: IndexEntry


@dataclass(frozen=True, slots=True)
class IndexFault:
    """An entry that is not taken: its number, where it begins in padded bytes from the piece's start, and why."""

    number: int
    at: int
    reason: str

    def __str__(self) -> str:
        return f"index entry {self.number} (padded byte {self.at}): {self.reason}"


def examine_index(
    stream: BinaryIO, padded_size: int, most: int = MOST_ENTRIES
) -> Iterator[PlacedEntry | IndexFault]:
    """The entries of a piece's index in order, at most `most` places of it; nothing if the piece has no room for one.

    Reading ends at the first 1,024 places that have no right entry. What such a stretch holds is not reported: the end of a piece that
    is no aggregate looks like nothing but damaged entries. `stream` is unpadded and seekable.
    """
    try:
        start, room = index_place(padded_size)
    except ValueError:
        return
    for first in range(0, min(room, most), _CHUNK_ENTRIES):
        count = min(_CHUNK_ENTRIES, room - first, most - first)
        at = start + first * _ENTRY
        # an index has at least two entries to the 128 bytes of a quad, so its parts are whole quads
        stream.seek(unpadded_length(at))
        raw = pad(read_up_to(stream, unpadded_length(count * _ENTRY)))
        found = list(_examine(raw, first, start))
        if not any(isinstance(one, PlacedEntry) or one.reason == _DRAFT for one in found):
            return
        yield from found
    if room > most:
        yield IndexFault(most, start + most * _ENTRY, f"only the first {most} are looked at")


def _examine(raw: bytes, first: int, start: int) -> Iterator[PlacedEntry | IndexFault]:
    skip = False
    for at in range(0, len(raw) // _ENTRY * _ENTRY, _ENTRY):
        number, one = first + at // _ENTRY, raw[at : at + _ENTRY]
        if skip or not any(one):
            skip = False
            continue
        entry = _entry_of(one)
        wrong = _why_wrong(entry, one, start)
        if wrong is None:
            yield PlacedEntry(number, entry)
            continue
        skip = not at % (2 * _ENTRY) and _is_of_a_draft(raw[at : at + 2 * _ENTRY])
        if skip:
            wrong = _DRAFT
        yield IndexFault(number, start + number * _ENTRY, wrong)


def _entry_of(raw: bytes) -> IndexEntry:
    offset, size = int.from_bytes(raw[32:40], "little"), int.from_bytes(raw[40:48], "little")
    return IndexEntry(raw[:32], offset, PaddedPieceSize(size))


def _why_wrong(entry: IndexEntry, raw: bytes, start: int) -> str | None:
    if entry.to_bytes() != raw:
        return "its checksum is wrong"
    if entry.commitment[31] >= 0x40:
        return "its commitment is no field element"
    try:
        size = check_padded_piece_size(entry.size)
    except ValueError as error:
        return str(error)
    if entry.offset % size:
        return f"its offset {entry.offset} is no multiple of its size {size}"
    if entry.offset + size > start:
        return (
            f"it ends at padded byte {entry.offset + size}, behind the data, which ends at {start}"
        )
    return None


def _is_of_a_draft(raw: bytes) -> bool:
    digest = hashlib.sha256(raw[:-_CHECKSUM] + bytes(_CHECKSUM)).digest()[:_CHECKSUM]
    return len(raw) == 2 * _ENTRY and raw[-_CHECKSUM:] == digest[:-1] + bytes([digest[-1] & 0x3F])
