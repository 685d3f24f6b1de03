"""What is done with a stranger's bytes, parser by parser: each may end in the errors it documents, and in no other way.

`python -m tests.fuzz NAME` lets atheris choose the bytes; `tests/unit/fuzz` gives every target some of hypothesis' at each test run.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import requests

from deals.aggregates import decode_proof
from deals.blocks import BadBlock, MissingBlock, UnknownHash, each_of
from deals.car import CarBlocks, CarError, CarLimits, CarReader, CarWriter
from deals.car_index import IndexEntry as IndexPart
from deals.car_index import load_index, save_index
from deals.car_own_index import own_index
from deals.commp import CommpHasher, feed
from deals.dag_pb import DagPbError, PbLink, PbNode, UnixFsData, UnixFsType
from deals.data_segment import IndexEntry, ProofError, entry_holds, index_place, parse_index
from deals.denylist import parse_denylist
from deals.fr32 import pad_quads, unpad_quads
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from deals.kernels.zeros import ZERO_ROOTS
from deals.piece_cars import PieceCars
from deals.sources.http_piece import range_of
from deals.sub_pieces import confirm_segments
from deals.subtree_roots import roots_of
from deals.unixfs import EntryKind, UnixFs, UnixFsError, UnixFsLimits
from deals.unixfs_shard import MURMUR3_X64_64
from deals.unsealed import UnsealedError, UnsealedFile, UnsealedWriter
from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.bitfield import BitField, BitFieldError
from lotus_client.cid import DAG_PB, IDENTITY, RAW, Cid, CidError
from lotus_client.json_text import read_json
from lotus_client.messages import MessageError, SignedMessage
from lotus_client.types import PaddedPieceSize
from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = ["SEEDS", "TARGETS", "Target"]

Target = Callable[[bytes], None]

_LIMITS: Final = CarLimits(max_block=1 << 16, max_blocks=1000)
_TREE: Final = UnixFsLimits(max_depth=16, max_entries=200, max_file_links=200)
_UNREADABLE: Final = (UnixFsError, DagPbError, MissingBlock, BadBlock, UnknownHash)


def _varint(data: bytes) -> None:
    with suppress(VarintError):
        value, end = decode_uvarint(data)
        assert encode_uvarint(value) == data[:end]  # only the shortest form is one


def _cid(data: bytes) -> None:
    with suppress(CidError):
        cid, end = Cid.decode(data, 0)
        assert cid.raw == data[:end]
        assert Cid.parse(str(cid)) == cid
    with suppress(CidError):
        Cid.parse(data.decode("utf-8", "replace"))


def _cbor(data: bytes) -> None:
    with suppress(cbor.CborError):
        assert cbor.encode(cbor.decode(data)) is not None


def _bitfield(data: bytes) -> None:
    with suppress(BitFieldError):
        field = BitField.decode(data)
        assert BitField.decode(field.encode()) == field


def _address(data: bytes) -> None:
    for read in (Address.from_bytes, lambda raw: Address.parse(raw.decode("utf-8", "replace"))):
        with suppress(AddressError):
            read(data)


def _message(data: bytes) -> None:
    with suppress(MessageError, cbor.CborError, AddressError):
        SignedMessage.from_cbor(data)


def _json(data: bytes) -> None:
    with suppress(ValueError):
        read_json(data)


def _car(data: bytes) -> None:
    for walk in (CarReader.__iter__, CarReader.heads):
        with suppress(CarError):
            for _ in walk(CarReader(io.BytesIO(data), _LIMITS)):
                pass
    with suppress(CarError):
        CarBlocks(io.BytesIO(data), _LIMITS)


def _car_blocks(data: bytes) -> None:
    """Every block that the index of a CAR leads to is what its CID says."""
    with tempfile.TemporaryDirectory() as folder:
        place = IndexPlace(Path(folder), "x", bytes(32), 1 << 16)
        with suppress(CarError):
            wanted = [p.cid for p in islice(CarReader(io.BytesIO(data), _LIMITS).places(), 20)]
            with IndexedBlocks(io.BytesIO(data), place, _LIMITS) as blocks:
                for cid in wanted:
                    with suppress(MissingBlock, BadBlock, UnknownHash):
                        blocks.get(cid)


def _car_own_index(data: bytes) -> None:
    with suppress(CarError):
        pairs = own_index(io.BytesIO(data), _LIMITS)
        assert pairs is None or all(entry.start < len(data) for _, entry in pairs)


def _unsealed(data: bytes) -> None:
    """The bytes behind a sector are its trailer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s-t01000-1"
        path.write_bytes(bytes(512) + data)
        with suppress(UnsealedError), UnsealedFile.open(path, 512) as file:
            for start, size in ((0, 512), (256, 256), (128, 128)):
                if file.has(start, size):
                    assert len(file.read_piece(start, size).read()) == size // 128 * 127


def _http_length(data: bytes) -> None:
    """What a server says of the length of its answer."""
    answer = requests.Response()
    for status, header in ((200, "Content-Length"), (206, "Content-Range")):
        answer.status_code = status
        answer.headers[header] = data.decode("latin-1")
        with suppress(OSError):
            start, end, total = range_of(answer)
            assert all(0 <= number < 1 << 64 for number in (start, end or 0, total or 0))


def _car_index(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x").write_bytes(data)
        index = load_index(Path(folder), "x", bytes(32))
        if index is not None:
            with index:
                list(index.find(data[:16]))


def _segments(data: bytes) -> None:
    size = 1 << 12
    start, most = index_place(size)
    for entry in parse_index(data, size):
        assert entry.offset + entry.size <= start
    piece = bytearray(size // 128 * 127)
    tail = unpad_quads(data[: most * 64].ljust(-(-min(len(data), most * 64) // 128) * 128, b"\0"))
    if tail:
        piece[-len(tail) :] = tail
    with suppress(CarError):
        for head in PieceCars(io.BytesIO(bytes(piece)), size, _LIMITS).heads():
            assert 0 <= head.start < head.end <= len(piece)
    roots = roots_of(feed(CommpHasher(), io.BytesIO(bytes(piece))), size)
    end = 0
    for one in confirm_segments(io.BytesIO(bytes(piece)), roots).segments:
        assert end <= one.entry.offset <= start - one.entry.size
        assert entry_holds(io.BytesIO(bytes(piece)), one.entry)
        end = one.entry.offset + one.entry.size


def _proof(data: bytes) -> None:
    with suppress(ProofError):
        decode_proof(data)


def _dag_pb(data: bytes) -> None:
    with suppress(DagPbError):
        node = PbNode.decode(data)
        if node.data is not None:
            UnixFsData.decode(node.data)


class _Inline:
    """Blocks that are their own CIDs, so that bytes alone make whole trees."""

    def get(self, cid: Cid) -> bytes:
        if cid.hash_code != IDENTITY:
            raise MissingBlock(cid)
        return cid.digest

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)


def _unixfs(data: bytes) -> None:
    root = _identity(DAG_PB, data)
    fs = UnixFs(_Inline(), _TREE)
    with suppress(*_UNREADABLE):
        entry = fs.entry(root)
        if entry.kind is EntryKind.DIRECTORY:
            for link in fs.entries(root):
                fs.resolve(root, (link.name,))
        elif entry.kind is EntryKind.FILE:
            assert sum(map(len, fs.read_file(root))) == entry.size


def _identity(codec: int, data: bytes) -> Cid:
    raw = encode_uvarint(1) + encode_uvarint(codec) + b"\0" + encode_uvarint(len(data)) + data
    cid, _ = Cid.decode(raw, 0)
    return cid


def _fr32(data: bytes) -> None:
    whole = data[: len(data) // 127 * 127]
    assert unpad_quads(pad_quads(whole)) == whole


def _denylist(data: bytes) -> None:
    with suppress(ValueError):  # a version that is not known
        parse_denylist(data.decode("utf-8", "replace").splitlines(), "x.deny")


TARGETS: Final[dict[str, Target]] = {
    "varint": _varint,
    "cid": _cid,
    "cbor": _cbor,
    "bitfield": _bitfield,
    "address": _address,
    "message": _message,
    "json": _json,
    "car": _car,
    "car-blocks": _car_blocks,
    "car-index": _car_index,
    "car-own-index": _car_own_index,
    "unsealed": _unsealed,
    "http-length": _http_length,
    "segments": _segments,
    "proof": _proof,
    "dag-pb": _dag_pb,
    "unixfs": _unixfs,
    "fr32": _fr32,
    "denylist": _denylist,
}


def _seed_car() -> bytes:
    out = io.BytesIO()
    blocks = [b"one", b"two" * 40]
    cids = [Cid.of_sha2_256(RAW, block) for block in blocks]
    writer = CarWriter(out, cids[:1])
    for cid, block in zip(cids, blocks, strict=True):
        writer.put(cid, block)
    return out.getvalue()


def _seed_car_v2() -> bytes:
    car = _seed_car()
    numbers = (51, len(car), 51 + len(car))
    header = bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    heads = CarReader(io.BytesIO(car)).heads()
    records = b"".join(one.place.cid.digest + one.start.to_bytes(8, "little") for one in heads)
    index = struct.pack("<IIQ", 1, 40, len(records)) + records
    return bytes.fromhex("0aa16776657273696f6e02") + header + car + encode_uvarint(0x0400) + index


def _seed_index() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_index(Path(folder), "x", bytes(32), [(b"digest", IndexPart(5, 9))])
        return (Path(folder) / "x").read_bytes()


def _trailer(allocated: BitField) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s-t01000-1"
        UnsealedWriter(path, 512)
        for start, stop in allocated.ranges:
            UnsealedWriter(path, 512).write_piece(start, stop - start, io.BytesIO(b"x"))
        return path.read_bytes()[512:]


def _seed_shard() -> bytes:
    link = PbLink(_identity(RAW, b"hello"), "00a", 5)
    shard = UnixFsData(UnixFsType.HAMT_SHARD, b"\x01", hash_type=MURMUR3_X64_64, fanout=256)
    return PbNode((link,), shard.encode()).encode()


_FILE: Final = bytes.fromhex("0a0b08021205") + b"hello" + b"\x18\x05"
_LINKED: Final = _identity(RAW, b"hello").raw
_DIRECTORY: Final = (
    b"\x12"
    + bytes([len(_LINKED) + 7])
    + b"\x0a"
    + bytes([len(_LINKED)])
    + _LINKED
    + b"\x12\x01a\x18\x05"
    + bytes.fromhex("0a020801")
)

# Something valid to begin with, where there is something: most random bytes end at the first one.
SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "varint": (encode_uvarint(1 << 62),),
    "cid": (Cid.of_sha2_256(RAW, b"x").raw, str(Cid.of_sha2_256(RAW, b"x")).encode()),
    "cbor": (cbor.encode([1, b"x", {"a": None}, Cid.of_sha2_256(RAW, b"x")]),),
    "bitfield": (BitField(((0, 5), (9, 1 << 40))).encode(),),
    "address": (
        Address.of_id(1000).to_bytes(),
        b"f01000",
        b"f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q",
        b"t410fkkld55ioe7qg24wvt7fu6pbknb56ht7pt4zamxa",
    ),
    "json": (b'{"a":[1,{"b":null}]}',),
    "car": (_seed_car(), _seed_car_v2()),
    "car-blocks": (_seed_car(), _seed_car_v2()),
    "car-index": (_seed_index(),),
    "car-own-index": (_seed_car_v2(),),
    "unsealed": (_trailer(BitField(((0, 512),))), _trailer(BitField(((0, 128), (256, 512))))),
    "http-length": (b"bytes 0-1/2", b"bytes 5-99/*", b"127"),
    "segments": (
        IndexEntry(bytes(32), 0, PaddedPieceSize(256)).to_bytes() * 3,
        IndexEntry(ZERO_ROOTS[3], 0, PaddedPieceSize(256)).to_bytes(),
        bytes(64) + IndexEntry(ZERO_ROOTS[4], 512, PaddedPieceSize(512)).to_bytes(),
    ),
    "proof": (cbor.encode([[1, [bytes(32)]], [2, [bytes(32), bytes(32)]]]),),
    "dag-pb": (_FILE, _DIRECTORY),
    "unixfs": (_FILE, _DIRECTORY, _seed_shard()),
    "fr32": (bytes(range(127)) * 2,),
    "denylist": (
        b"version: 1\n---\n/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkjtgyby\n",
    ),
}
