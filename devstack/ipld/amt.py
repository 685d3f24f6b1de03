"""Immutable array mapped tries (go-amt-ipld v4, `fvm_ipld_amt`): sparse arrays with numbers below 2**63 as keys.

Root = `[bit width, height, count, node]`, node = `[bitmap, links, values]`; the bitmap's bit i (lowest bit of the first byte
first) says that slot i is taken. The first layout, of message and receipt lists, has a root without the bit width, which is 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["Amt", "AmtKind"]

V = TypeVar("V")

_MAX_INDEX: Final = (1 << 64) - 2


def _no_links(_value: Any) -> Iterable[Linked]:
    return ()


@dataclass(frozen=True)
class AmtKind(Generic[V]):
    """How an AMT writes its values: `value` gives their dag-cbor, `links` the blocks they link to."""

    bit_width: int
    value: Callable[[V], bytes]
    links: Callable[[V], Iterable[Linked]] = _no_links
    first_layout: bool = False


class _Node:
    """One node; below the root also one block. `items` are children or, in a leaf, values."""

    __slots__ = ("_cid", "_kind", "bits", "items", "leaf")

    def __init__(
        self, kind: AmtKind[Any], bits: int, items: tuple[Any, ...], *, leaf: bool
    ) -> None:
        self._kind = kind
        self.bits = bits
        self.items = items
        self.leaf = leaf
        self._cid: Cid | None = None

    @property
    def bit_width(self) -> int:
        return self._kind.bit_width

    @property
    def cid(self) -> Cid:
        if self._cid is None:
            self._cid = dag_cbor_cid(self.block)
        return self._cid

    @property
    def block(self) -> bytes:
        size = ((1 << self._kind.bit_width) + 7) // 8
        bitmap = cbor.encode(self.bits.to_bytes(size, "little"))
        if self.leaf:
            value = self._kind.value
            values = cbor.join_list([value(one) for one in self.items])
            return b"\x83" + bitmap + b"\x80" + values
        return b"\x83" + bitmap + cbor.encode([one.cid for one in self.items]) + b"\x80"

    def links(self) -> Iterator[Linked]:
        for one in self.items:
            if self.leaf:
                yield from self._kind.links(one)
            else:
                yield one

    def entries(self, base: int, height: int) -> Iterator[tuple[int, Any]]:
        bits, span = self.bits, 1 << (self._kind.bit_width * height)
        for one in self.items:
            slot = (bits & -bits).bit_length() - 1
            bits &= bits - 1
            if self.leaf:
                yield base + slot, one
            else:
                yield from one.entries(base + slot * span, height - 1)


class Amt(Mapping[int, V]):
    """An immutable map from numbers whose root is that of the actors' AMT. Iterates by key."""

    __slots__ = ("_cid", "_count", "_height", "_kind", "_root")

    def __init__(self, kind: AmtKind[V], items: Mapping[int, V] | None = None) -> None:
        self._kind = kind
        self._root = _Node(kind, 0, (), leaf=True)
        self._height = self._count = 0
        self._cid: Cid | None = None
        if items:
            filled = self.with_(items)
            self._root, self._height, self._count = filled._root, filled._height, filled._count

    @classmethod
    def of_list(cls, kind: AmtKind[V], values: Iterable[V]) -> Amt[V]:
        """The values under 0, 1, 2, …"""
        return cls(kind, dict(enumerate(values)))

    @classmethod
    def _of(cls, kind: AmtKind[V], root: _Node, height: int, count: int) -> Amt[V]:
        made = cls.__new__(cls)
        made._kind, made._root, made._height, made._count = kind, root, height, count
        made._cid = None
        return made

    def __getitem__(self, key: int) -> V:
        width, height, node = self._kind.bit_width, self._height, self._root
        if not isinstance(key, int) or not 0 <= key < 1 << width * (height + 1):
            raise KeyError(key)
        for level in range(height, -1, -1):
            bit = 1 << (key >> (width * level) & ((1 << width) - 1))
            if not node.bits & bit:
                raise KeyError(key)
            node = node.items[(node.bits & (bit - 1)).bit_count()]
        return cast(V, node)

    def __iter__(self) -> Iterator[int]:
        return (key for key, _ in self._root.entries(0, self._height))

    def items(self) -> Any:
        """The (key, value) pairs by key."""
        return list(self._root.entries(0, self._height))

    def values(self) -> Any:
        """The values by key."""
        return [value for _, value in self._root.entries(0, self._height)]

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Amt({dict(self)!r})"

    def __hash__(self) -> int:
        return hash(self.cid)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Amt):
            return self._root is other._root or self.cid == other.cid
        return dict(self) == other

    def with_(self, changes: Mapping[int, V]) -> Amt[V]:
        """A map with these entries set.

        Raises:
            ValueError: a key is negative or above 2**64 - 2.
        """
        kind, width = self._kind, self._kind.bit_width
        root, height, count = self._root, self._height, self._count
        for key, value in changes.items():
            if not 0 <= key <= _MAX_INDEX:
                raise ValueError(f"{key} is no AMT index")
            while key >> width * (height + 1):
                height += 1
                taken = root.bits != 0
                root = _Node(kind, int(taken), (root,) if taken else (), leaf=False)
            root, added = _set(kind, root, key, value, height)
            count += added
        return self._of(kind, root, height, count) if changes else self

    def without(self, keys: Iterable[int]) -> Amt[V]:
        """A map without these keys, which may be absent."""
        kind, root, height, count = self._kind, self._root, self._height, self._count
        for key in keys:
            if key >= 0 and not key >> kind.bit_width * (height + 1):
                changed = _delete(kind, root, key, height)
                if changed is not root:
                    root, count = changed, count - 1
        while height and root.bits in (0, 1):
            root = root.items[0] if root.bits else _Node(kind, 0, (), leaf=height == 1)
            height -= 1
        return self if root is self._root else self._of(kind, root, height, count)

    def appended(self, value: V) -> Amt[V]:
        """A list with the value behind its end."""
        return self.with_({self._count: value})

    def replaced_in(self, later: Amt[V]) -> list[int]:
        """The keys that `later` has too, with another value object. Nodes that both share are not looked into."""
        if self._height != later._height:
            return [key for key, value in self.items() if later.get(key, value) is not value]
        found: list[int] = []
        _compare(self._root, later._root, 0, self._height, found)
        return found

    @property
    def cid(self) -> Cid:
        """The CID of the root block."""
        if self._cid is None:
            self._cid = dag_cbor_cid(self.block)
        return self._cid

    @property
    def block(self) -> bytes:
        """The root block."""
        numbers = [self._height, self._count]
        if not self._kind.first_layout:
            numbers.insert(0, self._kind.bit_width)
        head = bytes((0x80 | len(numbers) + 1,))
        return head + b"".join(map(cbor.encode, numbers)) + self._root.block

    def links(self) -> Iterable[Linked]:
        """The nodes and values below the root block."""
        return self._root.links()


def _set(kind: AmtKind[Any], node: _Node, key: int, value: Any, height: int) -> tuple[_Node, bool]:
    """The node with the value set, and whether its key is new."""
    width = kind.bit_width
    bit = 1 << (key >> width * height & ((1 << width) - 1))
    at = (node.bits & (bit - 1)).bit_count()
    taken = bool(node.bits & bit)
    item, added = value, not taken
    if height:
        child = node.items[at] if taken else _Node(kind, 0, (), leaf=height == 1)
        item, added = _set(kind, child, key, value, height - 1)
    items = (*node.items[:at], item, *node.items[at + taken :])
    return _Node(kind, node.bits | bit, items, leaf=not height), added


def _compare(before: _Node, after: _Node, base: int, height: int, found: list[int]) -> None:
    if before is after:
        return
    common = before.bits & after.bits
    while common:
        bit = common & -common
        common ^= bit
        old = before.items[(before.bits & (bit - 1)).bit_count()]
        new = after.items[(after.bits & (bit - 1)).bit_count()]
        at = base + ((bit.bit_length() - 1) << (before.bit_width * height))
        if height:
            _compare(old, new, at, height - 1, found)
        elif old is not new:
            found.append(at)


def _delete(kind: AmtKind[Any], node: _Node, key: int, height: int) -> _Node:
    """The node without the key; the same node when it is not there."""
    width = kind.bit_width
    bit = 1 << (key >> width * height & ((1 << width) - 1))
    if not node.bits & bit:
        return node
    at = (node.bits & (bit - 1)).bit_count()
    if height:
        child = _delete(kind, node.items[at], key, height - 1)
        if child is node.items[at]:
            return node
        if child.bits:
            items = (*node.items[:at], child, *node.items[at + 1 :])
            return _Node(kind, node.bits, items, leaf=False)
    items = (*node.items[:at], *node.items[at + 1 :])
    return _Node(kind, node.bits & ~bit, items, leaf=not height)
