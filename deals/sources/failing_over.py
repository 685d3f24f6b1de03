"""A reader over all places of a piece: where one breaks off, the next goes on.

The bytes of several places, or of a file before and after it was rewritten, may stand side by side in what it gives. So it is only
for readers that prove what they read: `VerifiedReader` for ranges, CommP for a whole piece, CIDs for blocks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import BinaryIO, Final, Self

from deals.fr32 import read_up_to
from deals.seeking import SeekableReader
from deals.sources.base import PieceNotHere, PieceUnavailable, SourceError
from deals.sources.several import Place
from fil_plus.pieces import HeldPiece

__all__ = ["FailingOver"]

_ROUNDS: Final = 3  # a file that is being rewritten is whole again soon; forever is too long
_FORGIVEN: Final = 64 << 20  # bytes after which earlier failures count no more
_OPEN_SECONDS: Final = 120.0


class FailingOver(SeekableReader):
    """Made by `open`. Its reads block: call them in a worker thread; in the event loop's own it cannot go on elsewhere."""

    def __init__(self, places: Sequence[Place], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(0)  # its end is that of the place at hand
        self._places = tuple(places)
        self._loop = loop
        self._tried = 0  # places opened since bytes last came well
        self._since = 0
        self._reader: BinaryIO | None = None

    @classmethod
    async def open(cls, places: Sequence[Place], piece: HeldPiece) -> Self:
        """A reader that stands at the first place that can be opened.

        Raises:
            PieceNotHere, PieceUnavailable: none can; the first reason of one that has the sector.
        """
        made = cls(places, asyncio.get_running_loop())
        failures: list[SourceError] = []
        for _ in places:
            try:
                made._reader = await made._place().open()
            except SourceError as error:
                failures.append(error)
            else:
                return made
        raise next(
            (error for error in failures if isinstance(error, PieceUnavailable)),
            failures[0] if failures else PieceNotHere(piece.key, "no source of pieces is named"),
        )

    def _place(self) -> Place:
        place = self._places[self._tried % len(self._places)]
        self._tried += 1
        return place

    def another(self) -> bool:
        """Go on at the next place, since this one's bytes are wrong or none; False if none is left to try."""
        if self._in_loop():
            return False
        self._drop()
        while self._tried < _ROUNDS * len(self._places):
            opening = asyncio.run_coroutine_threadsafe(self._place().open(), self._loop)
            try:
                self._reader = opening.result(_OPEN_SECONDS)
            except (SourceError, TimeoutError):
                opening.cancel()
            else:
                return True
        return False

    def _in_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _end(self) -> int:
        if self._reader is None:
            raise OSError("no place of the piece can be read")
        return self._reader.seek(0, os.SEEK_END)

    def readinto(self, buffer: object) -> int:
        """Some bytes from the position on.

        Raises:
            OSError: none of the places can go on; the last failure.
        """
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while True:
            try:
                size = self._read(view)
            except OSError:
                if not self.another():
                    raise
            else:
                self._position += size
                self._since += size
                if self._since > _FORGIVEN:
                    self._tried, self._since = self._tried % len(self._places), 0
                return size

    def pread(self, offset: int, size: int) -> bytes:
        """`size` bytes from an offset on, fewer only at the end, and no more read than needed where the source can do that.

        Raises:
            OSError: none of the places can go on; the last failure.
        """
        while True:
            try:
                return self._exactly(offset, size)
            except OSError:
                if not self.another():
                    raise

    def _exactly(self, offset: int, size: int) -> bytes:
        if self._reader is None:
            raise OSError("no place of the piece can be read")
        exact = getattr(getattr(self._reader, "raw", None), "pread", None)
        if exact is not None:
            return bytes(exact(offset, size))
        self._reader.seek(offset)
        return read_up_to(self._reader, size)

    def _read(self, view: memoryview) -> int:
        if self._reader is None:
            raise OSError("no place of the piece can be read")
        if self._reader.tell() != self._position:
            self._reader.seek(self._position)
        data = self._reader.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close the reader at hand."""
        if not self.closed:
            self._drop()
        super().close()
