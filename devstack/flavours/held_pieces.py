"""The pieces of one provider by piece CID, and readers of those that have an unsealed copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deals.piece_cid import decode_piece_cid_v2, encode_piece_cid_v1
from deals.unsealed import UnsealedError, UnsealedFile
from devstack.provider import SealingProvider
from devstack.storage import FileType
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize, SectorNumber

__all__ = ["HeldPieces", "PieceCopy", "wanted_piece"]

_PIECE_CID_V2_HASH = 0x1011  # multicodec fr32-sha256-trunc254-padbintree (FRC-0069)


@dataclass(frozen=True, slots=True)
class PieceCopy:
    """One piece in one sector. Offset and size are padded bytes, `payload_size` is what the client sent."""

    sector: SectorNumber
    offset: int
    padded_size: PaddedPieceSize
    piece_cid: Cid
    payload_size: int
    allocation: int | None


def wanted_piece(cid: Cid) -> tuple[Cid, int | None, int | None]:
    """Version 1 piece CID, padded size and payload size that a piece CID of either version names.

    The sizes are None for version 1, which does not carry them.

    Raises:
        ValueError: it has the hash of a version 2 piece CID but is none.
    """
    if cid.hash_code != _PIECE_CID_V2_HASH:
        return cid, None, None
    info = decode_piece_cid_v2(cid)
    return encode_piece_cid_v1(cid.digest[-32:]), info.padded_size, info.payload_size


class HeldPieces:
    """What a provider holds; read from its sectors each time, so it is never behind."""

    def __init__(self, provider: SealingProvider) -> None:
        self._provider = provider

    def copies(self, piece_cid: Cid) -> list[PieceCopy]:
        """Every copy of the piece (version 1 CID), by sector."""
        return [copy for copy in self.all() if copy.piece_cid == piece_cid]

    def all(self) -> Iterator[PieceCopy]:
        """Every piece of every sector that did not fail; fillers are no pieces."""
        for number, sector in sorted(self._provider.sectors.items()):
            for piece in sector.pieces if not sector.state.is_failed else ():
                if piece.staged is not None:
                    key = piece.staged.allocation
                    yield PieceCopy(
                        number,
                        piece.offset,
                        piece.size,
                        piece.piece_cid,
                        piece.staged.commitment.payload_size,
                        None if key is None else key.id,
                    )

    def open(self, copy: PieceCopy) -> BinaryIO | None:
        """A reader of the whole unpadded piece, zeros behind the payload included; None without an unsealed copy.

        It blocks, and its reads raise OSError when the file goes away meanwhile.
        """
        provider = self._provider
        path = provider.storage.file(FileType.UNSEALED, provider.miner.actor_id, copy.sector)
        try:
            file = UnsealedFile.open(path, provider.sector_size)
        except OSError:
            return None
        with contextlib.suppress(UnsealedError):
            return file.read_piece(copy.offset, copy.padded_size, owns_file=True)
        file.close()
        return None
