"""The file format: a magic line, then frames of length, CRC-32 and one DAG-CBOR list whose first item names it.

| bytes | |
|---|---|
| 16 | `devstack chain 1` |
| 4, 4, n | per frame: length n and CRC-32 of the payload (both big-endian), the payload |

A saved chain's last frame is `["end", frames before it, SHA-256 of all bytes before it]`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from lotus_client import cbor
from lotus_client.cbor import CborError

__all__ = ["MAGIC", "MAX_FRAME", "JournalError", "frame", "read_frames", "read_sealed"]

MAGIC: Final = b"devstack chain 1"
MAX_FRAME: Final = 64 << 20  # bytes; a block's messages are the largest thing, far below
_HEAD: Final = 8

Record = list[Any]


class JournalError(ValueError):
    """A file that holds no chain of this format, or a damaged one, or a chain that cannot be had again."""


def frame(record: object) -> bytes:
    """One record as it lies in the file.

    Raises:
        ValueError: larger than a frame may be.
    """
    payload = cbor.encode(record)
    if len(payload) > MAX_FRAME:
        raise ValueError(f"a record of {len(payload)} bytes is too large")
    return len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload


def read_frames(path: Path, *, torn_end: bool) -> Iterator[tuple[Record, int]]:
    """The records, each with the file offset behind it. With `torn_end` half a frame at the end is not an error.

    Raises:
        JournalError: not a chain file, or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise JournalError(f"{path} is not a devstack chain of format 1")
        size = path.stat().st_size
        while True:
            start = file.tell()
            if start == size:
                return
            payload = _payload(file, size - start)
            if payload is None:
                if torn_end:
                    return
                raise JournalError(f"{path} ends in the middle of a record")
            yield _record(path, payload, start), file.tell()


def _payload(file: BinaryIO, left: int) -> bytes | None:
    """The next payload; None when the file ends before it does."""
    head = file.read(_HEAD)
    length = int.from_bytes(head[:4], "big")
    if len(head) < _HEAD:
        return None
    if length > MAX_FRAME:
        raise JournalError(f"a record claims {length} bytes: the file is damaged")
    if length > left - _HEAD:
        return None
    payload = file.read(length)
    if zlib.crc32(payload) != int.from_bytes(head[4:], "big"):
        raise JournalError(f"the record at byte {file.tell() - length - _HEAD} is damaged")
    return payload


def _record(path: Path, payload: bytes, at: int) -> Record:
    try:
        record = cbor.decode(payload)
    except CborError as error:
        raise JournalError(f"{path}: the record at byte {at} is no DAG-CBOR: {error}") from error
    if not isinstance(record, list) or not record or not isinstance(record[0], str):
        raise JournalError(f"{path}: the record at byte {at} has no name")
    return record


def read_sealed(path: Path) -> Iterator[Record]:
    """The records of a saved chain, without its last; the whole file is checked before the first one comes.

    Raises:
        JournalError: not a saved chain, or a byte of it is not as it was written.
        OSError: it cannot be read.
    """
    last: Record = []
    count, before, behind = -1, len(MAGIC), len(MAGIC)
    for record, end in read_frames(path, torn_end=False):
        last, count, before, behind = record, count + 1, behind, end
    if last[:1] != ["end"] or last[1:] != [count, _digest(path, before)]:
        raise JournalError(f"{path} is not complete, or was changed after it was written")
    for number, (record, _) in enumerate(read_frames(path, torn_end=False)):
        if number < count:
            yield record


def _digest(path: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size:
            piece = file.read(min(size, 1 << 20))
            if not piece:
                break
            digest.update(piece)
            size -= len(piece)
    return digest.digest()
