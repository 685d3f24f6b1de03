"""Where the blocks of a piece's CAR lie: an index made once and kept as a compact file, opened in milliseconds.

The file is a header and records sorted by the first 16 bytes of the block's digest; finding a block is a search in mapped memory,
and making it takes memory for a hundred thousand records, whatever their number. It is only a hint: who reads a block compares the
section's head with the CID and hashes the bytes, and makes the index anew when it was wrong. So only the header is protected by a
hash; records that were changed can send a reader to the wrong place, never give it wrong bytes.
"""

from __future__ import annotations

import hashlib
import heapq
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from deals.car_sections import SectionHead
from lotus_client.cid import IDENTITY

__all__ = ["CarIndex", "IndexEntry", "entries_of", "load_index", "save_index"]

_MAGIC: Final = b"sp-plugin CAR index 1\n"
_HEADER: Final = struct.Struct("<22s32sQ")  # magic, commitment of the piece, number of records
_HEADER_SIZE: Final = _HEADER.size + 32  # and its SHA-256
_KEY: Final = 16
_TEMPORARY: Final = ".index-"
_LEFT: Final = 86_400  # seconds
_RECORD: Final = struct.Struct(
    ">16sQI"
)  # key, start and length of the section; as bytes they sort as the CAR does
_SIZE: Final = _RECORD.size
_RUN: Final = 100_000  # records sorted at a time
# Equal keys are copies of a block, or made on purpose; so many are tried.
_MOST_EQUAL: Final = 64


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where a block's section may begin, in bytes of the stream, and its length; 0 if the length is not known."""

    start: int
    length: int


class CarIndex:
    """An open index; a context manager."""

    def __init__(self, mapped: mmap.mmap, count: int) -> None:
        self._mapped = mapped
        self.count = count

    def find(self, digest: bytes) -> Iterator[IndexEntry]:
        """The entries whose block may have this digest, those that come first in the CAR before others."""
        key = _key(digest)
        at = self._first(key)
        for position in range(at, min(at + _MOST_EQUAL, self.count)):
            found, start, length = _RECORD.unpack_from(
                self._mapped, _HEADER_SIZE + position * _SIZE
            )
            if found != key:
                return
            yield IndexEntry(start, length)

    def _first(self, key: bytes) -> int:
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            at = _HEADER_SIZE + middle * _SIZE
            if self._mapped[at : at + _KEY] < key:
                low = middle + 1
            else:
                high = middle
        return low

    def close(self) -> None:
        """Give the file back."""
        self._mapped.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def save_index(
    folder: Path, name: str, commitment: bytes, records: Iterable[tuple[bytes, IndexEntry]]
) -> None:
    """Keep an index of (digest, entry) pairs as `folder/name`, whole or not at all.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    with ExitStack() as stack:
        runs = [_run_file(stack, folder, run) for run in _sorted_runs(records)]
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                _write(file, commitment, heapq.merge(*map(_records_in, runs)))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).rename(folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def load_index(folder: Path, name: str, commitment: bytes) -> CarIndex | None:
    """The index kept as `folder/name`; None if there is none. One that is not whole or of another piece is removed."""
    path = folder / name
    try:
        with path.open("rb") as file:
            count = _checked_count(file, commitment)
            if count is not None:
                return CarIndex(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), count)
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    return None


def entries_of(heads: Iterable[SectionHead]) -> Iterator[tuple[bytes, IndexEntry]]:
    """The pairs for `save_index`; a block that is its own CID needs no place."""
    for head in heads:
        cid = head.place.cid
        if cid.hash_code != IDENTITY:
            yield cid.digest, IndexEntry(head.start, head.end - head.start)


def _remove_leftovers(folder: Path) -> None:
    """Deletes what makers that were killed left behind a day ago or longer."""
    for leftover in folder.glob(_TEMPORARY + "*"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > _LEFT:
                leftover.unlink()


def _key(digest: bytes) -> bytes:
    return digest[:_KEY].ljust(_KEY, b"\0")


def _sorted_runs(records: Iterable[tuple[bytes, IndexEntry]]) -> Iterator[list[bytes]]:
    """Records, sorted in portions."""
    run: list[bytes] = []
    for digest, entry in records:
        run.append(_RECORD.pack(_key(digest), entry.start, entry.length))
        if len(run) == _RUN:
            yield sorted(run)
            run.clear()
    yield sorted(run)


def _run_file(stack: ExitStack, folder: Path, run: list[bytes]) -> BinaryIO:
    file: BinaryIO = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the stack closes it
    file.write(b"".join(run))
    file.seek(0)
    return file


def _records_in(file: BinaryIO) -> Iterator[bytes]:
    while record := file.read(_SIZE):
        yield record


def _write(file: BinaryIO, commitment: bytes, records: Iterator[bytes]) -> None:
    file.write(bytes(_HEADER_SIZE))
    count = 0
    for record in records:
        file.write(record)
        count += 1
    header = _HEADER.pack(_MAGIC, commitment, count)
    file.seek(0)
    file.write(header + hashlib.sha256(header).digest())


def _checked_count(file: BinaryIO, commitment: bytes) -> int | None:
    """How many records the file has; None if it is not whole, not ours, or of another piece."""
    raw = file.read(_HEADER_SIZE)
    header, digest = raw[: _HEADER.size], raw[_HEADER.size :]
    if len(raw) != _HEADER_SIZE or hashlib.sha256(header).digest() != digest:
        return None
    magic, piece, count = _HEADER.unpack(header)
    size = os.fstat(file.fileno()).st_size
    if magic != _MAGIC or piece != commitment or size != _HEADER_SIZE + count * _SIZE:
        return None
    return int(count)
