"""dag-pb nodes and the UnixFS message inside them, decoded strictly and encoded as kubo does.

Own protobuf code of a few lines, because the bytes of a block decide its CID: the order of fields and the absence of
defaults are part of the format. Source: https://ipld.io/specs/codecs/dag-pb/spec/ and
https://specs.ipfs.tech/unixfs/ (unixfs.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from lotus_client.cid import Cid, CidError
from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = ["DagPbError", "PbLink", "PbNode", "UnixFsData", "UnixFsType"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class DagPbError(ValueError):
    """Bytes that are not a dag-pb node, or not UnixFS inside one; `offset` is the byte of the block where that shows."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (byte {offset} of the block)")
        self.offset = offset


class UnixFsType(IntEnum):
    """What a UnixFS node is."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    HAMT_SHARD = 5


@dataclass(frozen=True, slots=True)
class PbLink:
    """A link: the child, its name (empty for chunks) and the size of the DAG below it as its maker states it."""

    cid: Cid
    name: str
    tsize: int


@dataclass(frozen=True, slots=True)
class PbNode:
    """A dag-pb node: its links in order, and its data if it has any, which begins at byte `data_at` of a decoded block."""

    links: tuple[PbLink, ...]
    data: bytes | None
    data_at: int = field(default=0, compare=False)

    @classmethod
    def decode(cls, block: bytes) -> PbNode:
        """The node that `block` encodes.

        Links may stand before or after the data (both are found in the wild), but may not be cut by it.

        Raises:
            DagPbError: not dag-pb, or a link that is no CID or whose name is not UTF-8.
        """
        links: list[PbLink] = []
        data: bytes | None = None
        data_at = 0
        interrupted = False
        for number, value, at in _fields(block, 0):
            if number == 1 and isinstance(value, bytes) and data is None:
                data, data_at = value, at
                interrupted = bool(links)
            elif number == 2 and isinstance(value, bytes) and not interrupted:
                links.append(_decode_link(value, at))
            else:
                raise DagPbError(f"field {number} does not belong where it is in a dag-pb node", at)
        return cls(tuple(links), data, data_at)

    def encode(self) -> bytes:
        """The block's bytes: links first, then data, each link with hash, name and size."""
        out = bytearray()
        for link in self.links:
            name = link.name.encode()
            body = _bytes_field(1, link.cid.raw) + _bytes_field(2, name)
            out += _bytes_field(2, body + b"\x18" + encode_uvarint(link.tsize))
        if self.data is not None:
            out += _bytes_field(1, self.data)
        return bytes(out)


@dataclass(frozen=True, slots=True)
class UnixFsData:
    """The UnixFS message of a node; `filesize` is None where the maker left it out."""

    kind: UnixFsType
    data: bytes = b""
    filesize: int | None = None
    blocksizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None

    @classmethod
    def decode(cls, message: bytes, begins_at: int = 0) -> UnixFsData:
        """The message in a node's data field, which begins at that byte of the block; unknown fields (mode, mtime) are passed over.

        Raises:
            DagPbError: not a UnixFS message.
        """
        numbers: dict[int, int] = {}
        data = b""
        sizes: list[int] = []
        for number, value, at in _fields(message, begins_at):
            if number == 2 and isinstance(value, bytes):
                data = value
            elif number == 4:
                sizes += [value] if isinstance(value, int) else _packed(value, at)
            elif number in (1, 3, 5, 6):
                if not isinstance(value, int):
                    raise DagPbError(f"UnixFS field {number} is not a number", at)
                numbers[number] = value
            elif number == 2:
                raise DagPbError("UnixFS data is not bytes", at)
        try:
            kind = UnixFsType(numbers[1])
        except (KeyError, ValueError) as error:
            text = f"UnixFS type {numbers.get(1, 'missing')} is unknown"
            raise DagPbError(text, begins_at) from error
        return cls(kind, data, numbers.get(3), tuple(sizes), numbers.get(5), numbers.get(6))

    def encode(self) -> bytes:
        """The message's bytes as kubo writes them for directories and files (no packed fields)."""
        out = bytearray(b"\x08" + encode_uvarint(self.kind))
        if self.data:
            out += _bytes_field(2, self.data)
        if self.filesize is not None:
            out += b"\x18" + encode_uvarint(self.filesize)
        for size in self.blocksizes:
            out += b"\x20" + encode_uvarint(size)
        for tag, number in ((b"\x28", self.hash_type), (b"\x30", self.fanout)):
            if number is not None:
                out += tag + encode_uvarint(number)
        return bytes(out)


def _bytes_field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + encode_uvarint(len(value)) + value


def _decode_link(body: bytes, begins_at: int) -> PbLink:
    cid: Cid | None = None
    name, tsize, last = "", 0, 0
    for number, value, at in _fields(body, begins_at):
        if number <= last:
            raise DagPbError("the fields of a dag-pb link are repeated or out of order", at)
        last = number
        try:
            if number == 1 and isinstance(value, bytes):
                cid = Cid.from_bytes(value)
            elif number == 2 and isinstance(value, bytes):
                name = value.decode()
            elif number == 3 and isinstance(value, int):
                tsize = value
            else:
                raise DagPbError(f"field {number} does not belong in a dag-pb link", at)
        except CidError as error:
            raise DagPbError(f"a dag-pb link holds no CID: {error}", at) from error
        except UnicodeDecodeError as error:
            raise DagPbError("the name of a dag-pb link is not UTF-8", at) from error
    if cid is None:
        raise DagPbError("a dag-pb link has no CID", begins_at)
    return PbLink(cid, name, tsize)


def _packed(value: bytes, begins_at: int) -> list[int]:
    numbers, at = [], 0
    try:
        while at < len(value):
            number, at = decode_uvarint(value, at)
            numbers.append(number)
    except VarintError as error:
        raise DagPbError(str(error), begins_at + at) from error
    return numbers


def _fields(message: bytes, begins_at: int) -> Iterator[tuple[int, int | bytes, int]]:
    """Field numbers with their values (ints of varints, bytes of everything else), and the byte where the value begins."""
    at = 0
    try:
        while at < len(message):
            key, at = decode_uvarint(message, at)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                start = at
                value, at = decode_uvarint(message, at)
                yield number, value, begins_at + start
                continue
            if wire == _BYTES:
                length, at = decode_uvarint(message, at)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise DagPbError(f"protobuf wire type {wire} is not used in dag-pb", begins_at + at)
            if length > len(message) - at:
                raise DagPbError("a protobuf field is cut short", begins_at + at)
            yield number, message[at : at + length], begins_at + at
            at += length
    except VarintError as error:
        raise DagPbError(str(error), begins_at + at) from error
