"""The worst inputs there are for each parser, one a run: `python -m tests.fuzz.worst NAME` ends with `ok` within bounded memory.

Each is small for who sends it, and speaks of much: sizes that nobody has, nesting, one block linked a million times.
"""

from __future__ import annotations

import io
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from deals.blocks import MissingBlock, each_of
from deals.car import CarError, CarReader
from deals.car_sections import BlockPlace
from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from deals.data_segment import IndexEntry, index_place, parse_index
from deals.fr32 import unpad_quads
from deals.sub_pieces import confirm_segments
from deals.subtree_roots import SubtreeRoots
from deals.unixfs import UnixFs, UnixFsError
from lotus_client import cbor
from lotus_client.bitfield import BitField
from lotus_client.cid import DAG_PB, RAW, Cid
from lotus_client.types import PaddedPieceSize
from lotus_client.varint import encode_uvarint

__all__ = ["CASES"]

_MEMORY: Final = 1 << 30


class _Blocks(dict[Cid, bytes]):
    def get(self, cid: Cid) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)

    def add(self, data: UnixFsData, *links: PbLink) -> Cid:
        block = PbNode(links, data.encode()).encode()
        cid = Cid.of_sha2_256(DAG_PB, block)
        self[cid] = block
        return cid


def _refused(work: Callable[[], object], *errors: type[Exception]) -> None:
    try:
        work()
    except errors:
        return
    raise AssertionError("it was taken")


def _file_of_one_block() -> None:
    blocks = _Blocks()
    cid, size = Cid.of_sha2_256(RAW, b"x"), 1
    blocks[cid] = b"x"
    for _ in range(40):
        data = UnixFsData(UnixFsType.FILE, filesize=2 * size, blocksizes=(size, size))
        cid, size = blocks.add(data, PbLink(cid, "", 0), PbLink(cid, "", 0)), 2 * size
    _refused(lambda: sum(map(len, UnixFs(blocks).read_file(cid))), UnixFsError)


def _file_without_bytes() -> None:
    blocks = _Blocks()
    cid = blocks.add(UnixFsData(UnixFsType.FILE, filesize=0))
    for _ in range(30):
        data = UnixFsData(UnixFsType.FILE, filesize=4, blocksizes=(1,) * 4)
        cid = blocks.add(data, *[PbLink(cid, "", 0)] * 4)
    _refused(lambda: sum(map(len, UnixFs(blocks).read_file(cid))), UnixFsError)


def _shards_of_each_other() -> None:
    blocks = _Blocks()
    shard = UnixFsData(UnixFsType.HAMT_SHARD, fanout=256)
    cid = blocks.add(shard)
    for _ in range(40):
        cid = blocks.add(shard, *(PbLink(cid, f"{slot:02X}", 1) for slot in range(256)))
    _refused(lambda: list(UnixFs(blocks).entries(cid)), UnixFsError)


def _wide_shard() -> None:
    blocks = _Blocks()
    cid = blocks.add(UnixFsData(UnixFsType.HAMT_SHARD, fanout=1 << 60))
    _refused(lambda: list(UnixFs(blocks).entries(cid)), UnixFsError)


def _deep_file() -> None:
    blocks = _Blocks()
    cid = Cid.of_sha2_256(RAW, b"x")
    blocks[cid] = b"x"
    for _ in range(3000):
        cid = blocks.add(
            UnixFsData(UnixFsType.FILE, filesize=1, blocksizes=(1,)), PbLink(cid, "", 0)
        )
    _refused(lambda: list(UnixFs(blocks).read_file(cid)), UnixFsError)


def _car_header() -> None:
    huge = encode_uvarint(2 << 30) + b"\xa2eroots"
    _refused(lambda: CarReader(io.BytesIO(huge)), CarError)


def _car_of_empty_blocks() -> None:
    head = cbor.encode({"roots": [Cid.of_sha2_256(RAW, b"")], "version": 1})
    section = Cid.of_sha2_256(RAW, b"").raw
    body = encode_uvarint(len(head)) + head + (encode_uvarint(len(section)) + section) * 500_000
    places: list[BlockPlace] = []
    for place in CarReader(io.BytesIO(body)).places():
        places = [place]
    assert places[0].size == 0


def _nested_cbor() -> None:
    _refused(lambda: cbor.decode(b"\x81" * 1_000_000 + b"\x00"), cbor.CborError)


def _long_cbor() -> None:
    _refused(lambda: cbor.decode(b"\x9b" + (1 << 60).to_bytes(8, "big")), cbor.CborError)


def _endless_run() -> None:
    field = BitField(((0, 1 << 60),))
    assert BitField.decode(field.encode()) == field


def _full_index() -> None:
    size = 32 << 30
    entry = IndexEntry(bytes(32), 0, PaddedPieceSize(128)).to_bytes()
    padded = entry * index_place(size)[1]
    assert len(parse_index(padded, size)) == 1 << 18


class _LyingIndex:
    """The bytes of a piece of zeros with a full index, every entry of which says that other bytes are there."""

    def __init__(self) -> None:
        entry = IndexEntry(bytes([1]) * 31 + b"\x01", 128, PaddedPieceSize(128)).to_bytes()
        self._chunk = unpad_quads(entry * 1024)

    def seek(self, at: int) -> int:
        return at

    def read(self, size: int) -> bytes:
        return self._chunk[:size]


def _lying_index() -> None:
    found = confirm_segments(_LyingIndex(), SubtreeRoots(PaddedPieceSize(1 << 35), b""))  # type: ignore[arg-type]
    assert (found.segments, len(found.faults), found.fault_count) == ((), 20, 1 << 18)


CASES: Final[dict[str, Callable[[], None]]] = {
    "file-of-one-block": _file_of_one_block,
    "file-without-bytes": _file_without_bytes,
    "shards-of-each-other": _shards_of_each_other,
    "wide-shard": _wide_shard,
    "deep-file": _deep_file,
    "car-header": _car_header,
    "car-of-empty-blocks": _car_of_empty_blocks,
    "nested-cbor": _nested_cbor,
    "long-cbor": _long_cbor,
    "endless-run": _endless_run,
    "full-index": _full_index,
    "lying-index": _lying_index,
}


if __name__ == "__main__":
    # The WASM kernel reserves more addresses than are allowed here, though it uses little of them.
    os.environ.setdefault("SP_PLUGIN_KERNEL", "hashlib")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    CASES[sys.argv[1]]()
    sys.stdout.write("ok\n")
