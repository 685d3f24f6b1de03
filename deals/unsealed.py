"""Unsealed sector files of lotus-miner: Fr32-padded data, then a bitmap of the bytes that are really there.

Layout: sector-size bytes of padded data with pieces at padded offsets, an RLE+ bitmap of the padded bytes present, and the
bitmap's length as uint32 little-endian. No trailer at all means everything is present; a bitmap of length 0 means nothing
is, whatever the file's size suggests. Source: Lotus `storage/sealer/partialfile/partialfile.go`.

The miner may rewrite or delete a file at any time, so every read checks afterwards that the file is still the one opened.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from deals.fr32 import (
    PADDED_QUAD,
    UNPADDED_QUAD,
    check_padded_piece_size,
    pad_stream,
    padded_range,
    unpad_quads_into,
    unpadded_length,
)
from deals.seeking import SeekableReader
from lotus_client.bitfield import MAX_ENCODED_SIZE, BitField, BitFieldError

__all__ = [
    "NotAllocated",
    "PaddedPiece",
    "UnsealedChanged",
    "UnsealedCorrupt",
    "UnsealedError",
    "UnsealedFile",
    "UnsealedWriter",
]

_LENGTH_FIELD: Final = 4

# Padded bytes unpadded at a time; the memory one reader needs.
_MAX_READ: Final = 1 << 20

# A reader's buffer, so that small reads do not each unpad a quad anew.
_BUFFER: Final = 512 * UNPADDED_QUAD


class UnsealedError(OSError):
    """Base: an unsealed sector file cannot give the bytes asked for."""


class UnsealedCorrupt(UnsealedError):
    """The file is not a whole unsealed file of the sector size named."""


class NotAllocated(UnsealedError):
    """The range is not present in the file; the sector must be unsealed first."""


class UnsealedChanged(UnsealedError):
    """The file was changed, replaced or deleted while it was read; try again."""


class UnsealedFile:
    """One unsealed file, opened read-only; never locks or writes. A context manager."""

    def __init__(self, path: Path, fd: int, sector_size: int, allocated: BitField) -> None:
        self.path = path
        self.sector_size = sector_size
        self.allocated = allocated
        self._fd = fd
        self._identity = _identity(os.fstat(fd))

    @classmethod
    def open(cls, path: Path, sector_size: int) -> UnsealedFile:
        """The file at `path` with its bitmap read.

        Raises:
            OSError: it cannot be opened.
            UnsealedCorrupt: too short, or its trailer does not hold together.
            ValueError: `sector_size` is not a power of two.
        """
        size = check_padded_piece_size(sector_size)
        # O_NONBLOCK: a FIFO put in the place of a file must not hang us
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return cls(path, fd, size, _read_allocation(path, fd, size))
        except BaseException:
            os.close(fd)
            raise

    def has(self, offset: int, padded_size: int) -> bool:
        """Whether all padded bytes of the range are present."""
        return self.allocated.covers(offset, offset + padded_size)

    def read_piece(self, offset: int, padded_size: int, *, owns_file: bool = False) -> BinaryIO:
        """The unpadded bytes of the piece at a padded offset: a seekable reader of bounded memory.

        The reader depends on this file staying open; with `owns_file` closing the reader closes the file too. Its reads
        raise `UnsealedChanged` when the file changed.

        Raises:
            ValueError: the range is no piece of this sector (alignment, size, end).
            NotAllocated: part of it is not present.
        """
        size = check_padded_piece_size(padded_size)
        if offset < 0 or offset % size or offset + size > self.sector_size:
            raise ValueError(
                f"{self.path}: no piece of {size} padded bytes can lie at {offset} of {self.sector_size}"
            )
        self._check_unchanged()
        if not self.has(offset, size):
            raise NotAllocated(
                f"{self.path}: padded bytes {offset}..{offset + size} are not unsealed here; "
                "ask the miner to unseal the sector"
            )
        return io.BufferedReader(PaddedPiece(self, offset, size, owns_file=owns_file), _BUFFER)

    def _read_padded(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer with padded bytes from `start` on."""
        done = 0
        while done < len(buffer) and (size := _pread_into(self._fd, buffer[done:], start + done)):
            done += size
        self._check_unchanged()
        if done != len(buffer):
            raise UnsealedChanged(f"{self.path} became shorter while it was read")

    def _check_unchanged(self) -> None:
        try:
            now = self.path.stat()
        except OSError as error:
            raise UnsealedChanged(f"{self.path} disappeared while it was read") from error
        if not _identity(now) == _identity(os.fstat(self._fd)) == self._identity:
            raise UnsealedChanged(f"{self.path} was changed while it was read; read it again")

    def close(self) -> None:
        """Closes the file; readers made from it fail from then on. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class PaddedPiece(SeekableReader):
    """The raw reader below a piece: unpads whole quads around what is asked, and can give them padded.

    One thread at a time reads from it. It is not buffered: what is asked for is what is read of the file.
    """

    def __init__(
        self, file: UnsealedFile, offset: int, padded_size: int, *, owns_file: bool
    ) -> None:
        super().__init__(unpadded_length(padded_size))
        self._owns_file = owns_file
        self._file = file
        self._offset = offset
        self.padded_size = padded_size
        self._room = bytearray()

    def close(self) -> None:
        if self._owns_file and not self.closed:
            self._file.close()
        super().close()

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start = min(self._position, self._size)
        stop = min(start + len(view), self._size, start + unpadded_length(_MAX_READ - PADDED_QUAD))
        if stop <= start:
            return 0
        first, last = padded_range(start, stop)
        padded = self._scratch(last - first)
        self._file._read_padded(self._offset + first, padded)
        skip = start - unpadded_length(first)
        size = unpadded_length(last - first)
        if skip == 0 and size <= len(view):  # whole quads go straight to where they are wanted
            unpad_quads_into(padded, view)
        else:
            unpad_quads_into(padded, padded)
            view[: stop - start] = padded[skip : skip + stop - start]
        self._position += stop - start
        return stop - start

    def pread(self, offset: int, size: int) -> bytes:
        """`size` unpadded bytes from an offset on, fewer only at the piece's end; the position stays where it is.

        Raises:
            UnsealedChanged: the file changed.
        """
        stop = min(offset + size, self._size)
        if offset < 0 or stop <= offset:
            return b""
        first, last = padded_range(offset, stop)
        padded = self._scratch(last - first)
        self._file._read_padded(self._offset + first, padded)
        unpad_quads_into(padded, padded)
        skip = offset - unpadded_length(first)
        return bytes(padded[skip : skip + stop - offset])

    def padded_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer with the padded bytes of this piece from `start` on; what is behind its end is an error.

        Raises:
            UnsealedChanged: the file changed.
        """
        if start < 0 or start + len(buffer) > self.padded_size:
            raise ValueError(
                f"padded bytes from {start} are not all in a piece of {self.padded_size}"
            )
        self._file._read_padded(self._offset + start, buffer)

    def _scratch(self, size: int) -> memoryview:
        """Room for padded bytes, kept from read to read."""
        if len(self._room) < size:
            self._room = bytearray(size)
        return memoryview(self._room)[:size]


class UnsealedWriter:
    """Makes an unsealed file as lotus-miner does; for the devstack and for tests, never for a miner's own paths."""

    def __init__(self, path: Path, sector_size: int) -> None:
        """Opens the unsealed file at `path`, creating an empty sparse one if there is none.

        Raises:
            UnsealedCorrupt: a file is there and is not of this sector size.
        """
        self.path = path
        self.sector_size = check_padded_piece_size(sector_size)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.truncate(self.sector_size)
                _write_trailer(file, self.sector_size, BitField())

    def write_piece(self, offset: int, padded_size: int, reader: BinaryIO) -> None:
        """Writes a piece, unpadded in `reader`, at a padded offset; zeros fill it to `padded_size`.

        Raises:
            ValueError: the range is no piece of this sector, or `reader` holds more than fits.
        """
        size = check_padded_piece_size(padded_size)
        if offset < 0 or offset % size or offset + size > self.sector_size:
            raise ValueError(f"no piece of {size} padded bytes can lie at {offset}")
        with UnsealedFile.open(self.path, self.sector_size) as before:
            allocated = before.allocated
        with self.path.open("r+b") as file:
            file.seek(offset)
            written = 0
            for chunk in pad_stream(reader):
                written += len(chunk)
                if written > size:
                    raise ValueError(f"the payload does not fit in a piece of {size} padded bytes")
                file.write(chunk)
            _write_zeros(file, size - written)
            _write_trailer(
                file,
                self.sector_size,
                allocated | BitField(((offset, offset + size),)),
            )

    def free(self, offset: int, padded_size: int) -> None:
        """Marks a range as not present, as the miner does when an unsealed copy is removed."""
        with UnsealedFile.open(self.path, self.sector_size) as before:
            allocated = before.allocated
        with self.path.open("r+b") as file:
            rest = allocated - BitField(((offset, offset + padded_size),))
            _write_trailer(file, self.sector_size, rest)


def _pread_into(fd: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [buffer], offset)
    data = os.pread(fd, len(buffer), offset)  # older macOS
    buffer[: len(data)] = data
    return len(data)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_allocation(path: Path, fd: int, sector_size: int) -> BitField:
    size = os.fstat(fd).st_size
    if size < sector_size:
        raise UnsealedCorrupt(f"{path} has {size} bytes, fewer than the sector size {sector_size}")
    if size == sector_size:
        return BitField(((0, sector_size),))
    field = os.pread(fd, _LENGTH_FIELD, size - _LENGTH_FIELD)
    length = int.from_bytes(field, "little")
    if len(field) != _LENGTH_FIELD or sector_size + length + _LENGTH_FIELD != size:
        raise UnsealedCorrupt(
            f"{path} has {size} bytes, but its trailer says {sector_size} + {length} + {_LENGTH_FIELD}"
        )
    try:
        allocated = BitField.decode(_read_trailer(fd, sector_size, length))
    except BitFieldError as error:
        raise UnsealedCorrupt(f"{path}: the allocation bitmap is corrupt: {error}") from error
    if allocated.ranges and allocated.ranges[-1][1] > sector_size:
        raise UnsealedCorrupt(f"{path}: the allocation bitmap goes beyond the sector")
    return allocated


def _read_trailer(fd: int, start: int, length: int) -> bytes:
    if length > MAX_ENCODED_SIZE:  # said before reading it
        raise BitFieldError(f"{length} bytes exceed the limit {MAX_ENCODED_SIZE}")
    return os.pread(fd, length, start)


def _write_trailer(file: BinaryIO, sector_size: int, allocated: BitField) -> None:
    encoded = allocated.encode()
    file.seek(sector_size)
    file.write(encoded + len(encoded).to_bytes(_LENGTH_FIELD, "little"))
    file.truncate()


def _write_zeros(file: BinaryIO, count: int) -> None:
    block = bytes(min(count, _MAX_READ))
    while count:
        count -= file.write(block[:count])
