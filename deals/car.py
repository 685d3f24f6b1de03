"""CAR files (CARv1, and the CARv1 inside a CARv2), read in bounded memory with every block hashed, and written.

A CARv1 is uvarint-prefixed: a DAG-CBOR header {roots, version 1}, then sections of CID and block bytes. A CARv2 wraps one
behind an 11-byte pragma and a 40-byte header; its index is only a claim about the data (`deals/car_own_index.py`).
In a piece the CAR is followed by zeros, so a section of length 0 is the end.
Source: https://ipld.io/specs/transport/car/carv1/ and carv2/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from deals.blocks import MissingBlock, check_block
from deals.car_errors import CarCorrupt, CarError, CarLimitExceeded, CarLimits, NotACar
from deals.car_sections import MAX_HEAD, BlockPlace, SectionHead, walk_sections
from deals.fr32 import read_up_to
from deals.hash_ahead import hashed_ahead
from deals.ranges import ranges_of
from lotus_client import cbor
from lotus_client.cid import IDENTITY, Cid, CidError
from lotus_client.varint import encode_uvarint

__all__ = [
    "BlockPlace",
    "CarBlocks",
    "CarCorrupt",
    "CarError",
    "CarLimitExceeded",
    "CarLimits",
    "CarReader",
    "CarWriter",
    "NotACar",
]

_V2_HEADER_SIZE: Final = 40
# Pragma and header stand before the inner CAR of a CARv2.
_V2_MIN_DATA_OFFSET: Final = 11 + _V2_HEADER_SIZE

# Version 1 with a digest of 32 bytes: raw, dag-pb or dag-cbor under sha2-256. Most CIDs that there are.
_USUAL_CID: Final = 36
_USUAL_CIDS: Final = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20", b"\x01\x71\x12\x20")
_MAX_VARINT: Final = 10
_SKIP: Final = 1 << 20


class CarReader:
    """A CAR's header, and its blocks in order. Iterate once; the stream need not be seekable.

    `roots` and `version` (1 or 2) are known at once, `end` (the byte behind the last section) and `payload_end` (the
    length of the whole file) after the last block. Behind the data of a CARv2 its index may follow, and no header says how
    long that is: inside a piece, where zeros follow, `payload_end` is then not known.
    """

    def __init__(self, stream: BinaryIO, limits: CarLimits | None = None) -> None:
        """Reads the header.

        Raises:
            NotACar: the stream does not begin with a CAR header.
            CarCorrupt, CarLimitExceeded: it does, but cannot be read further.
        """
        self.limits = limits or CarLimits()
        self._stream = stream
        self._offset = 0
        self._ahead = b""  # read of the stream, but not used yet
        self._data_end: int | None = None
        self.data_start = 0  # of the CARv1 inside
        self.index_start = 0  # of a CARv2's index; 0 without one
        self.end: int | None = None
        self.version = 1
        header = self._header()
        if header.get("version") == 2:
            self.version = 2
            self._enter_v2()
            header = self._header()
        self.roots = self._roots(header)

    @property
    def payload_end(self) -> int | None:
        """How many bytes the CAR file has; None before the last block was read, or where an index of unknown length ends it."""
        if self.end is None or self.index_start:
            return None
        return self.end if self._data_end is None else self._data_end

    def __iter__(self) -> Iterator[tuple[BlockPlace, bytes]]:
        """Every block with its bytes, hashed before they are given out.

        Raises:
            CarCorrupt: a section is cut short, has no CID, a wrong hash or an unknown hash function.
            CarLimitExceeded: a block or their number is above the limits.
        """
        return hashed_ahead(self._unchecked(), _check_at, _refuse)

    def _unchecked(self) -> Iterator[tuple[BlockPlace, bytes]]:
        for start, length in self._sections():
            cid = self._cid(start, length)
            place = BlockPlace(cid, self._offset, length - (self._offset - start))
            self._check_size(place)
            yield place, self._read(place.size, cid)

    def places(self) -> Iterator[BlockPlace]:
        """Every block's place without reading or checking its bytes; the stream must be seekable.

        Raises:
            CarCorrupt, CarLimitExceeded: as iterating, except for hashes.
        """
        return (head.place for head in self.heads())

    def heads(self) -> Iterator[SectionHead]:
        """Every section with its block's place; as `places`."""
        source = ranges_of(self._stream)
        for head in walk_sections(source, self._offset, self._data_end, self.limits):
            self._offset = head.end
            yield head
        self.end = self._offset

    def _sections(self) -> Iterator[tuple[int, int]]:
        """Offset and length of each section's body; the consumer must move behind it."""
        count = 0
        while True:
            section_start = self._offset
            if self._data_end is not None and section_start >= self._data_end:
                break
            length = self._varint(at_end_ok=True)
            if not length:  # the end of the stream, or the zeros behind a CAR in a piece
                break
            count += 1
            if count > self.limits.max_blocks:
                raise CarLimitExceeded(f"more than {self.limits.max_blocks} blocks", section_start)
            if length > self.limits.max_block + MAX_HEAD:
                raise CarLimitExceeded(
                    f"a section of {length} bytes exceeds the block limit {self.limits.max_block}",
                    section_start,
                )
            if self._data_end is not None and self._offset + length > self._data_end:
                raise CarCorrupt("a section goes beyond the CARv2 data", section_start)
            yield self._offset, length
        self.end = section_start

    def _header(self) -> dict[str, cbor.CborValue]:
        start = self._offset
        length = self._varint(at_end_ok=True)
        if not length:
            raise NotACar("no CAR header", start)
        if length > self.limits.max_header:
            raise NotACar(
                f"no CAR header: it would have {length} bytes, the limit is {self.limits.max_header}",
                start,
            )
        raw = read_up_to(self._stream, length)
        try:
            header = cbor.decode(raw) if len(raw) == length else None
        except cbor.CborError as error:
            raise NotACar(f"no CAR header: {error}", start) from error
        self._offset += length
        if not isinstance(header, dict) or "version" not in header:
            raise NotACar("no CAR header: not a map with a version", start)
        if header["version"] not in (1, 2):
            raise NotACar(f"CAR version {str(header['version'])[:20]} is not 1 or 2", start)
        return header

    def _roots(self, header: dict[str, cbor.CborValue]) -> tuple[Cid, ...]:
        if header["version"] != 1:
            raise CarCorrupt("the CAR inside a CARv2 is not a CARv1", self._offset)
        roots = header.get("roots")
        if not isinstance(roots, list):
            raise CarCorrupt("the CAR header has no list of roots", 0)
        if len(roots) > self.limits.max_roots:
            raise CarLimitExceeded(f"more than {self.limits.max_roots} roots", 0)
        cids = tuple(root for root in roots if isinstance(root, Cid))
        if len(cids) != len(roots):
            raise CarCorrupt("a root in the CAR header is not a CID", 0)
        return cids

    def _enter_v2(self) -> None:
        header = self._read(_V2_HEADER_SIZE, "CARv2 header")
        data_offset = int.from_bytes(header[16:24], "little")
        data_size = int.from_bytes(header[24:32], "little")
        if data_offset < _V2_MIN_DATA_OFFSET or not data_size:
            raise CarCorrupt(
                f"the CARv2 header places {data_size} bytes of data at {data_offset}", self._offset
            )
        while self._offset < data_offset:  # padding between header and data
            self._read(min(_SKIP, data_offset - self._offset), "CARv2 padding")
        self._data_end = data_offset + data_size
        self.data_start = data_offset
        self.index_start = int.from_bytes(header[32:40], "little")

    def _cid(self, start: int, length: int) -> Cid:
        """The CID at the start of a section's body, and not a byte more, so that the block can be read in one piece."""
        raw = self._read(min(_USUAL_CID, length), "section")
        if raw[:4] not in _USUAL_CIDS:
            raw += self._take(min(MAX_HEAD, length) - len(raw))
        try:
            cid, end = Cid.decode(raw)
        except CidError as error:
            text = f"a section does not begin with a CID: {error}"
            raise CarCorrupt(text, start) from error
        self._ahead = raw[end:]
        self._offset -= len(self._ahead)
        return cid

    def _check_size(self, place: BlockPlace) -> None:
        if place.size > self.limits.max_block:
            raise CarLimitExceeded(
                f"block {place.cid} has {place.size} bytes, the limit is {self.limits.max_block}",
                place.offset,
            )

    def _read(self, size: int, what: str | Cid) -> bytes:
        data = self._take(size)
        if len(data) != size:
            self._offset -= len(data)
            named = f"block {what}" if isinstance(what, Cid) else what
            raise CarCorrupt(f"{named} is cut short: {len(data)} of {size} bytes", self._offset)
        return data

    def _take(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        data = read_up_to(self._stream, size - len(ahead))
        self._offset += len(ahead) + len(data)
        return ahead + data if ahead else data

    def _varint(self, *, at_end_ok: bool) -> int:
        """The uvarint at the current place; 0 at the end of the stream."""
        value = 0
        start = self._offset
        for group in range(_MAX_VARINT):
            byte = self._ahead[:1] or self._stream.read(1)
            self._ahead = self._ahead[1:]
            if not byte:
                if at_end_ok and group == 0:
                    return 0
                raise CarCorrupt("a length is cut short", start)
            self._offset += 1
            value |= (byte[0] & 0x7F) << 7 * group
            if byte[0] < 0x80:
                if byte[0] == 0 and group:
                    raise CarCorrupt("a length is not in its shortest form", start)
                return value
        raise CarCorrupt("a length exceeds 64 bits", start)


def _check_at(place: BlockPlace, data: bytes) -> None:
    check_block(place.cid, data)


def _refuse(place: BlockPlace, error: Exception) -> bytes:
    raise CarCorrupt(str(error), place.offset) from error


class CarBlocks:
    """A `BlockStore` over a seekable CAR: an index of places in memory, each block hashed when it is got."""

    def __init__(self, stream: BinaryIO, limits: CarLimits | None = None) -> None:
        """Reads the header and the place of every block, not the blocks; of equal CIDs the first counts.

        Raises:
            CarError: as `CarReader`.
        """
        stream.seek(0)
        reader = CarReader(stream, limits)
        places: dict[Cid, BlockPlace] = {}
        for place in reader.places():
            places.setdefault(place.cid, place)
        self.roots = reader.roots
        self.version = reader.version
        self.end = reader.end
        self.places = places
        self._stream = stream

    def __contains__(self, cid: Cid) -> bool:
        return cid in self.places or cid.hash_code == IDENTITY

    def get(self, cid: Cid) -> bytes:
        """The block's bytes, hashed against `cid`; an identity CID is its own block.

        Raises:
            MissingBlock: it is not in the CAR.
            BadBlock, UnknownHash: its bytes do not match, or cannot be checked; names the byte offset.
        """
        data = self._unchecked(cid)
        self._check(cid, data)
        return data

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`; hashed in a second thread while the next ones are read."""
        read = ((cid, self._unchecked(cid)) for cid in cids)
        return hashed_ahead(read, self._check, _raise)

    def _unchecked(self, cid: Cid) -> bytes:
        if cid.hash_code == IDENTITY:
            return cid.digest
        place = self.places.get(cid)
        if place is None:
            raise MissingBlock(cid)
        self._stream.seek(place.offset)
        return read_up_to(self._stream, place.size)

    def _check(self, cid: Cid, data: bytes) -> None:
        if cid.hash_code != IDENTITY:
            check_block(cid, data, f" at byte {self.places[cid].offset}")


def _raise(_: Cid, error: Exception) -> bytes:
    raise error


class CarWriter:
    """Writes a CARv1: same roots and blocks in the same order give the same bytes; repeated blocks are written once."""

    def __init__(self, out: BinaryIO, roots: Iterable[Cid]) -> None:
        header = cbor.encode({"roots": list(roots), "version": 1})
        self._out = out
        self._seen: set[Cid] = set()
        self.size = 0
        self._write(encode_uvarint(len(header)) + header)

    def put(self, cid: Cid, data: bytes) -> None:
        """Appends a block, unless it was written before or is inline in its CID.

        The caller vouches for the hash, having just computed or checked it.
        """
        if cid in self._seen or cid.hash_code == IDENTITY:
            return
        self._seen.add(cid)
        self._write(encode_uvarint(len(cid.raw) + len(data)) + cid.raw)
        self._write(data)

    @property
    def blocks(self) -> int:
        """How many blocks were written."""
        return len(self._seen)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self.size += len(data)
