"""Immutable keyed-by-identity tries (`fvm_ipld_kamt`), in the form that contracts keep their storage in.

A HAMT whose keys of 32 bytes are not hashed, with buckets of one entry; a link skips the bits that all keys below it have in
common. Node = `[bitfield, [pointer, ...]]`, pointer = `{"v": [[key, value]]}` or `{"l": [child, bits skipped, those bits]}`. Keys are
written without leading zeros. Source: ref-fvm `ipld/kamt`; the EVM's parameters: builtin-actors `actors/evm/src/interpreter/system.rs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["Kamt", "word"]

V = TypeVar("V")

_WIDTH: Final = 5
_KEY_BITS: Final = 256
_KEY_BYTES: Final = 32


def word(value: bytes) -> bytes:
    """The dag-cbor of a 256-bit number: its big-endian bytes without leading zeros."""
    return cbor.encode(value.lstrip(b"\0"))


def _taken(consumed: int) -> int:
    """How many bits the next step takes: one is left after 51 steps of five."""
    return min(_WIDTH, _KEY_BITS - consumed)


def _bits(key: int, start: int, count: int) -> int:
    return key >> (_KEY_BITS - start - count) & ((1 << count) - 1)


class _Leaf(Generic[V]):
    __slots__ = ("key", "value")

    def __init__(self, key: int, value: V) -> None:
        self.key = key
        self.value = value


class _Link(Generic[V]):
    """A child, and the bits that are skipped on the way to it."""

    __slots__ = ("node", "path", "skipped")

    def __init__(self, node: _Node[V], skipped: int, path: int) -> None:
        self.node = node
        self.skipped = skipped
        self.path = path

    def path_bytes(self) -> bytes:
        size = (self.skipped + 7) // 8
        return (self.path << (8 * size - self.skipped)).to_bytes(size, "big")


class _Node(Generic[V]):
    __slots__ = ("_cid", "_value", "bits", "pointers")

    def __init__(
        self,
        value: Callable[[V], bytes],
        bits: int = 0,
        pointers: tuple[_Leaf[V] | _Link[V], ...] = (),
    ) -> None:
        self._value = value
        self.bits = bits
        self.pointers = pointers
        self._cid: Cid | None = None

    def at(self, slot: int) -> tuple[int, _Leaf[V] | _Link[V] | None]:
        """Where the slot's pointer is or would be, and the pointer."""
        bit = 1 << slot
        place = (self.bits & (bit - 1)).bit_count()
        return place, self.pointers[place] if self.bits & bit else None

    def put(self, slot: int, pointer: _Leaf[V] | _Link[V]) -> _Node[V]:
        place, before = self.at(slot)
        rest = self.pointers[place + (before is not None) :]
        return _Node(self._value, self.bits | 1 << slot, (*self.pointers[:place], pointer, *rest))

    def drop(self, slot: int) -> _Node[V]:
        place, _ = self.at(slot)
        pointers = (*self.pointers[:place], *self.pointers[place + 1 :])
        return _Node(self._value, self.bits & ~(1 << slot), pointers)

    def fresh(self) -> _Node[V]:
        return _Node(self._value)

    @property
    def cid(self) -> Cid:
        if self._cid is None:
            self._cid = dag_cbor_cid(self.block)
        return self._cid

    @property
    def block(self) -> bytes:
        bitfield = self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "big")
        pointers = [self._encoded(one) for one in self.pointers]
        return b"\x82" + cbor.encode(bitfield) + cbor.join_list(pointers)

    def _encoded(self, pointer: _Leaf[V] | _Link[V]) -> bytes:
        if isinstance(pointer, _Link):
            link = [pointer.node.cid, pointer.skipped, pointer.path_bytes()]
            return cbor.encode({"l": link})
        key = word(pointer.key.to_bytes(_KEY_BYTES, "big"))
        return b"\xa1\x61v\x81\x82" + key + self._value(pointer.value)

    def links(self) -> Iterator[Linked]:
        return (one.node for one in self.pointers if isinstance(one, _Link))

    def entries(self) -> Iterator[tuple[int, V]]:
        for one in self.pointers:
            if isinstance(one, _Link):
                yield from one.node.entries()
            else:
                yield one.key, one.value


class Kamt(Mapping[bytes, V]):
    """An immutable map from 32-byte keys, iterated by key; `value` gives a value's dag-cbor."""

    __slots__ = ("_root", "_value")

    def __init__(self, value: Callable[[V], bytes], items: Mapping[bytes, V] | None = None) -> None:
        self._value = value
        self._root: _Node[V] = _Node(value)
        if items:
            self._root = self.with_(items)._root

    def _changed(self, root: _Node[V]) -> Kamt[V]:
        made: Kamt[V] = Kamt(self._value)
        made._root = root
        return made

    def __getitem__(self, key: bytes) -> V:
        number, node, consumed = int.from_bytes(key, "big"), self._root, 0
        while True:
            taken = _taken(consumed)
            _, pointer = node.at(_bits(number, consumed, taken))
            consumed += taken
            if not isinstance(pointer, _Link):
                if pointer is None or pointer.key != number:
                    raise KeyError(key)
                return pointer.value
            if _bits(number, consumed, pointer.skipped) != pointer.path:
                raise KeyError(key)
            node, consumed = pointer.node, consumed + pointer.skipped

    def __iter__(self) -> Iterator[bytes]:
        return (key.to_bytes(_KEY_BYTES, "big") for key, _ in self._root.entries())

    def __len__(self) -> int:
        return sum(1 for _ in self._root.entries())

    def __repr__(self) -> str:
        return f"Kamt({dict(self)!r})"

    def __hash__(self) -> int:
        return hash(self.cid)

    def __eq__(self, other: object) -> bool:
        return self.cid == other.cid if isinstance(other, Kamt) else dict(self) == other

    def with_(self, changes: Mapping[bytes, V]) -> Kamt[V]:
        """A map with these entries set."""
        root = self._root
        for key, value in changes.items():
            root = _set(root, _Leaf(int.from_bytes(key, "big"), value), 0)
        return self._changed(root)

    def without(self, keys: Iterable[bytes]) -> Kamt[V]:
        """A map without these keys, which may be absent."""
        root = self._root
        for key in keys:
            root = _delete(root, int.from_bytes(key, "big"), 0)
        return self if root is self._root else self._changed(root)

    @property
    def cid(self) -> Cid:
        """The CID of the root node."""
        return self._root.cid

    @property
    def block(self) -> bytes:
        """The root node's block."""
        return self._root.block

    def links(self) -> Iterable[Linked]:
        """The nodes below the root."""
        return self._root.links()


def _set(node: _Node[V], leaf: _Leaf[V], consumed: int) -> _Node[V]:
    taken = _taken(consumed)
    slot = _bits(leaf.key, consumed, taken)
    _, pointer = node.at(slot)
    start = consumed + taken
    if pointer is None or (isinstance(pointer, _Leaf) and pointer.key == leaf.key):
        return node.put(slot, leaf)
    if isinstance(pointer, _Leaf):
        path = pointer.key & ((1 << (_KEY_BITS - start)) - 1)
        common = _common(leaf.key, path, start, _KEY_BITS - start)
        child = _set(_set(node.fresh(), pointer, start + common), leaf, start + common)
        return node.put(slot, _Link(child, common, _bits(leaf.key, start, common)))
    common = _common(leaf.key, pointer.path, start, pointer.skipped)
    if common == pointer.skipped:
        child = _set(pointer.node, leaf, start + common)
        return node.put(slot, _Link(child, common, pointer.path))
    # The key leaves the skipped path half way: a node there has the old child and the new entry.
    step = _taken(start + common)
    left = pointer.skipped - common - step
    tail = _Link(pointer.node, left, pointer.path & ((1 << left) - 1))
    midway = node.fresh().put(pointer.path >> left & ((1 << step) - 1), tail)
    midway = _set(midway, leaf, start + common)
    return node.put(slot, _Link(midway, common, pointer.path >> (left + step)))


def _common(key: int, path: int, start: int, length: int) -> int:
    """How many bits of the path, which begins at `start`, the key shares, in whole steps."""
    common = 0
    while common < length:
        step = _taken(start + common)
        mask = (1 << step) - 1
        if path >> (length - common - step) & mask != _bits(key, start + common, step):
            break
        common += step
    return common


def _delete(node: _Node[V], key: int, consumed: int) -> _Node[V]:
    """The node without the key; the same node when it is not there."""
    taken = _taken(consumed)
    slot = _bits(key, consumed, taken)
    _, pointer = node.at(slot)
    start = consumed + taken
    if isinstance(pointer, _Leaf):
        return node.drop(slot) if pointer.key == key else node
    if pointer is None or _bits(key, start, pointer.skipped) != pointer.path:
        return node
    child = _delete(pointer.node, key, start + pointer.skipped)
    if child is pointer.node:
        return node
    if len(child.pointers) > 1:
        return node.put(slot, _Link(child, pointer.skipped, pointer.path))
    return node.put(slot, _only(child, pointer, start + pointer.skipped))


def _only(child: _Node[V], link: _Link[V], consumed: int) -> _Leaf[V] | _Link[V]:
    """What takes the place of a link to a node with one pointer: the entry, or a link that skips the node."""
    (last,) = child.pointers
    if isinstance(last, _Leaf):
        return last
    step = _taken(consumed)
    slot = child.bits.bit_length() - 1
    path = (link.path << step | slot) << last.skipped | last.path
    return _Link(last.node, link.skipped + step + last.skipped, path)
