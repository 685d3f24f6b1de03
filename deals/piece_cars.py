"""The CARs of a piece: one from its first byte on, or one in each segment of an aggregate (FRC-0058).

What an index says is only a hint at where to look. A lying one can hide the CARs of its own piece, no more: every block is hashed
before it is given out, and roots are read from verified bytes by those who trust them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from deals.car import CarReader
from deals.car_errors import CarError, CarLimits
from deals.car_sections import BlockPlace, SectionHead
from deals.data_segment import IndexEntry, index_place, parse_index
from deals.fr32 import pad, read_up_to, unpadded_length
from deals.ranges import RangeSource, ranges_of
from deals.seeking import SeekableReader
from lotus_client.cid import Cid

__all__ = [
    "HeldCar",
    "PieceCars",
    "Window",
    "leading_entries",
    "open_window",
    "windows_among",
    "windows_of",
]

_CHUNK_ENTRIES: Final = 1024
_ENTRY: Final = 64


@dataclass(frozen=True, slots=True)
class Window:
    """Where a CAR may lie in a piece, in unpadded bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class HeldCar:
    """A whole CAR in a piece: where its segment begins (unpadded bytes), its size (None: not known), and its roots."""

    start: int
    payload_size: int | None
    roots: tuple[Cid, ...]


def leading_entries(stream: BinaryIO, padded_size: int) -> tuple[IndexEntry, ...]:
    """The valid entries at the beginning of a piece's index, those that overlap an earlier one left out; by offset.

    The index of a large piece has room for hundreds of thousands, and aggregators fill it from its start: reading ends at the first
    1,024 places without any. Memory: about 300 bytes an entry. `stream` is unpadded and seekable.
    """
    try:
        start, most = index_place(padded_size)
    except ValueError:
        return ()
    found: list[IndexEntry] = []
    for at in range(0, most, _CHUNK_ENTRIES):
        count = min(_CHUNK_ENTRIES, most - at)
        # an index has at least two entries to the 128 bytes of a quad, so its parts are whole quads
        stream.seek(unpadded_length(start + at * _ENTRY))
        raw = read_up_to(stream, unpadded_length(count * _ENTRY))
        entries = parse_index(pad(raw), padded_size)
        if not entries:
            break
        found += entries
    kept: list[IndexEntry] = []
    for entry in sorted(
        found, key=lambda one: one.offset
    ):  # of the same offset the first in the index stays
        if not kept or entry.offset >= kept[-1].offset + kept[-1].size:
            kept.append(entry)
    return tuple(kept)


def windows_of(stream: BinaryIO, padded_size: int) -> tuple[Window, ...]:
    """Where the CARs of the piece may lie, in order: the whole piece if it has no index."""
    entries = leading_entries(stream, padded_size)
    if not entries:
        return (Window(0, unpadded_length(padded_size)),)
    return windows_among(entries)


def windows_among(entries: Sequence[IndexEntry]) -> tuple[Window, ...]:
    """The windows of these segments, which are in order and do not overlap, and of what lies before the first one."""
    windows = [Window(unpadded_length(one.offset), unpadded_length(one.size)) for one in entries]
    if windows and windows[0].start:
        windows.insert(0, Window(0, windows[0].start))
    return tuple(windows)


class PieceCars:
    """The CARs in a seekable stream of a piece's unpadded bytes, read once by `heads`."""

    def __init__(
        self,
        stream: BinaryIO,
        padded_size: int,
        limits: CarLimits | None = None,
        windows: tuple[Window, ...] = (),
    ) -> None:
        """`windows` are where CARs may lie, if it is known; else the piece's index tells."""
        self._stream = stream
        self._limits = limits
        self._windows = windows or windows_of(stream, padded_size)
        # those in which a whole CAR was found, once `heads` came to its end, with the CAR's size
        self.cars: dict[Window, int | None] = {}
        self.payload_size: int | None = None

    def heads(self) -> Iterator[SectionHead]:
        """Every section of every CAR, its places counted from the piece's start.

        In an aggregate a segment that is no CAR is passed over, and one that is broken gives the sections before the fault.

        Raises:
            CarError: the piece is no aggregate, and no CAR or a broken one.
        """
        several = len(self._windows) > 1
        sizes: list[int | None] = []
        for window in self._windows:
            try:
                reader = CarReader(open_window(self._stream, window), self._limits)
                for head in reader.heads():
                    yield _moved(head, window.start)
            except CarError:
                if not several:
                    raise
                sizes.append(None)
            else:
                self.cars[window] = reader.payload_end
                sizes.append(reader.payload_end)
        known = [size for size in sizes if size is not None]
        # a part whose length is not known makes the sum unknown
        self.payload_size = sum(known) if known and len(known) == len(sizes) else None


def _moved(head: SectionHead, by: int) -> SectionHead:
    if not by:
        return head
    place = head.place
    return SectionHead(
        head.start + by, BlockPlace(place.cid, place.offset + by, place.size), head.end + by
    )


def open_window(stream: BinaryIO, window: Window, *, owns_stream: bool = False) -> BinaryIO:
    """The bytes of a window as a seekable file of their own; with `owns_stream` the stream is closed with it."""
    reader = _WindowReader(ranges_of(stream), window, stream if owns_stream else None)
    return cast("BinaryIO", io.BufferedReader(reader, 1 << 16))


class _WindowReader(SeekableReader):
    """The bytes of one window, as a file of their own; the stream may end before it does."""

    def __init__(self, ranges: RangeSource, window: Window, owned: BinaryIO | None) -> None:
        super().__init__(max(0, min(window.size, ranges.size - window.start)))
        self._ranges = ranges
        self._start = window.start
        self._owned = owned

    def close(self) -> None:
        """Close the stream too, if it is this reader's own."""
        if not self.closed and self._owned is not None:
            self._owned.close()
        super().close()

    def pread(self, offset: int, size: int) -> bytes:
        size = min(size, self._size - offset)
        return self._ranges.read(self._start + offset, size) if size > 0 else b""

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.pread(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
