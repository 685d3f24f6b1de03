"""The IPLD blocks of every CAR among a provider's unsealed pieces, by CID; what an index of its deals gives it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import BinaryIO, Self

from deals.blocks import MissingBlock, check_block, each_of
from deals.car import BlockPlace, CarBlocks, CarError
from deals.fr32 import read_up_to
from devstack.flavours.held_pieces import HeldPieces, PieceCopy
from lotus_client.cid import IDENTITY, Cid

__all__ = ["BlockIndex", "HeldBlocks"]


class BlockIndex:
    """Where the blocks of a piece lie, found out once for each piece."""

    def __init__(self, pieces: HeldPieces) -> None:
        self.pieces = pieces
        self._places: dict[Cid, Mapping[Cid, BlockPlace]] = {}

    def places(self, copy: PieceCopy) -> Mapping[Cid, BlockPlace]:
        """The blocks of this piece; none if it is no CAR, or sealed and never looked at before."""
        known = self._places.get(copy.piece_cid)
        if known is not None:
            return known
        reader = self.pieces.open(copy)
        if reader is None:
            return {}
        found: Mapping[Cid, BlockPlace] = {}
        with reader, contextlib.suppress(CarError):
            found = CarBlocks(reader).places
        self._places[copy.piece_cid] = found
        return found


class HeldBlocks:
    """A `BlockStore` over the index for the time of one request; a context manager. It blocks."""

    def __init__(self, index: BlockIndex) -> None:
        self._index = index
        self._readers: dict[PieceCopy, BinaryIO] = {}

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`; a block whose piece has no unsealed copy is missing."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        for copy in self._index.pieces.all():
            place = self._index.places(copy).get(cid)
            reader = None if place is None else self._reader(copy)
            if place is not None and reader is not None:
                reader.seek(place.offset)
                data = read_up_to(reader, place.size)
                check_block(cid, data)
                return data
        raise MissingBlock(cid)

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`."""
        return each_of(self, cids)

    def _reader(self, copy: PieceCopy) -> BinaryIO | None:
        if copy not in self._readers:
            reader = self._index.pieces.open(copy)
            if reader is None:
                return None
            self._readers[copy] = reader
        return self._readers[copy]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for reader in self._readers.values():
            reader.close()
