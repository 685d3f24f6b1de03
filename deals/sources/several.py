"""Several piece sources as one, in order of preference, each with its own back-off.

A source that says it is overloaded or does not answer is left alone: for as long as it asks (at most ten minutes), else for a
second, and twice as long each further time. What it says of one piece (sealed only, unknown) costs it nothing.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from deals.ranges import RangeSource, ranges_of
from deals.sources.base import (
    PieceNotHere,
    PieceSource,
    PieceUnavailable,
    SourceFailed,
    Unavailable,
    name_of,
)
from deals.unsealed import PaddedPiece
from fil_plus.pieces import HeldPiece

__all__ = ["BackOff", "Place", "SeveralSources", "SourceState"]

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0
_LONGEST_ASKED: Final = 600.0


@dataclass(slots=True)
class BackOff:
    """How long one source is left alone, and why; `clock` gives seconds."""

    clock: Callable[[], float]
    failures: int = 0
    until: float = 0.0
    reason: str = ""

    @property
    def seconds(self) -> float:
        """The seconds left; 0 if it may be asked."""
        return max(0.0, self.until - self.clock())

    def failed(self, reason: str, retry_after: float) -> None:
        """It failed, and asked for so many seconds; 0 if it named none."""
        self.failures += 1
        doubled = _FIRST_PAUSE * 2.0 ** min(self.failures - 1, 20)
        pause = min(retry_after, _LONGEST_ASKED) or min(doubled, _LONGEST_PAUSE)
        self.until, self.reason = self.clock() + pause, reason

    def well(self) -> None:
        """It answered."""
        self.failures, self.until, self.reason = 0, 0.0, ""


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source as it stands: its name, and for how many seconds it is left alone after what failure."""

    name: str
    paused_seconds: float
    failures: int
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """One copy of a piece at one source. Opening it respects the source's back-off and adds to it."""

    source: PieceSource
    piece: HeldPiece
    back_off: BackOff

    @property
    def name(self) -> str:
        """The source and the copy, for people."""
        return f"{name_of(self.source)} (sector {self.piece.sector})"

    async def open(self, piece: HeldPiece | None = None) -> BinaryIO:
        """As `PieceSource.open`, of this place's own copy unless another is named."""
        wanted = piece or self.piece
        if left := self.back_off.seconds:
            raise PieceUnavailable(
                wanted.key,
                Unavailable.READ_FAILED,
                f"{name_of(self.source)} is left alone for {left:.0f} s after: {self.back_off.reason}",
                retry_after=left,
            )
        try:
            reader = await self.source.open(wanted)
        except PieceUnavailable as error:
            if error.retry_after is not None:
                self.back_off.failed(str(error), error.retry_after)
            raise
        return io.BufferedReader(_Watched(reader, self.back_off), 1 << 16)

    def problems(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.problems()


class _Watched(io.RawIOBase):
    """A source's reader; a failure of the source while it is read counts as one when it is opened."""

    def __init__(self, reader: BinaryIO, back_off: BackOff) -> None:
        super().__init__()
        self._reader = reader
        self._back_off = back_off
        self._ranges: RangeSource | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        try:
            data = self._reader.read(len(view))
        except SourceFailed as error:
            self._back_off.failed(str(error), error.retry_after)
            raise
        if data and self._back_off.failures:
            self._back_off.well()
        view[: len(data)] = data
        return len(data)

    def pread(self, offset: int, size: int) -> bytes:
        """As `readinto`, from an offset; of a source that reads exact ranges no more than these bytes are read."""
        if self._ranges is None:
            self._ranges = ranges_of(self._reader)
        try:
            data = self._ranges.read(offset, size)
        except SourceFailed as error:
            self._back_off.failed(str(error), error.retry_after)
            raise
        if data and self._back_off.failures:
            self._back_off.well()
        return data

    @property
    def padded(self) -> PaddedPiece | None:
        """The piece in its unsealed file, if that is what is read."""
        raw = getattr(self._reader, "raw", self._reader)
        return raw if isinstance(raw, PaddedPiece) else None

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
        super().close()


@dataclass(slots=True)
class SeveralSources:
    """Asks each source in turn; implements `PieceSource`. `clock` gives seconds, for the back-off."""

    sources: Sequence[PieceSource]
    clock: Callable[[], float] = time.monotonic
    _back_offs: list[BackOff] = field(init=False)

    def __post_init__(self) -> None:
        self._back_offs = [BackOff(self.clock) for _ in self.sources]

    def places(self, copies: Sequence[HeldPiece]) -> tuple[Place, ...]:
        """Every copy at every source, the preferred source first."""
        return tuple(
            Place(source, copy, back_off)
            for source, back_off in zip(self.sources, self._back_offs, strict=True)
            for copy in copies
        )

    def states(self) -> tuple[SourceState, ...]:
        """How each source stands, in their order."""
        return tuple(
            SourceState(name_of(source), found.seconds, found.failures, found.reason)
            for source, found in zip(self.sources, self._back_offs, strict=True)
        )

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """See `PieceSource.open`. If none can, the reason of the first that has the sector is given."""
        unavailable: PieceUnavailable | None = None
        for place in self.places((piece,)):
            try:
                return await place.open()
            except PieceNotHere:
                continue
            except PieceUnavailable as error:
                unavailable = unavailable or error
        raise unavailable or PieceNotHere(piece.key, "no source of pieces has its sector")

    def problems(self) -> tuple[str, ...]:
        """What is wrong with any of them, and which is left alone for a while."""
        found = [problem for source in self.sources for problem in source.problems()]
        found += [
            f"{state.name} is left alone for {state.paused_seconds:.0f} s after: {state.reason}"
            for state in self.states()
            if state.paused_seconds
        ]
        return tuple(found)
