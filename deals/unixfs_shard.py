"""Sharded directories: the HAMT that kubo and ipfs-car write for a directory with too many entries for one block.

A name's murmur3 hash (64 bits of the x64 form, big-endian) is cut into bytes, one for each level; a node has up to 256 places, and a
bitfield of those in use. A link's name is its place in two hex digits, followed by the entry's name unless it leads to a shard.
Source: https://specs.ipfs.tech/unixfs/#hamt-structure-and-parameters ; boxo `ipld/unixfs/hamt`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import mmh3

from deals.dag_pb import PbLink, PbNode, UnixFsData, UnixFsType
from lotus_client.cid import DAG_PB, Cid

__all__ = ["MURMUR3_X64_64", "name_hash", "shard_entries"]

_FANOUT: Final = 256
MURMUR3_X64_64: Final = 0x22  # its multihash code
_LEVELS: Final = 8  # bytes of a hash


def shard_entries(
    links: Mapping[str, PbLink], sink: Callable[[Cid, bytes], None]
) -> tuple[Cid, int]:
    """Write the shards of a directory, the deepest first; gives the root's CID and the bytes of all blocks below and with it.

    Raises:
        ValueError: two names with the same 64-bit hash, which no HAMT can hold apart.
    """
    hashed = {name: name_hash(name) for name in links}
    names = sorted(links, key=lambda name: hashed[name])
    root = _shard([(hashed[name], links[name]) for name in names], 0, sink)
    return root.cid, root.tsize


def name_hash(name: str) -> bytes:
    """The eight bytes that lead to a name, a level for each in shards of 256."""
    first, _ = mmh3.hash64(name.encode(errors="surrogatepass"), x64arch=True, signed=False)
    return int(first).to_bytes(8, "big")


def _shard(
    entries: list[tuple[bytes, PbLink]], level: int, sink: Callable[[Cid, bytes], None]
) -> PbLink:
    """The shard of entries whose hashes agree up to `level`; its link has no name yet."""
    if level == _LEVELS:
        names = " and ".join(repr(link.name) for _, link in entries[:2])
        raise ValueError(f"the names {names} have the same hash, so no directory can hold both")
    places: dict[int, list[tuple[bytes, PbLink]]] = {}
    for entry in entries:
        places.setdefault(entry[0][level], []).append(entry)
    links: list[PbLink] = []
    for place in sorted(places):
        prefix, held = f"{place:02X}", places[place]
        if len(held) == 1:
            link = held[0][1]
            links.append(PbLink(link.cid, prefix + link.name, link.tsize))
        else:
            below = _shard(held, level + 1, sink)
            links.append(PbLink(below.cid, prefix, below.tsize))
    bits = sum(1 << place for place in places)
    data = UnixFsData(
        UnixFsType.HAMT_SHARD,
        data=bits.to_bytes((bits.bit_length() + 7) // 8, "big"),
        hash_type=MURMUR3_X64_64,
        fanout=_FANOUT,
    )
    block = PbNode(tuple(links), data.encode()).encode()
    cid = Cid.of_sha2_256(DAG_PB, block)
    sink(cid, block)
    return PbLink(cid, "", len(block) + sum(link.tsize for link in links))
