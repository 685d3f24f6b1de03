"""Pieces in the unsealed files of lotus-miner's storage paths, mounted read-only; needs no token of the miner.

A sector of miner f0M, number N, is `<path>/unsealed/s-t0M-N`, with a literal `t0` on every network.
Source: Lotus `storage/sealer/storiface/filetype.go` (SectorName).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from deals.fr32 import check_padded_piece_size
from deals.sources.base import PieceNotHere, PieceUnavailable, Unavailable, source_kind
from deals.unsealed import NotAllocated, UnsealedChanged, UnsealedCorrupt, UnsealedFile
from fil_plus.pieces import HeldPiece
from lotus_client.types import ActorId, SectorNumber

__all__ = ["StoragePathSource", "unsealed_path"]


def unsealed_path(storage_path: Path, provider: ActorId, sector: SectorNumber) -> Path:
    """Where a storage path keeps the unsealed file of a sector."""
    return storage_path / "unsealed" / f"s-t0{int(provider)}-{int(sector)}"


class StoragePathSource:
    """Reads pieces from unsealed sector files under one or more storage paths; implements `PieceSource`."""

    def __init__(self, paths: Sequence[Path], sector_size: int) -> None:
        """`sector_size` is that of the miner, in bytes.

        Raises:
            ValueError: no paths, or a sector size that is not a power of two.
        """
        if not paths:
            raise ValueError("a storage_path source needs at least one path")
        self._paths = tuple(paths)
        self._sector_size = check_padded_piece_size(sector_size)

    @property
    def name(self) -> str:
        """The directories, as people know them."""
        return "storage paths " + ", ".join(map(str, self._paths))

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """See `PieceSource.open`. Of several copies of a sector, the first that has the piece is read."""
        return await asyncio.to_thread(self.open_now, piece)

    def open_now(self, piece: HeldPiece) -> BinaryIO:
        """`open`, for callers that are in a worker thread already."""
        files = self.files(piece.provider, piece.sector)
        if not files:
            raise PieceNotHere(
                piece.key, f"no unsealed file of sector {piece.sector} in {len(self._paths)} paths"
            )
        if piece.offset is None:
            raise PieceUnavailable(
                piece.key, Unavailable.OFFSET_UNKNOWN, "its place in the sector is not known yet"
            )
        failures: list[PieceUnavailable] = []
        for path in files:
            try:
                return self._open_in(path, piece, piece.offset)
            except PieceUnavailable as failure:
                failures.append(failure)
        raise failures[0]

    def files(self, provider: ActorId, sector: SectorNumber) -> tuple[Path, ...]:
        """The unsealed files of a sector that exist, in the order of the paths."""
        places = (unsealed_path(path, provider, sector) for path in self._paths)
        return tuple(place for place in places if place.is_file())

    def _open_in(self, path: Path, piece: HeldPiece, offset: int) -> BinaryIO:
        try:
            file = UnsealedFile.open(path, self._sector_size)
        except UnsealedCorrupt as error:
            raise PieceUnavailable(piece.key, Unavailable.CORRUPT, str(error)) from error
        except OSError as error:
            raise PieceUnavailable(piece.key, Unavailable.READ_FAILED, str(error)) from error
        try:
            return file.read_piece(offset, piece.padded_size, owns_file=True)
        except (NotAllocated, UnsealedChanged, ValueError) as error:
            file.close()
            raise PieceUnavailable(piece.key, _reason(error), str(error)) from error

    def problems(self) -> tuple[str, ...]:
        """Paths that are missing or do not look like a storage path of lotus-miner."""
        found: list[str] = []
        for path in self._paths:
            if not path.is_dir():
                found.append(f"storage path {path} is not a directory; is it mounted?")
            elif not (path / "unsealed").is_dir():
                found.append(f"storage path {path} has no directory 'unsealed'")
        return tuple(found)


def _reason(error: OSError | ValueError) -> Unavailable:
    if isinstance(error, NotAllocated):
        return Unavailable.NOT_UNSEALED
    return Unavailable.READ_FAILED if isinstance(error, OSError) else Unavailable.CORRUPT


_OPTIONS: Final = {"paths", "sector_size"}


@source_kind("storage_path")
def _from_options(options: Mapping[str, Any]) -> StoragePathSource:
    """Options: `paths` (list of directories) and `sector_size` (bytes)."""
    problems = [f"unknown option {name!r}" for name in sorted(set(options) - _OPTIONS)]
    paths, sector_size = options.get("paths"), options.get("sector_size")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        problems.append("'paths' is a list of directories")
    if not isinstance(sector_size, int):
        problems.append("'sector_size' is a number of bytes")
    if problems:
        raise ValueError("storage_path source: " + "; ".join(problems))
    assert isinstance(paths, list)
    assert isinstance(sector_size, int)
    return StoragePathSource([Path(path) for path in paths], sector_size)
