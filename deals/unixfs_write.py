"""UnixFS written deterministically: the same files give the same root CID as `ipfs add --cid-version 1`.

`KUBO` is that layout: raw leaves, chunks of 262,144 bytes, balanced DAG of at most 174 links per node (kubo docs,
`Import.*` of the config reference; boxo `ipld/unixfs/importer/helpers`). `IPFS_CAR` is npm ipfs-car's: 1 MiB and 1024.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from deals.car import CarWriter
from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from deals.fr32 import read_up_to
from deals.unixfs_shard import shard_entries
from lotus_client.cid import DAG_PB, RAW, Cid

__all__ = [
    "IPFS_CAR",
    "KUBO",
    "BlockSink",
    "Layout",
    "PackedCar",
    "UnixFsNode",
    "UnsupportedFile",
    "add_directory",
    "add_file",
    "add_path",
    "pack_car",
]

BlockSink = Callable[[Cid, bytes], None]

# kubo `Import.UnixFSHAMTDirectorySizeThreshold`: from names and CIDs of this many bytes on, a directory is sharded.
_KUBO_SHARDS_FROM: Final = 256 << 10


class UnsupportedFile(ValueError):
    """A symlink, device or socket, a name that is not UTF-8, names that no directory holds together: no place in a result."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How files are cut, bytes per chunk and links per node, and when a directory is sharded.

    From `shard_bytes` of names and CIDs on, or above `shard_entries` entries; None is never.
    """

    chunk_size: int
    width: int
    shard_bytes: int | None = _KUBO_SHARDS_FROM
    shard_entries: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or self.width < 2:
            raise ValueError("a layout has chunks of at least 1 byte and nodes of at least 2 links")


KUBO: Final = Layout(chunk_size=262_144, width=174)
IPFS_CAR: Final = Layout(chunk_size=1 << 20, width=1024, shard_bytes=None, shard_entries=1000)


@dataclass(frozen=True, slots=True)
class UnixFsNode:
    """A written node: its CID, the bytes of content below it, and of all its blocks (`tsize`)."""

    cid: Cid
    size: int
    tsize: int


def add_file(reader: BinaryIO, sink: BlockSink, layout: Layout = KUBO) -> UnixFsNode:
    """Writes a file's blocks, leaves first; a file of one chunk is a single raw block, an empty one too."""
    levels: list[list[UnixFsNode]] = [[]]
    while chunk := read_up_to(reader, layout.chunk_size):
        _push(levels, 0, _leaf(chunk, sink), sink, layout)
    if not levels[0] and len(levels) == 1:
        return _leaf(b"", sink)
    level = 0
    while level < len(levels) - 1:
        if levels[level]:
            _push(levels, level + 1, _parent(levels[level], sink), sink, layout)
        level += 1
    top = levels[-1]
    return top[0] if len(top) == 1 else _parent(top, sink)


def add_directory(
    entries: Mapping[str, UnixFsNode], sink: BlockSink, layout: Layout = KUBO
) -> UnixFsNode:
    """Writes a directory, sharded where the layout says so; entries are ordered by the bytes of their names.

    Raises:
        UnsupportedFile: two names of a sharded directory have the same hash.
    """
    nodes = entries.values()
    content = sum(node.size for node in nodes)
    if _is_sharded(entries, layout):
        shards = {name: PbLink(node.cid, name, node.tsize) for name, node in entries.items()}
        try:
            cid, tsize = shard_entries(shards, sink)
        except ValueError as error:
            raise UnsupportedFile(str(error)) from error
        return UnixFsNode(cid, content, tsize)
    ordered = sorted(entries.items(), key=lambda item: item[0].encode())
    links = tuple(PbLink(node.cid, name, node.tsize) for name, node in ordered)
    block = PbNode(links, UnixFsData(UnixFsType.DIRECTORY).encode()).encode()
    cid = Cid.of_sha2_256(DAG_PB, block)
    sink(cid, block)
    return UnixFsNode(cid, content, len(block) + sum(node.tsize for node in nodes))


def _is_sharded(entries: Mapping[str, UnixFsNode], layout: Layout) -> bool:
    if layout.shard_entries is not None and len(entries) > layout.shard_entries:
        return True
    estimate = sum(len(name.encode()) + len(node.cid.raw) for name, node in entries.items())
    return layout.shard_bytes is not None and estimate >= layout.shard_bytes


def add_path(path: Path, sink: BlockSink, layout: Layout = KUBO) -> UnixFsNode:
    """Writes a file or a whole directory tree, hidden files included; modes and times are not kept.

    Raises:
        UnsupportedFile: a symlink or special file; nothing is followed.
    """
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        # O_NOFOLLOW: what was a file a moment ago may be a link now
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as reader:  # noqa: PTH123 - a descriptor has no Path
            return add_file(reader, sink, layout)
    if not stat.S_ISDIR(mode):
        raise UnsupportedFile(f"{path} is a symlink or special file, which a result cannot hold")
    entries: dict[str, UnixFsNode] = {}
    for child in sorted(path.iterdir(), key=lambda item: os.fsencode(item.name)):
        try:
            child.name.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedFile(f"{child!r}: the name is not UTF-8") from error
        entries[child.name] = add_path(child, sink, layout)
    return add_directory(entries, sink, layout)


@dataclass(frozen=True, slots=True)
class PackedCar:
    """A written CARv1: its root, the file's bytes, its number of blocks and the bytes of content."""

    root: Cid
    car_size: int
    blocks: int
    content_size: int


def pack_car(path: Path, out: BinaryIO, layout: Layout = KUBO) -> PackedCar:
    """Writes the file or directory at `path` as a CARv1 with one root into the seekable `out`; leaves come first.

    Raises:
        UnsupportedFile: as `add_path`.
    """
    start = out.tell()
    # The root is known last, but its CID has always 36 bytes: a stand-in keeps its place.
    writer = CarWriter(out, [Cid.of_sha2_256(RAW, b"")])
    node = add_path(path, writer.put, layout)
    end = out.tell()
    out.seek(start)
    CarWriter(out, [node.cid])
    out.seek(end)
    return PackedCar(node.cid, writer.size, writer.blocks, node.size)


def _push(
    levels: list[list[UnixFsNode]], level: int, node: UnixFsNode, sink: BlockSink, layout: Layout
) -> None:
    """Adds a node; a full row becomes a parent at once, so memory holds fewer than `width` nodes per level."""
    levels[level].append(node)
    if len(levels[level]) == layout.width:
        if level + 1 == len(levels):
            levels.append([])
        _push(levels, level + 1, _parent(levels[level], sink), sink, layout)
        levels[level] = []


def _leaf(chunk: bytes, sink: BlockSink) -> UnixFsNode:
    cid = Cid.of_sha2_256(RAW, chunk)
    sink(cid, chunk)
    return UnixFsNode(cid, len(chunk), len(chunk))


def _parent(children: list[UnixFsNode], sink: BlockSink) -> UnixFsNode:
    size = sum(child.size for child in children)
    data = UnixFsData(
        UnixFsType.FILE, filesize=size, blocksizes=tuple(child.size for child in children)
    )
    links = tuple(PbLink(child.cid, "", child.tsize) for child in children)
    block = PbNode(links, data.encode()).encode()
    cid = Cid.of_sha2_256(DAG_PB, block)
    sink(cid, block)
    return UnixFsNode(cid, size, len(block) + sum(child.tsize for child in children))
