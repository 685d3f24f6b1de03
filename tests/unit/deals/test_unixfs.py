from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.blocks import MissingBlock, each_of
from deals.car import CarBlocks
from deals.dag_pb import DagPbError, PbLink, PbNode, UnixFsData, UnixFsType
from deals.unixfs import (
    EntryKind,
    UnixFs,
    UnixFsCorrupt,
    UnixFsError,
    UnixFsLimitExceeded,
    UnixFsLimits,
    UnixFsNotFound,
    parse_ipfs_path,
)
from deals.unixfs_write import (
    IPFS_CAR,
    KUBO,
    Layout,
    UnixFsNode,
    UnsupportedFile,
    add_directory,
    add_file,
    add_path,
    pack_car,
)
from lotus_client.cid import DAG_CBOR, DAG_PB, RAW, Cid
from tests.piece_samples import DATA, content, write_files

GOLDEN = json.loads((DATA / "unixfs" / "golden.json").read_text())


class Blocks(dict[Cid, bytes]):
    """A `BlockStore` and a sink in memory; `asked` counts the blocks given out."""

    asked = 0

    def put(self, cid: Cid, data: bytes) -> None:
        self[cid] = data

    def get(self, cid: Cid) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        self.asked += 1
        return self[cid]

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        return each_of(self, cids)

    def node(self, data: UnixFsData | None, *links: PbLink) -> Cid:
        block = PbNode(links, data and data.encode()).encode()
        cid = Cid.of_sha2_256(DAG_PB, block)
        self[cid] = block
        return cid


def layout_of(row: dict[str, int]) -> Layout:
    return Layout(row["chunk_size"], row["width"])


@pytest.mark.parametrize(
    "row", GOLDEN["files"], ids=lambda r: f"{r['size']}-{r['chunk_size']}-{r['width']}"
)
def test_files_get_the_root_that_other_tools_give_them(row: dict[str, int]) -> None:
    blocks = Blocks()
    node = add_file(io.BytesIO(content(row["size"])), blocks.put, layout_of(row))
    assert str(node.cid) == row["root"]
    assert b"".join(UnixFs(blocks).read_file(node.cid)) == content(row["size"])
    assert UnixFs(blocks).entry(node.cid).size == row["size"]


@pytest.mark.parametrize("row", GOLDEN["directories"], ids=lambda row: row["made_by"])
def test_directories_get_the_root_that_other_tools_give_them(
    row: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    files = {name: content(size) for name, size in row["files"].items()}
    node = add_path(write_files(tmp_path, files), Blocks().put, layout_of(row))  # type: ignore[arg-type]
    assert str(node.cid) == row["root"]
    assert node.size == sum(row["files"].values())


@settings(deadline=None)
@given(st.binary(max_size=400), st.integers(1, 9), st.integers(2, 5))
def test_any_file_in_any_layout_is_read_back(data: bytes, chunk: int, width: int) -> None:
    blocks = Blocks()
    node = add_file(io.BytesIO(data), blocks.put, Layout(chunk, width))
    assert b"".join(UnixFs(blocks).read_file(node.cid)) == data
    assert node.size == len(data)


def test_a_car_of_a_directory_holds_all_of_it_under_its_root(tmp_path: Path) -> None:
    files = {"a/b/c.txt": b"deep", "a/x": b"", ".hidden": b"h", "big": content(700_000)}
    out = io.BytesIO(b"before")
    out.seek(6)
    packed = pack_car(write_files(tmp_path, files), out)
    car = out.getvalue()[6:]
    assert packed.car_size == len(car)
    blocks = CarBlocks(io.BytesIO(car))
    assert blocks.roots == (packed.root,)
    assert packed.blocks == len(blocks.places)
    fs = UnixFs(blocks)
    for name, data in files.items():
        entry = fs.resolve(packed.root, tuple(name.split("/")))
        assert b"".join(fs.read_file(entry.cid)) == data


def test_a_sharded_directory_of_another_writer_is_read() -> None:
    with (DATA / "unixfs" / "sharded_directory.car").open("rb") as file:
        blocks = CarBlocks(file)
        fs = UnixFs(blocks)
        names = {link.name for link in fs.entries(blocks.roots[0])}
        assert names == {f"file-{i}.txt" for i in range(300)} | {"sub"}
        inner = fs.resolve(blocks.roots[0], ("sub", "inner.bin"))
        assert b"".join(fs.read_file(inner.cid)) == content(3000)


def test_a_directory_is_sharded_from_the_size_on_that_kubo_shards_it() -> None:
    leaf = UnixFsNode(Cid.of_sha2_256(RAW, b""), 0, 0)
    for count, kind in ((2621, UnixFsType.DIRECTORY), (2622, UnixFsType.HAMT_SHARD)):
        blocks = Blocks()
        names = {f"{i:064}" for i in range(count)}
        made = add_directory(dict.fromkeys(names, leaf), blocks.put)
        data = PbNode.decode(blocks.get(made.cid)).data
        assert UnixFsData.decode(data or b"").kind is kind
        assert {link.name for link in UnixFs(blocks).entries(made.cid)} == names


def test_a_directory_of_ten_thousand_entries_has_the_root_that_ipfs_car_gives_it() -> None:
    """The root is that of npm ipfs-car 3.1.0 (`ipfs-car pack --no-wrap`) for the same tree."""
    blocks = Blocks()
    entries = {
        f"entry-{i:05}.txt": add_file(io.BytesIO(b"content %d\n" % i), blocks.put, IPFS_CAR)
        for i in range(10_000)
    }
    inner = add_file(io.BytesIO(bytes(range(256)) * 9000), blocks.put, IPFS_CAR)
    entries["sub"] = add_directory({"x.bin": inner}, blocks.put, IPFS_CAR)
    made = add_directory(entries, blocks.put, IPFS_CAR)
    assert str(made.cid) == "bafybeie3dbm4zhi4whazttjua667yk76jscflb6w7ldpxahfs2hhvg7tde"
    fs = UnixFs(blocks)
    assert {link.name for link in fs.entries(made.cid)} == entries.keys()
    assert (
        b"".join(fs.read_file(fs.resolve(made.cid, ("entry-09999.txt",)).cid)) == b"content 9999\n"
    )


@given(names=st.sets(st.text(min_size=1, max_size=12).filter(lambda n: "/" not in n), max_size=60))
def test_every_set_of_names_comes_back_from_its_shards(names: set[str]) -> None:
    names = {name for name in names if not any("\ud800" <= c <= "\udfff" for c in name)}
    blocks = Blocks()
    sharding = Layout(chunk_size=100, width=4, shard_bytes=0)
    nodes = {name: add_file(io.BytesIO(name.encode()), blocks.put) for name in names}
    made = add_directory(nodes, blocks.put, sharding)
    found = {link.name: link.cid for link in UnixFs(blocks).entries(made.cid)}
    assert found == {name: node.cid for name, node in nodes.items()}


def test_names_with_the_same_hash_are_refused_with_their_names(monkeypatch) -> None:
    monkeypatch.setattr("deals.unixfs_shard.name_hash", lambda _name: b"samehash")
    leaf = UnixFsNode(Cid.of_sha2_256(RAW, b""), 0, 0)
    with pytest.raises(UnsupportedFile, match="'a' and 'b' have the same hash"):
        add_directory({"a": leaf, "b": leaf}, Blocks().put, Layout(1, 2, shard_bytes=0))


def test_symlinks_and_special_files_are_not_packed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsupportedFile, match="link"):
        add_path(tmp_path, Blocks().put)


def test_symlinks_are_reported_and_never_followed() -> None:
    blocks = Blocks()
    link = blocks.node(UnixFsData(UnixFsType.SYMLINK, b"/etc"))
    root = blocks.node(UnixFsData(UnixFsType.DIRECTORY), PbLink(link, "l", 1))
    entry = UnixFs(blocks).resolve(root, ("l",))
    assert (entry.kind, entry.target) == (EntryKind.SYMLINK, "/etc")
    with pytest.raises(UnixFsNotFound, match="symlink"):
        UnixFs(blocks).resolve(root, ("l", "passwd"))
    with pytest.raises(UnixFsCorrupt, match="symlink"):
        list(UnixFs(blocks).read_file(link))


def test_a_path_that_leads_nowhere_says_where_it_ends() -> None:
    blocks = Blocks()
    file = add_file(io.BytesIO(b"x"), blocks.put)
    root = add_directory({"f": file}, blocks.put).cid
    with pytest.raises(UnixFsNotFound, match="has no 'g'"):
        UnixFs(blocks).resolve(root, ("g",))
    with pytest.raises(UnixFsNotFound, match="is a file"):
        UnixFs(blocks).resolve(root, ("f", "g"))


def bomb(blocks: Blocks, levels: int) -> Cid:
    """A file whose every node links twice to the same child: 2**levels bytes from a few blocks."""
    cid = Cid.of_sha2_256(RAW, b"x")
    blocks[cid] = b"x"
    size = 1
    for _ in range(levels):
        data = UnixFsData(UnixFsType.FILE, filesize=2 * size, blocksizes=(size, size))
        cid = blocks.node(data, PbLink(cid, "", 0), PbLink(cid, "", 0))
        size *= 2
    return cid


def test_a_few_blocks_that_describe_a_huge_file_hit_the_limits() -> None:
    blocks = Blocks()
    with pytest.raises(UnixFsLimitExceeded, match="links"):
        for _ in UnixFs(blocks, UnixFsLimits(max_file_links=500)).read_file(bomb(blocks, 40)):
            pass
    with pytest.raises(UnixFsLimitExceeded, match="deeper"):
        list(UnixFs(blocks, UnixFsLimits(max_depth=10)).read_file(bomb(blocks, 11)))


def test_a_file_of_one_block_linked_a_million_times_is_soon_refused() -> None:
    blocks = Blocks()
    with pytest.raises(UnixFsLimitExceeded, match="bring only"):
        for _ in UnixFs(blocks).read_file(bomb(blocks, 40)):
            pass
    assert blocks.asked < 200_000


def test_a_file_of_many_small_blocks_that_bring_something_is_read() -> None:
    blocks = Blocks()
    leaf = Cid.of_sha2_256(RAW, b"x" * 64)
    blocks[leaf] = b"x" * 64
    inner = UnixFsData(UnixFsType.FILE, filesize=64 * 512, blocksizes=(64,) * 512)
    child = blocks.node(inner, *[PbLink(leaf, "", 64)] * 512)
    outer = UnixFsData(UnixFsType.FILE, filesize=64 * 512 * 200, blocksizes=(64 * 512,) * 200)
    root = blocks.node(outer, *[PbLink(child, "", 0)] * 200)
    assert sum(map(len, UnixFs(blocks).read_file(root))) == 64 * 512 * 200


def test_sizes_that_contradict_the_bytes_are_refused() -> None:
    blocks = Blocks()
    leaf = add_file(io.BytesIO(b"abc"), blocks.put).cid
    link = PbLink(leaf, "", 3)
    file = UnixFsType.FILE
    for data, reason in [
        (UnixFsData(file, filesize=4, blocksizes=(4,)), "3 bytes where its parent says 4"),
        (UnixFsData(file, filesize=9, blocksizes=(3,)), "9 stated"),
        (UnixFsData(file, filesize=3), "1 links but 0 sizes"),
    ]:
        cid = blocks.node(data, link)
        with pytest.raises(UnixFsCorrupt, match=reason):
            list(UnixFs(blocks).read_file(cid))


def test_what_is_no_directory_or_a_broken_one_is_refused() -> None:
    blocks = Blocks()
    leaf = add_file(io.BytesIO(b"abc"), blocks.put).cid
    shard = UnixFsType.HAMT_SHARD
    directory = UnixFsData(UnixFsType.DIRECTORY)
    cases = [
        (blocks.node(directory, PbLink(leaf, "a", 1), PbLink(leaf, "a", 1)), "twice"),
        (blocks.node(UnixFsData(shard, fanout=3), PbLink(leaf, "0a", 1)), "3 slots"),
        (blocks.node(UnixFsData(shard, fanout=1 << 40)), "slots"),
        (blocks.node(UnixFsData(shard), PbLink(leaf, "0a", 1)), "0 slots"),
        (blocks.node(UnixFsData(shard, fanout=256), PbLink(leaf, "zza", 1)), "slot"),
        (blocks.node(UnixFsData(shard, fanout=16), PbLink(leaf, "", 1)), "slot"),
        (blocks.node(UnixFsData(shard, fanout=256), PbLink(leaf, "0A", 1)), "not UnixFS|codec"),
        (blocks.node(UnixFsData(UnixFsType.FILE)), "directory is expected"),
        (blocks.node(None), "unknown"),
        (Cid.of_sha2_256(DAG_CBOR, b"\x80"), "codec 0x71"),
    ]
    for cid, reason in cases:
        with pytest.raises(UnixFsCorrupt, match=reason):
            list(UnixFs(blocks).entries(cid))


def test_nested_shards_and_too_many_entries_are_bounded() -> None:
    blocks = Blocks()
    shard = UnixFsData(UnixFsType.HAMT_SHARD, fanout=16)
    cid = blocks.node(shard)
    for _ in range(70):
        cid = blocks.node(shard, PbLink(cid, "0", 1))
    with pytest.raises(UnixFsLimitExceeded, match="deeper"):
        list(UnixFs(blocks).entries(cid))
    leaf = add_file(io.BytesIO(b""), blocks.put)
    many = add_directory({str(i): leaf for i in range(11)}, blocks.put).cid
    with pytest.raises(UnixFsLimitExceeded, match="entries"):
        list(UnixFs(blocks, UnixFsLimits(max_entries=10)).entries(many))


def test_shards_that_hold_only_each_other_do_not_go_on_for_ever() -> None:
    blocks = Blocks()
    shard = UnixFsData(UnixFsType.HAMT_SHARD, fanout=16)
    cid = blocks.node(shard)
    for _ in range(40):
        cid = blocks.node(shard, *(PbLink(cid, f"{slot:X}", 1) for slot in range(16)))
    with pytest.raises(UnixFsCorrupt, match="twice"):
        list(UnixFs(blocks).entries(cid))
    assert blocks.asked < 100


def test_empty_parts_of_a_file_are_not_followed() -> None:
    blocks = Blocks()
    nowhere = Cid.of_sha2_256(DAG_PB, b"not there")
    empty = UnixFsData(UnixFsType.FILE, filesize=0, blocksizes=(0, 0))
    cid = blocks.node(empty, PbLink(nowhere, "", 0), PbLink(nowhere, "", 0))
    assert b"".join(UnixFs(blocks).read_file(cid)) == b""


def test_a_missing_block_is_said_by_name() -> None:
    blocks = Blocks()
    node = add_file(io.BytesIO(content(100)), blocks.put, Layout(10, 4))
    del blocks[Cid.of_sha2_256(RAW, content(100)[50:60])]
    with pytest.raises(MissingBlock, match=str(Cid.of_sha2_256(RAW, content(100)[50:60]))):
        list(UnixFs(blocks).read_file(node.cid))


@pytest.mark.parametrize("prefix", ["", "/ipfs/", "ipfs://"])
def test_paths_in_their_usual_spellings(prefix: str) -> None:
    cid = Cid.of_sha2_256(RAW, b"")
    assert parse_ipfs_path(f"{prefix}{cid}/a//b/") == (cid, ("a", "b"))


@pytest.mark.parametrize("text", ["", "a/b", "/ipfs/", "bafy", "{cid}/../x", "{cid}/./x"])
def test_paths_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CID|meaning"):
        parse_ipfs_path(text.replace("{cid}", str(Cid.of_sha2_256(RAW, b""))))


@given(st.binary(max_size=120))
def test_any_bytes_are_a_node_or_refused(data: bytes) -> None:
    for decode in (PbNode.decode, UnixFsData.decode):
        with contextlib.suppress(DagPbError):
            decode(data)


links = st.builds(
    PbLink, st.binary(max_size=9).map(lambda b: Cid.of_sha2_256(RAW, b)), st.text(max_size=9), st.integers(0, 2**63)
)  # fmt: skip


@given(st.lists(links, max_size=5), st.none() | st.binary(max_size=20))
def test_nodes_survive_encoding(children: list[PbLink], data: bytes | None) -> None:
    node = PbNode(tuple(children), data)
    assert PbNode.decode(node.encode()) == node


@given(st.lists(links, max_size=6), st.sampled_from(UnixFsType), st.integers(0, 300))
def test_any_dag_gives_entries_or_a_unixfs_error(
    children: list[PbLink], kind: UnixFsType, fanout: int
) -> None:
    blocks = Blocks()
    cid = blocks.node(UnixFsData(kind, b"d", 1, (1,) * len(children), None, fanout), *children)
    for read in (UnixFs(blocks).entries, UnixFs(blocks).read_file):
        try:
            for _ in read(cid):
                pass
        except (UnixFsError, MissingBlock):
            pass


def test_links_with_fields_out_of_order_are_refused() -> None:
    cid = Cid.of_sha2_256(RAW, b"").raw
    name_first = b"\x12\x01a" + b"\x0a" + bytes([len(cid)]) + cid
    with pytest.raises(DagPbError, match="order"):
        PbNode.decode(b"\x12" + bytes([len(name_first)]) + name_first)
    with pytest.raises(DagPbError, match="no CID"):
        PbNode.decode(b"\x12\x03\x12\x01a")


@pytest.mark.parametrize(
    ("block", "byte"),
    [
        (b"\x0a\x02\x08\x01" + b"\x1a\x00", 6),  # a field that no node has
        (b"\x0a\x04\x08\x02\x12\x09", 6),  # UnixFS data that is cut short
        (b"\x0a\x02\x08\x80", 3),  # a varint without an end
    ],
)
def test_what_is_wrong_in_a_node_is_told_with_its_byte(block: bytes, byte: int) -> None:
    blocks = Blocks()
    cid = Cid.of_sha2_256(DAG_PB, block)
    blocks[cid] = block
    with pytest.raises(UnixFsCorrupt, match=f"{cid}.*byte {byte} of the block"):
        UnixFs(blocks).entry(cid)


def test_kubo_layout_is_what_the_documentation_names() -> None:
    assert (KUBO.chunk_size, KUBO.width) == (262_144, 174)
    with pytest.raises(ValueError, match="layout"):
        Layout(0, 2)
