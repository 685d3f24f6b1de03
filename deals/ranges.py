"""Reading a byte range of a seekable stream, and no more than it where the stream allows that."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from deals.fr32 import read_up_to

__all__ = ["RangeSource", "ReadAt", "ranges_of"]

# `size` bytes from `offset` on, fewer only at the end.
ReadAt: TypeAlias = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class RangeSource:
    """A stream as ranges: `read(offset, size)`, and its length in bytes."""

    read: ReadAt
    size: int


def ranges_of(stream: BinaryIO) -> RangeSource:
    """The stream's ranges. Its own position may move, or not.

    A regular file, and a raw reader with a method `pread(offset, size)`, give exactly what is asked. Any other stream is read
    through its buffer, since a small request may cost it as much as a large one (a piece over HTTP).
    """
    raw = getattr(stream, "raw", stream)
    if isinstance(raw, io.FileIO):
        status = os.fstat(raw.fileno())
        if stat.S_ISREG(status.st_mode):
            return RangeSource(_of_file(raw.fileno()), status.st_size)
    end = stream.seek(0, io.SEEK_END)
    exact: ReadAt | None = getattr(raw, "pread", None)
    return RangeSource(exact or _of_stream(stream), end)


def _of_file(fd: int) -> ReadAt:
    def read(offset: int, size: int) -> bytes:
        data = os.pread(fd, size, offset)
        while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
            data += more  # Linux gives at most 2 GiB at a time
        return data

    return read


def _of_stream(stream: BinaryIO) -> ReadAt:
    def read(offset: int, size: int) -> bytes:
        stream.seek(offset)
        return read_up_to(stream, size)

    return read
