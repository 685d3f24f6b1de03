"""A process that verifies a piece slowly: `python -m tests.slow_verification CAR FOLDER`; it is there to be killed."""

from __future__ import annotations

import asyncio
import io
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from deals.checkpoint import Checkpoint
from deals.commp import commp
from deals.piece_cid import root_of
from deals.sources.several import SeveralSources
from deals.verify_places import verify_places
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from tests.piece_samples import SamplePiece, held


class Slow(io.BytesIO):
    """Takes a while for each reading, and remembers where the first one was."""

    def __init__(self, data: bytes, pause: float, first: list[int]) -> None:
        super().__init__(data)
        self._pause, self._first = pause, first

    def read(self, size: int | None = -1) -> bytes:
        self._first.append(self.tell())
        time.sleep(self._pause)
        return super().read(size)


class SlowSource:
    """Gives the bytes of one file."""

    def __init__(self, data: bytes, pause: float) -> None:
        self.data, self.pause = data, pause
        self.first: list[int] = []

    async def open(self, piece: HeldPiece) -> BinaryIO:
        return Slow(self.data, self.pause, self.first)

    def problems(self) -> tuple[str, ...]:
        return ()


def piece_of(car: bytes) -> HeldPiece:
    """The held piece of these bytes."""
    commitment = commp(io.BytesIO(car))
    return replace(held(SamplePiece(Cid.of_sha2_256(0x55, b""), car, commitment)), offset=0)


def checkpoint_in(folder: Path, piece: HeldPiece) -> Checkpoint:
    """The checkpoint that both processes use."""
    root = root_of(piece.piece_cid)
    return Checkpoint(folder, "partial", root, piece.padded_size, every=1)


async def main(car: bytes, folder: Path) -> None:
    """Verify, with a pause of half a second for each reading."""
    piece = piece_of(car)
    places = SeveralSources([SlowSource(car, 0.5)]).places((piece,))
    await verify_places(places, piece, checkpoint_in(folder, piece))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])))
