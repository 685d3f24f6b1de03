"""A piece source in one file: kind `folder` reads pieces from files named by their piece CID."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from deals.sources.base import PieceNotHere, source_kind
from fil_plus.pieces import HeldPiece


class FolderSource:
    """Implements `PieceSource`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, piece: HeldPiece) -> BinaryIO:
        try:
            return (self._folder / str(piece.piece_cid)).open("rb")
        except FileNotFoundError as error:
            raise PieceNotHere(piece.key, f"{self._folder} has no such file") from error

    def problems(self) -> tuple[str, ...]:
        return () if self._folder.is_dir() else (f"{self._folder} is no directory",)


@source_kind("folder")
def _from_options(options: Mapping[str, Any]) -> FolderSource:
    if set(options) != {"path"}:
        raise ValueError("folder source: give path and nothing else")
    return FolderSource(Path(options["path"]))
