"""Storage paths on disk as lotus-miner and Curio keep them.

`sectorstore.json` describes the path, `unsealed/ sealed/ cache/ update/ update-cache/` hold sectors as
`s-t0<miner>-<number>` (with the literal `t0` on every network), and the miner's `storage.json` lists its paths.
Unsealed files are real: Fr32-padded, with the bitmap of what is present. Sealed files and caches are
sparse stand-ins of the right names and sizes, since nothing here is sealed.
Source: Lotus `storage/sealer/storiface/filetype.go`, `storage/paths/localstorage.go`.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any, BinaryIO

from deals.unsealed import UnsealedWriter
from lotus_client.types import ActorId, PaddedPieceSize, SectorNumber

__all__ = [
    "FileType",
    "PieceBytes",
    "StoragePath",
    "StoragePaths",
    "sector_file_name",
    "write_storage_list",
]


class FileType(IntFlag):
    """The kinds of sector files, as bit flags of the storage index."""

    UNSEALED = 1
    SEALED = 2
    CACHE = 4
    UPDATE = 8
    UPDATE_CACHE = 16

    @property
    def folder(self) -> str:
        """The folder's name within a storage path."""
        return _FOLDERS[self]


_FOLDERS = {
    FileType.UNSEALED: "unsealed",
    FileType.SEALED: "sealed",
    FileType.CACHE: "cache",
    FileType.UPDATE: "update",
    FileType.UPDATE_CACHE: "update-cache",
}


def sector_file_name(miner: ActorId, number: SectorNumber) -> str:
    """`s-t01001-7`."""
    return f"s-t0{miner}-{number}"


@dataclass(frozen=True, slots=True)
class PieceBytes:
    """Where in a sector a piece lies (padded bytes), and its unpadded bytes; None is a piece of zeros."""

    offset: int
    size: PaddedPieceSize
    reader: BinaryIO | None


class StoragePath:
    """One storage path, made if it is not there yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in _FOLDERS.values():
            (root / folder).mkdir(parents=True, exist_ok=True)
        self._meta_file = root / "sectorstore.json"
        if not self._meta_file.exists():
            self._meta_file.write_text(json.dumps(_fresh_metadata(), indent=2))
        self.metadata: dict[str, Any] = json.loads(self._meta_file.read_text())

    @property
    def id(self) -> str:
        """The path's UUID, by which the storage index knows it."""
        return str(self.metadata["ID"])

    def file(self, kind: FileType, miner: ActorId, number: SectorNumber) -> Path:
        """Where the sector's file (or cache directory) of that kind is or would be."""
        return self.root / kind.folder / sector_file_name(miner, number)

    def sectors(self) -> list[tuple[str, FileType]]:
        """(file name, all kinds that are there) of every sector in this path, by name."""
        found: dict[str, FileType] = {}
        for kind in FileType:
            for path in (self.root / kind.folder).glob("s-t0*-*"):
                found[path.name] = found.get(path.name, FileType(0)) | kind
        return sorted(found.items())

    def write_sector(
        self,
        miner: ActorId,
        number: SectorNumber,
        sector_size: int,
        pieces: Iterable[PieceBytes],
    ) -> Path:
        """Write a sector's unsealed file and its stand-ins; the unsealed file's path.

        What an earlier network left under that name is replaced.
        """
        path = self.file(FileType.UNSEALED, miner, number)
        # It is made elsewhere and moved, as the miner does, so that it is never seen half written.
        made = path.with_name(f".{path.name}.being-written")
        made.unlink(missing_ok=True)
        writer = UnsealedWriter(made, sector_size)
        for piece in pieces:
            writer.write_piece(piece.offset, piece.size, piece.reader or io.BytesIO())
        made.replace(path)
        with self.file(FileType.SEALED, miner, number).open("wb") as sealed:
            sealed.truncate(sector_size)
        self.file(FileType.CACHE, miner, number).mkdir(exist_ok=True)
        return path


class StoragePaths:
    """All storage paths of a provider; new sectors go to each in turn."""

    def __init__(self, paths: Sequence[StoragePath]) -> None:
        """Raises ValueError without any path."""
        if not paths:
            raise ValueError("a provider has at least one storage path")
        self.paths = tuple(paths)

    @property
    def root(self) -> Path:
        """The directory of the first path."""
        return self.paths[0].root

    @property
    def id(self) -> str:
        """The UUID of the first path."""
        return self.paths[0].id

    @property
    def metadata(self) -> dict[str, Any]:
        """What `sectorstore.json` of the first path says."""
        return self.paths[0].metadata

    def by_id(self, storage_id: str) -> StoragePath | None:
        """The path of this UUID."""
        return next((path for path in self.paths if path.id == storage_id), None)

    def file(self, kind: FileType, miner: ActorId, number: SectorNumber) -> Path:
        """The sector's file of that kind in the first path that has it; where it would be if none has."""
        places = [path.file(kind, miner, number) for path in self.paths]
        return next(
            (place for place in places if place.exists()),
            self._home(number).file(kind, miner, number),
        )

    def sectors(self) -> list[tuple[str, FileType]]:
        """(file name, all kinds that are there) of every sector in any path, by name."""
        found: dict[str, FileType] = {}
        for path in self.paths:
            for name, kinds in path.sectors():
                found[name] = found.get(name, FileType(0)) | kinds
        return sorted(found.items())

    def write_sector(
        self,
        miner: ActorId,
        number: SectorNumber,
        sector_size: int,
        pieces: Iterable[PieceBytes],
    ) -> Path:
        """See `StoragePath.write_sector`."""
        return self._home(number).write_sector(miner, number, sector_size, pieces)

    def _home(self, number: SectorNumber) -> StoragePath:
        return self.paths[number % len(self.paths)]


def write_storage_list(miner_path: Path, paths: Iterable[StoragePath]) -> None:
    """Write the miner's `storage.json`, which lists its storage paths."""
    listed = [{"Path": str(path.root)} for path in paths]
    (miner_path / "storage.json").write_text(json.dumps({"StoragePaths": listed}, indent=2))


def _fresh_metadata() -> dict[str, Any]:
    return {
        "ID": str(uuid.uuid4()),
        "Weight": 10,
        "CanSeal": True,
        "CanStore": True,
        "MaxStorage": 0,
        "Groups": None,
        "AllowTo": None,
        "AllowTypes": None,
        "DenyTypes": None,
        "AllowMiners": None,
        "DenyMiners": None,
    }
