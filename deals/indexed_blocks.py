"""Blocks of a piece's CAR, found through an index: only the sections asked for are read, and each is checked before it is given.

What is checked: the section's head (its length and the whole CID) and the hash of the block's bytes. The index may lie, be old or be
incomplete; when one that was found (on disk, or at the end of a CARv2) does not lead to the block, it is made anew by a walk over
the heads, once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from deals.blocks import BadBlock, BlockMismatch, MissingBlock, check_block
from deals.car_errors import CarCorrupt, CarError, CarLimits
from deals.car_index import CarIndex, IndexEntry, entries_of, load_index, save_index
from deals.car_own_index import own_index
from deals.car_sections import BlockPlace, SectionHead, read_head
from deals.hash_ahead import hashed_ahead
from deals.piece_cars import PieceCars
from deals.ranges import RangeSource, ranges_of
from lotus_client.cid import IDENTITY, Cid

__all__ = ["IndexPlace", "IndexedBlocks", "build_index"]

# Memory does not grow with the number of blocks here; a piece of 32 GiB has so many of 2 KiB.
_LIMITS: Final = CarLimits(max_blocks=1 << 24)


@dataclass(frozen=True, slots=True)
class IndexPlace:
    """Where the index of a piece is kept, the commitment it is bound to, and the piece's padded size."""

    folder: Path
    name: str
    commitment: bytes
    padded_size: int

    def load(self) -> CarIndex | None:
        """See `load_index`."""
        return load_index(self.folder, self.name, self.commitment)

    def save(self, heads: Iterable[SectionHead]) -> None:
        """Keep where these sections lie; see `save_index`."""
        save_index(self.folder, self.name, self.commitment, entries_of(heads))


def build_index(stream: BinaryIO, place: IndexPlace, limits: CarLimits = _LIMITS) -> None:
    """Walk over the heads of the CARs in the stream, and keep where their blocks lie.

    Raises:
        CarError: it is no CAR, or broken somewhere; nothing is kept.
        OSError: the stream cannot be read, or the index cannot be written.
    """
    place.save(PieceCars(stream, place.padded_size, limits).heads())


class IndexedBlocks:
    """A `BlockStore` over a piece's CAR, for one thread; a context manager that closes its index, not the stream."""

    def __init__(
        self, stream: BinaryIO, place: IndexPlace, limits: CarLimits | None = None
    ) -> None:
        """Opens the index kept at `place`, or makes it.

        Raises:
            CarError, OSError: it has to be made, and cannot be: as `build_index`.
        """
        self._stream = stream
        self._place = place
        self._limits = limits or _LIMITS
        self._source: RangeSource = ranges_of(stream)
        index = place.load() or self._from_its_own()
        self._is_fresh = index is None
        self._index = index or self._build()

    def get(self, cid: Cid) -> bytes:
        """The block's bytes, hashed against `cid`; an identity CID is its own block.

        Raises:
            MissingBlock: it is not in the CAR.
            BadBlock, UnknownHash: its bytes or its section's head are not what they must be; names the byte offset.
            OSError: the stream cannot be read.
        """
        if cid.hash_code == IDENTITY:
            return cid.digest
        try:
            return self._read(cid)
        except (MissingBlock, BadBlock) as error:
            if self._is_fresh or not self._renew():
                raise
            try:
                return self._read(cid)
            except MissingBlock:
                raise error from None

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`; hashed in a second thread while the next ones are read."""
        for place, data in hashed_ahead(self._unchecked(cids), _check, self._again):
            yield place.cid, data

    def _unchecked(self, cids: Iterable[Cid]) -> Iterator[tuple[BlockPlace, bytes]]:
        """Blocks where the index says they are; those that are not there are got in the careful way."""
        for cid in cids:
            entry = next(iter(self._index.find(cid.digest)), None)
            if cid.hash_code != IDENTITY and entry is not None:
                with contextlib.suppress(BadBlock):
                    place = self._place_at(cid, entry)
                    yield place, self._source.read(place.offset, place.size)
                    continue
            data = self.get(cid)
            yield BlockPlace(cid, 0, len(data)), data

    def _again(self, place: BlockPlace, error: Exception) -> bytes:
        if not isinstance(error, BadBlock):
            raise error
        return self.get(place.cid)

    def _read(self, cid: Cid) -> bytes:
        failure: BadBlock | None = None
        for entry in self._index.find(cid.digest):
            try:
                return self._block_at(cid, entry)
            except BadBlock as error:
                failure = failure or error
        raise failure or MissingBlock(cid)

    def _block_at(self, cid: Cid, entry: IndexEntry) -> bytes:
        place = self._place_at(cid, entry)
        data = self._source.read(place.offset, place.size)
        _check(place, data)
        return data

    def _place_at(self, cid: Cid, entry: IndexEntry) -> BlockPlace:
        """Where the bytes of the block lie whose section begins at the entry."""
        try:
            head = read_head(self._source, entry.start, self._limits)
        except CarError as error:
            raise BlockMismatch(cid, f" at byte {entry.start}: {error}") from error
        if head is None or entry.length not in (0, head.end - head.start):
            raise BlockMismatch(cid, f" at byte {entry.start}: no section of its length is there")
        if head.place.cid != cid:
            text = f" at byte {entry.start}: the section there is of {head.place.cid}"
            raise BlockMismatch(cid, text)
        return head.place

    def _renew(self) -> bool:
        """Make the index anew; False if that cannot be, which says nothing new about the block."""
        try:
            index = self._build()
        except (CarError, OSError):
            return False
        self._index.close()
        self._index, self._is_fresh = index, True
        return True

    def _from_its_own(self) -> CarIndex | None:
        """The index that a CARv2 brings, kept as one that was found; None if there is none to be used."""
        try:
            pairs = own_index(self._stream, self._limits)
            if pairs is None:
                return None
            save_index(self._place.folder, self._place.name, self._place.commitment, pairs)
        except CarError:
            return None
        return self._place.load()

    def _build(self) -> CarIndex:
        build_index(self._stream, self._place, self._limits)
        index = self._place.load()
        if index is None:
            raise CarCorrupt("the index disappeared while it was made; try again", 0)
        return index

    def close(self) -> None:
        """Give the index back."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check(place: BlockPlace, data: bytes) -> None:
    if place.cid.hash_code != IDENTITY:
        check_block(place.cid, data, f" at byte {place.offset}")
