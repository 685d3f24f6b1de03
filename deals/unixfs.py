"""UnixFS read from verified blocks: files in chunks, directories (plain and HAMT-sharded), paths.

Every number in a DAG was chosen by whoever made it, so depth, entries, visited links and bytes are bounded: a few blocks
that link to each other can otherwise describe a file larger than any disk. Symlinks are listed, never followed.
Source: https://specs.ipfs.tech/unixfs/ ; sharding: go-unixfs `hamt`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deals.blocks import BlockStore
from deals.dag_pb import DagPbError, PbLink, PbNode, UnixFsData, UnixFsType
from deals.unixfs_shard import MURMUR3_X64_64, name_hash
from lotus_client.cid import DAG_PB, RAW, Cid, CidError

__all__ = [
    "Entry",
    "EntryKind",
    "UnixFs",
    "UnixFsCorrupt",
    "UnixFsError",
    "UnixFsLimitExceeded",
    "UnixFsLimits",
    "UnixFsNotFound",
    "parse_ipfs_path",
]

# The widest shard anyone writes is 256; boxo refuses above 1024.
_MAX_FANOUT = 1024


class UnixFsError(ValueError):
    """Base: the UnixFS DAG cannot be read."""


class UnixFsCorrupt(UnixFsError):
    """A block is no UnixFS node, or the sizes in the DAG contradict its bytes; `cid` is the block."""

    def __init__(self, cid: Cid, message: str) -> None:
        super().__init__(f"block {cid}: {message}")
        self.cid = cid


class UnixFsLimitExceeded(UnixFsError):
    """The DAG is deeper, larger or has more entries than the limits allow."""


class UnixFsNotFound(UnixFsError, LookupError):
    """The path names nothing in this DAG."""


class EntryKind(StrEnum):
    """What a directory entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or symlink; `size` is the file's length in bytes as the DAG states it, None if it is no file."""

    cid: Cid
    kind: EntryKind
    size: int | None
    target: str | None = None  # of a symlink


@dataclass(frozen=True, slots=True)
class UnixFsLimits:
    """What a reader accepts, per call: nesting of blocks, entries of one directory, links followed in one file."""

    max_depth: int = 64
    max_entries: int = 1_000_000
    max_file_links: int = 10_000_000


# Links that a file may have without question, and the bytes that each must bring on average beyond them: blocks of a byte
# apiece, or one block linked over and over, cost more time than what they bring is worth.
_FREE_LINKS: Final = 1 << 16
_BYTES_A_LINK: Final = 32


@dataclass(slots=True)
class _Budget:
    """What reading one file has cost and brought."""

    most_links: int
    links: int = 0
    brought: int = 0

    def follow_link(self) -> None:
        self.links += 1
        if self.links > self.most_links:
            raise UnixFsLimitExceeded(f"the file has more than {self.most_links} links")
        if self.links > _FREE_LINKS and self.links * _BYTES_A_LINK > self.brought:
            raise UnixFsLimitExceeded(
                f"the file's first {self.links} links bring only {self.brought} bytes"
            )


def parse_ipfs_path(text: str) -> tuple[Cid, tuple[str, ...]]:
    """Root and names of `<cid>/a/b`, with or without `/ipfs/` or `ipfs://` before it; empty parts are dropped.

    Raises:
        ValueError: it does not begin with a CID, or a part is `.` or `..`.
    """
    rest = text.removeprefix("ipfs://").removeprefix("/ipfs/")
    root, *names = rest.split("/")
    if any(name in (".", "..") for name in names):
        raise ValueError(f"{text[:200]!r}: '.' and '..' have no meaning in an IPFS path")
    try:
        return Cid.parse(root), tuple(name for name in names if name)
    except CidError as error:
        raise ValueError(f"{text[:200]!r} does not begin with a CID: {error}") from error


class UnixFs:
    """Reads UnixFS out of a `BlockStore`, which verifies every block before it gives it."""

    def __init__(self, blocks: BlockStore, limits: UnixFsLimits | None = None) -> None:
        self._blocks = blocks
        self._limits = limits or UnixFsLimits()

    def entry(self, cid: Cid) -> Entry:
        """What `cid` is.

        Raises:
            UnixFsCorrupt: it is no UnixFS node. Errors of the store pass through.
        """
        if cid.codec == RAW:
            return Entry(cid, EntryKind.FILE, len(self._blocks.get(cid)))
        _, data = self._node(cid)
        if data.kind in (UnixFsType.DIRECTORY, UnixFsType.HAMT_SHARD):
            return Entry(cid, EntryKind.DIRECTORY, None)
        if data.kind is UnixFsType.SYMLINK:
            return Entry(cid, EntryKind.SYMLINK, None, data.data.decode(errors="replace"))
        return Entry(cid, EntryKind.FILE, _file_size(cid, data))

    def resolve(self, root: Cid, names: tuple[str, ...]) -> Entry:
        """What lies at the path of `names` below `root`.

        Raises:
            UnixFsNotFound: a name is missing, or a step leads through a file or symlink; says which.
            UnixFsCorrupt, UnixFsLimitExceeded: as listing does.
        """
        if len(names) > self._limits.max_depth:
            raise UnixFsLimitExceeded(f"the path has more than {self._limits.max_depth} parts")
        entry = self.entry(root)
        for depth, name in enumerate(names):
            where = "/".join((str(root), *names[:depth]))
            if entry.kind is not EntryKind.DIRECTORY:
                raise UnixFsNotFound(f"{where} is a {entry.kind}, so it has no {name!r}")
            found = self._child(entry.cid, name)
            if found is None:
                raise UnixFsNotFound(f"{where} has no {name!r}")
            entry = self.entry(found)
        return entry

    def _child(self, cid: Cid, name: str) -> Cid | None:
        """What the directory has under this name; of a sharded one only the shards that may hold it are read."""
        _, data = self._node(cid)
        if data.kind is UnixFsType.HAMT_SHARD and data.hash_type == MURMUR3_X64_64:
            return self._child_of_shard(cid, name)
        return next((link.cid for link in self.entries(cid) if link.name == name), None)

    def _child_of_shard(self, cid: Cid, name: str) -> Cid | None:
        bits = int.from_bytes(name_hash(name), "big")
        left = 64
        while True:
            node, data = self._node(cid)
            if data.kind is not UnixFsType.HAMT_SHARD:
                raise UnixFsCorrupt(
                    cid, f"a {data.kind.name.lower()} where a shard of a directory is expected"
                )
            width = _shard_prefix_width(cid, data)
            fanout = data.fanout or 0
            left -= fanout.bit_length() - 1
            if left < 0:
                raise UnixFsCorrupt(cid, "shards are nested deeper than a hash of 64 bits leads")
            place = f"{bits >> left & fanout - 1:0{width}X}"
            here = [link for link in node.links if link.name[:width] == place]
            if len(here) > 1:
                raise UnixFsCorrupt(cid, f"the slot {place} of a shard is there twice")
            if not here or len(here[0].name) > width:
                return here[0].cid if here and here[0].name[width:] == name else None
            cid = here[0].cid

    def entries(self, cid: Cid) -> Iterator[PbLink]:
        """The entries of a directory with their plain names, in the order of the DAG.

        Raises:
            UnixFsCorrupt: not a directory, a name given twice, or a broken shard.
            UnixFsLimitExceeded: more entries or nested shards than allowed.
        """
        seen: set[str] = set()
        for link in self._links(cid, 0, set()):
            if link.name in seen:
                raise UnixFsCorrupt(cid, f"the name {link.name!r} is there twice")
            seen.add(link.name)
            if len(seen) > self._limits.max_entries:
                raise UnixFsLimitExceeded(f"{cid} has more than {self._limits.max_entries} entries")
            yield link

    def read_file(self, cid: Cid) -> Iterator[bytes]:
        """The bytes of a file, chunk by chunk, in bounded memory.

        Raises:
            UnixFsCorrupt: not a file, or a part is not as long as its parent says.
            UnixFsLimitExceeded: nested too deep, or too many links.
        """
        yield from self._read(cid, None, 0, _Budget(self._limits.max_file_links))

    def _links(self, cid: Cid, depth: int, shards: set[Cid]) -> Iterator[PbLink]:
        self._check_depth(cid, depth)
        # Names in one slot differ from those in another, so no shard stands twice; a bomb's do, a million times.
        if cid in shards:
            raise UnixFsCorrupt(cid, "this shard is in the directory twice")
        shards.add(cid)
        node, data = self._node(cid)
        if data.kind is UnixFsType.DIRECTORY and depth == 0:
            yield from node.links
            return
        if data.kind is not UnixFsType.HAMT_SHARD:
            raise UnixFsCorrupt(cid, f"a {data.kind.name.lower()} where a directory is expected")
        width = _shard_prefix_width(cid, data)
        for link in node.links:
            _check_shard_prefix(cid, link.name, width, data.fanout or 0)
            if len(link.name) == width:
                yield from self._links(link.cid, depth + 1, shards)
            else:
                yield PbLink(link.cid, link.name[width:], link.tsize)

    def _read(self, cid: Cid, expected: int | None, depth: int, budget: _Budget) -> Iterator[bytes]:
        self._check_depth(cid, depth)
        if cid.codec == RAW:
            chunk = self._blocks.get(cid)
            _check_length(cid, len(chunk), expected)
            budget.brought += len(chunk)
            yield chunk
            return
        node, data = self._node(cid)
        if data.kind not in (UnixFsType.FILE, UnixFsType.RAW):
            raise UnixFsCorrupt(cid, f"a {data.kind.name.lower()} where a file is expected")
        if len(node.links) != len(data.blocksizes):
            raise UnixFsCorrupt(cid, f"{len(node.links)} links but {len(data.blocksizes)} sizes")
        _check_length(cid, _file_size(cid, data), expected)
        if data.data:
            budget.brought += len(data.data)
            yield data.data
        if node.links and all(link.cid.codec == RAW for link in node.links):
            self._check_depth(node.links[0].cid, depth + 1)
            yield from self._read_leaves(node, data, budget)
            return
        for link, size in zip(node.links, data.blocksizes, strict=True):
            budget.follow_link()
            if size == 0:  # nothing to read, however many blocks it may be made of
                continue
            yield from self._read(link.cid, size, depth + 1, budget)

    def _read_leaves(self, node: PbNode, data: UnixFsData, budget: _Budget) -> Iterator[bytes]:
        """What raw blocks bring: nearly all of a large file, so they are read ahead."""
        asked: deque[int] = deque()

        def wanted() -> Iterator[Cid]:
            for link, size in zip(node.links, data.blocksizes, strict=True):
                budget.follow_link()
                if size:
                    budget.brought += size  # each is held to it below
                    asked.append(size)
                    yield link.cid

        for cid, chunk in self._blocks.get_many(wanted()):
            _check_length(cid, len(chunk), asked.popleft())
            yield chunk

    def _check_depth(self, cid: Cid, depth: int) -> None:
        if depth > self._limits.max_depth:
            raise UnixFsLimitExceeded(f"{cid} lies deeper than {self._limits.max_depth} blocks")

    def _node(self, cid: Cid) -> tuple[PbNode, UnixFsData]:
        if cid.codec != DAG_PB:
            raise UnixFsCorrupt(cid, f"codec 0x{cid.codec:x} is not UnixFS (dag-pb or raw)")
        block = self._blocks.get(cid)
        try:
            node = PbNode.decode(block)
            return node, UnixFsData.decode(node.data or b"", node.data_at)
        except DagPbError as error:
            raise UnixFsCorrupt(cid, str(error)) from error


def _file_size(cid: Cid, data: UnixFsData) -> int:
    """A file node's length, which its parts must add up to."""
    total = len(data.data) + sum(data.blocksizes)
    if data.filesize is not None and data.filesize != total:
        raise UnixFsCorrupt(cid, f"file size {data.filesize} stated, its parts make {total}")
    return total


def _check_length(cid: Cid, length: int, expected: int | None) -> None:
    if expected is not None and length != expected:
        raise UnixFsCorrupt(cid, f"{length} bytes where its parent says {expected}")


def _shard_prefix_width(cid: Cid, data: UnixFsData) -> int:
    """Hex digits before each name in a shard: those of the highest slot."""
    fanout = data.fanout or 0
    if not 2 <= fanout <= _MAX_FANOUT or fanout & (fanout - 1):
        raise UnixFsCorrupt(cid, f"a shard of {fanout} slots")
    return len(f"{fanout - 1:X}")


def _check_shard_prefix(cid: Cid, name: str, width: int, fanout: int) -> None:
    prefix = name[:width]
    if len(prefix) < width or any(digit not in "0123456789ABCDEF" for digit in prefix):
        raise UnixFsCorrupt(cid, f"the shard link {name[:40]!r} does not begin with its slot")
    if int(prefix, 16) >= fanout:
        raise UnixFsCorrupt(cid, f"the shard link {name[:40]!r} names a slot above {fanout - 1}")
