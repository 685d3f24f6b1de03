"""Which blocks a trustless gateway sends, in depth-first order.

First those from the root to the end of the path, then those of the scope: the whole DAG, the entity (a whole file, or the
blocks that list a directory), or the last block alone. Pure over a `BlockStore`.
Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from deals.blocks import BlockStore
from deals.dag_pb import DagPbError, PbLink, PbNode, UnixFsData, UnixFsType
from lotus_client import cbor
from lotus_client.cid import DAG_CBOR, DAG_PB, Cid

__all__ = ["DagScope", "PathNotFound", "walk_dag"]


class DagScope(StrEnum):
    """How much of the DAG below the path's end is wanted."""

    ALL = "all"
    ENTITY = "entity"
    BLOCK = "block"


class PathNotFound(LookupError):
    """The path leads to nothing; says where."""


def walk_dag(
    blocks: BlockStore, root: Cid, names: tuple[str, ...], scope: DagScope
) -> Iterator[tuple[Cid, bytes]]:
    """Every block as it is visited, so one that is linked twice comes twice.

    Raises:
        PathNotFound: a name of the path is missing.
        MissingBlock: a block is not held; those before it were given already.
        ValueError: a block does not decode.
    """
    target = root
    for name in names:
        way, found = _find(blocks, target, name)
        if found is None:
            raise PathNotFound(f"no link named {name!r} in {target}")
        for cid in way:
            yield cid, blocks.get(cid)
        target = found
    if scope is DagScope.BLOCK:
        yield target, blocks.get(target)
    else:
        yield from _below(blocks, target, scope)


def _find(blocks: BlockStore, cid: Cid, name: str) -> tuple[list[Cid], Cid | None]:
    """The blocks from the directory (or shard) to the one with the link, and the link's target."""
    node, data = _unixfs(cid, blocks.get(cid))
    width = _shard_width(data) if data is not None and data.kind is UnixFsType.HAMT_SHARD else 0
    for link in node.links if node else ():
        if link.name[width:] == name and len(link.name) > width:
            return [cid], link.cid
        if width and len(link.name) == width:
            way, found = _find(blocks, link.cid, name)
            if found is not None:
                return [cid, *way], found
    return [], None


def _below(blocks: BlockStore, root: Cid, scope: DagScope) -> Iterator[tuple[Cid, bytes]]:
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        block = blocks.get(cid)
        yield cid, block
        waiting += reversed(_links(cid, block, scope))


def _links(cid: Cid, block: bytes, scope: DagScope) -> list[Cid]:
    if scope is DagScope.ALL and cid.codec == DAG_CBOR:
        return list(_cbor_links(cbor.decode(block)))
    node, data = _unixfs(cid, block)
    if node is None or (data is None and scope is DagScope.ENTITY):
        return []
    return [link.cid for link in node.links if scope is DagScope.ALL or _lists(data, link)]


def _lists(data: UnixFsData | None, link: PbLink) -> bool:
    """Whether the link leads to more of the same entity rather than to an entry of the directory."""
    if data is None or data.kind is UnixFsType.DIRECTORY:
        return False
    return data.kind is not UnixFsType.HAMT_SHARD or len(link.name) == _shard_width(data)


def _unixfs(cid: Cid, block: bytes) -> tuple[PbNode | None, UnixFsData | None]:
    if cid.codec != DAG_PB:
        return None, None
    node = PbNode.decode(block)
    try:
        return node, UnixFsData.decode(node.data or b"")
    except DagPbError:
        return node, None  # dag-pb without UnixFS is a DAG like any other


def _shard_width(data: UnixFsData) -> int:
    return len(f"{max((data.fanout or 1) - 1, 0):X}")


def _cbor_links(value: cbor.CborValue) -> Iterator[Cid]:
    if isinstance(value, Cid):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _cbor_links(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _cbor_links(item)
