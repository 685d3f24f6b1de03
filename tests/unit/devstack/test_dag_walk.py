"""Which blocks a trustless gateway sends."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import pytest

from deals.blocks import MissingBlock, each_of
from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from deals.unixfs_write import Layout, add_directory, add_file
from devstack.flavours.dag_walk import DagScope, PathNotFound, walk_dag
from lotus_client import cbor
from lotus_client.cid import DAG_CBOR, DAG_PB, RAW, Cid


class Blocks(dict[Cid, bytes]):
    """Blocks in memory; a sink and a store."""

    def put(self, cid: Cid, data: bytes) -> None:
        self[cid] = data

    def get(self, cid: Cid) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)

    def add(self, codec: int, data: bytes) -> Cid:
        cid = Cid.of_sha2_256(codec, data)
        self[cid] = data
        return cid


def visited(blocks: Blocks, root: Cid, *names: str, scope: DagScope = DagScope.ALL) -> list[Cid]:
    return [cid for cid, _ in walk_dag(blocks, root, names, scope)]


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


def test_the_whole_dag_comes_depth_first_and_repeats_what_is_linked_twice(blocks: Blocks) -> None:
    layout = Layout(chunk_size=4, width=4)
    file = add_file(io.BytesIO(b"aaaabbbbaaaa"), blocks.put, layout)
    directory = add_directory({"f": file, "g": file}, blocks.put)
    a, b = (Cid.of_sha2_256(RAW, data) for data in (b"aaaa", b"bbbb"))
    whole = [file.cid, a, b, a]
    assert visited(blocks, directory.cid) == [directory.cid, *whole, *whole]
    assert visited(blocks, directory.cid, "f") == [directory.cid, *whole]


def test_an_entity_is_a_whole_file_but_only_the_listing_of_a_directory(blocks: Blocks) -> None:
    file = add_file(io.BytesIO(b"x" * 9), blocks.put, Layout(chunk_size=4, width=4))
    directory = add_directory({"f": file}, blocks.put)
    assert visited(blocks, directory.cid, scope=DagScope.ENTITY) == [directory.cid]
    assert len(visited(blocks, directory.cid, "f", scope=DagScope.ENTITY)) == 1 + 4
    assert visited(blocks, directory.cid, "f", scope=DagScope.BLOCK) == [directory.cid, file.cid]


def test_a_sharded_directory_sends_only_the_shards_on_the_way_and_all_when_listed(
    blocks: Blocks,
) -> None:
    leaf = blocks.add(RAW, b"leaf")

    def shard(*links: PbLink) -> Cid:
        data = UnixFsData(UnixFsType.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256).encode()
        return blocks.add(DAG_PB, PbNode(links, data).encode())

    inner, other = shard(PbLink(leaf, "0Aone", 4)), shard(PbLink(leaf, "0Btwo", 4))
    root = shard(PbLink(other, "01", 0), PbLink(inner, "02", 0), PbLink(leaf, "03three", 4))
    assert visited(blocks, root, "one", scope=DagScope.BLOCK) == [root, inner, leaf]
    assert visited(blocks, root, "three", scope=DagScope.BLOCK) == [root, leaf]
    assert visited(blocks, root, scope=DagScope.ENTITY) == [root, other, inner]
    assert visited(blocks, root) == [root, other, leaf, inner, leaf, leaf]


def test_links_in_dag_cbor_are_followed_in_their_order(blocks: Blocks) -> None:
    one, two = blocks.add(RAW, b"1"), blocks.add(RAW, b"2")
    root = blocks.add(DAG_CBOR, cbor.encode({"a": [two, {"x": one}], "b": "text"}))
    assert visited(blocks, root) == [root, two, one]
    assert visited(blocks, root, scope=DagScope.BLOCK) == [root]


def test_a_missing_name_and_a_missing_block_are_errors(blocks: Blocks) -> None:
    file = add_file(io.BytesIO(b"x"), blocks.put)
    directory = add_directory({"f": file}, blocks.put)
    with pytest.raises(PathNotFound, match="'g'"):
        visited(blocks, directory.cid, "g")
    with pytest.raises(PathNotFound):
        visited(blocks, directory.cid, "f", "deeper")
    blocks.pop(file.cid)
    walk = walk_dag(blocks, directory.cid, (), DagScope.ALL)
    assert next(walk)[0] == directory.cid
    with pytest.raises(MissingBlock):
        next(walk)
