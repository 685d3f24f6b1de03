"""Immutable hash array mapped tries (go-hamt-ipld v3, `fvm_ipld_hamt`): sha256 of the key, canonical under deletion.

Node = `[bitfield, [pointer, ...]]`. The bitfield is a big-endian number without leading zeros, whose bit i says that slot i
has a pointer. A pointer is a link to a child, or a bucket of up to three `[key, value]` sorted by key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast, overload

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["Hamt", "HamtKind", "nested"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_BUCKET: Final = 3
_HASH_BITS: Final = 256
_NOTHING: Final = object()


def _no_links(_value: Any) -> Iterable[Linked]:
    return ()


@dataclass(frozen=True)
class HamtKind(Generic[K, V]):
    """How a HAMT writes its keys and values.

    `key` gives the key's bytes, `value` the dag-cbor of a value, `links` the blocks that a value links to. The kind
    remembers the hashes of keys it has seen, up to a limit.
    """

    key: Callable[[K], bytes]
    value: Callable[[V], bytes]
    links: Callable[[V], Iterable[Linked]] = _no_links
    bit_width: int = 5
    _hashes: dict[K, tuple[bytes, int]] = field(default_factory=dict, repr=False, compare=False)

    def hashed(self, key: K) -> tuple[bytes, int]:
        """The key's bytes and their hash as a number."""
        known = self._hashes.get(key)
        if known is None:
            raw = self.key(key)
            known = raw, int.from_bytes(hashlib.sha256(raw).digest(), "big")
            if len(self._hashes) >= _MAX_REMEMBERED:
                self._hashes.clear()
            self._hashes[key] = known
        return known


_MAX_REMEMBERED: Final = 1 << 16

_Entry = tuple[bytes, Any, Any]  # key bytes, key, value


class _Bucket:
    """Up to three entries in one slot, and their encoding once it was needed."""

    __slots__ = ("encoded", "entries")

    def __init__(self, entries: tuple[_Entry, ...]) -> None:
        self.entries = entries
        self.encoded: bytes | None = None


class _Node:
    """One block: which slots are taken, and their pointers in order."""

    __slots__ = ("_cid", "_kind", "bits", "pointers")

    def __init__(
        self, kind: HamtKind[Any, Any], bits: int, pointers: tuple[_Node | _Bucket, ...]
    ) -> None:
        self._kind = kind
        self.bits = bits
        self.pointers = pointers
        self._cid: Cid | None = None

    @property
    def cid(self) -> Cid:
        if self._cid is None:
            self._cid = dag_cbor_cid(self.block)
        return self._cid

    @property
    def block(self) -> bytes:
        bitfield = self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "big")
        pointers = [
            cbor.encode(one.cid)
            if type(one) is _Node
            else cast(_Bucket, one).encoded or self._encode(cast(_Bucket, one))
            for one in self.pointers
        ]
        return b"\x82" + cbor.encode(bitfield) + cbor.join_list(pointers)

    def _encode(self, bucket: _Bucket) -> bytes:
        value = self._kind.value
        pairs = [b"\x82" + cbor.encode(raw) + value(one) for raw, _, one in bucket.entries]
        bucket.encoded = cbor.join_list(pairs)
        return bucket.encoded

    def links(self) -> Iterator[Linked]:
        for one in self.pointers:
            if isinstance(one, _Node):
                yield one
            else:
                for entry in one.entries:
                    yield from self._kind.links(entry[2])

    def entries(self) -> Iterator[_Entry]:
        for one in self.pointers:
            if isinstance(one, _Node):
                yield from one.entries()
            else:
                yield from one.entries


class Hamt(Mapping[K, V]):
    """An immutable map whose root is that of the actors' HAMT. Iterates in the order of the nodes, as the actors do."""

    __slots__ = ("_count", "_kind", "_root")

    def __init__(self, kind: HamtKind[K, V], items: Mapping[K, V] | None = None) -> None:
        self._kind = kind
        self._root = _Node(kind, 0, ())
        self._count = 0
        if items:
            filled = self.with_(items)
            self._root, self._count = filled._root, filled._count

    @classmethod
    def _of(cls, kind: HamtKind[K, V], root: _Node, count: int) -> Hamt[K, V]:
        made = cls.__new__(cls)
        made._kind, made._root, made._count = kind, root, count
        return made

    def _find(self, key: K) -> Any:
        raw, hashed = self._kind.hashed(key)
        width = self._kind.bit_width
        mask = (1 << width) - 1
        node, shift = self._root, _HASH_BITS - width
        while True:
            bit = 1 << (hashed >> shift & mask)
            if not node.bits & bit:
                return _NOTHING
            pointer = node.pointers[(node.bits & (bit - 1)).bit_count()]
            if type(pointer) is _Node:
                node, shift = pointer, shift - width
                continue
            for entry in cast(_Bucket, pointer).entries:
                if entry[0] == raw:
                    return entry[2]
            return _NOTHING

    def __getitem__(self, key: K) -> V:
        found = self._find(key)
        if found is _NOTHING:
            raise KeyError(key)
        return cast(V, found)

    @overload
    def get(self, key: K, /) -> V | None: ...

    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...

    def get(self, key: K, /, default: Any = None) -> Any:
        """The key's value, `default` without one."""
        found = self._find(key)
        return default if found is _NOTHING else found

    def __contains__(self, key: object) -> bool:
        return self._find(cast(K, key)) is not _NOTHING

    def __iter__(self) -> Iterator[K]:
        return (entry[1] for entry in self._root.entries())

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Hamt({dict(self)!r})"

    def __hash__(self) -> int:
        return hash(self.cid)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Hamt):
            return self._root is other._root or self.cid == other.cid
        return dict(self) == other

    def with_(self, changes: Mapping[K, V]) -> Hamt[K, V]:
        """A map with these entries set."""
        root, count = self._root, self._count
        for key, value in changes.items():
            raw, hashed = self._kind.hashed(key)
            root, added = _set(self._kind, root, (raw, key, value), hashed, 0)
            count += added
        return self if root is self._root else self._of(self._kind, root, count)

    def without(self, keys: Iterable[K]) -> Hamt[K, V]:
        """A map without these keys, which may be absent."""
        root, count = self._root, self._count
        for key in keys:
            raw, hashed = self._kind.hashed(key)
            changed = _delete(self._kind, root, raw, hashed, 0)
            if changed is not root:
                root, count = changed, count - 1
        return self if root is self._root else self._of(self._kind, root, count)

    @property
    def cid(self) -> Cid:
        """The CID of the root node."""
        return self._root.cid

    @property
    def block(self) -> bytes:
        """The root node's block."""
        return self._root.block

    def links(self) -> Iterable[Linked]:
        """The nodes and values below the root node."""
        return self._root.links()


def nested(key: Callable[[K], bytes], inner: HamtKind[Any, V]) -> HamtKind[K, Mapping[Any, V]]:
    """A map of maps. The inner ones may be any mappings; each is written as a HAMT of that kind, under its own root."""

    def written(value: Mapping[Any, V]) -> Hamt[Any, V]:
        return value if isinstance(value, Hamt) else Hamt(inner, value)

    return HamtKind(
        key, lambda value: cbor.encode(written(value).cid), lambda value: (written(value),)
    )


def _slot(kind: HamtKind[Any, Any], hashed: int, depth: int) -> int:
    width = kind.bit_width
    return hashed >> (_HASH_BITS - width * (depth + 1)) & ((1 << width) - 1)


def _set(
    kind: HamtKind[Any, Any], node: _Node, entry: _Entry, hashed: int, depth: int
) -> tuple[_Node, bool]:
    """The node with the entry set, and whether its key is new."""
    bit = 1 << _slot(kind, hashed, depth)
    at = (node.bits & (bit - 1)).bit_count()
    before, after = node.pointers[:at], node.pointers[at + 1 :]
    if not node.bits & bit:
        pointers = (*before, _Bucket((entry,)), *node.pointers[at:])
        return _Node(kind, node.bits | bit, pointers), True
    pointer = node.pointers[at]
    if isinstance(pointer, _Node):
        child, added = _set(kind, pointer, entry, hashed, depth + 1)
        if child is pointer:
            return node, False
        return _Node(kind, node.bits, (*before, child, *after)), added
    return _set_in_bucket(kind, node, at, entry, depth)


def _set_in_bucket(
    kind: HamtKind[Any, Any], node: _Node, at: int, entry: _Entry, depth: int
) -> tuple[_Node, bool]:
    entries = cast(_Bucket, node.pointers[at]).entries
    rest = [one for one in entries if one[0] != entry[0]]
    added = len(rest) == len(entries)
    if not added and any(one[0] == entry[0] and one[2] is entry[2] for one in entries):
        return node, False
    together = sorted([*rest, entry], key=lambda one: one[0])
    pointer: _Node | _Bucket = _Bucket(tuple(together))
    if len(together) > _BUCKET:
        pointer = _Node(kind, 0, ())
        for one in together:
            pointer, _ = _set(kind, pointer, one, kind.hashed(one[1])[1], depth + 1)
    pointers = (*node.pointers[:at], pointer, *node.pointers[at + 1 :])
    return _Node(kind, node.bits, pointers), added


def _delete(kind: HamtKind[Any, Any], node: _Node, raw: bytes, hashed: int, depth: int) -> _Node:
    """The node without the key; the same node when it is not there."""
    bit = 1 << _slot(kind, hashed, depth)
    if not node.bits & bit:
        return node
    at = (node.bits & (bit - 1)).bit_count()
    pointer, before, after = node.pointers[at], node.pointers[:at], node.pointers[at + 1 :]
    if isinstance(pointer, _Node):
        child = _delete(kind, pointer, raw, hashed, depth + 1)
        if child is pointer:
            return node
        return _Node(kind, node.bits, (*before, _shrunk(child), *after))
    rest = tuple(one for one in pointer.entries if one[0] != raw)
    if len(rest) == len(pointer.entries):
        return node
    if rest:
        return _Node(kind, node.bits, (*before, _Bucket(rest), *after))
    return _Node(kind, node.bits & ~bit, before + after)


def _shrunk(child: _Node) -> _Node | _Bucket:
    """A child after a deletion: a bucket again when so few entries are left that it would never have been made."""
    entries: list[_Entry] = []
    for one in child.pointers:
        if isinstance(one, _Node):
            return child
        entries += one.entries
    if len(entries) > _BUCKET:
        return child
    return _Bucket(tuple(sorted(entries, key=lambda one: one[0])))
