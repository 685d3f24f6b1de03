"""Immutable maps and state objects whose CIDs are computed once.

The devnet's own state encoding: each table and each state object is one dag-cbor block; a nested one is linked by its
CID. It is deterministic, so equal states have equal roots, but it is *not* the actors' HAMT and AMT layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["State", "Table", "block_value", "replace"]

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", bound="State")


class State:
    """Base of frozen state dataclasses: one block each, with its CID cached on first use."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @cached_property
    def block(self) -> bytes:
        """The dag-cbor bytes: the fields in order."""
        values = (getattr(self, name) for name in type(self).__dataclass_fields__)
        return cbor.encode([block_value(value) for value in values])

    @cached_property
    def cid(self) -> Cid:
        """The CID of the block."""
        return dag_cbor_cid(self.block)


def replace(state: S, /, **changes: Any) -> S:
    """As `dataclasses.replace`, for `State` without its constructor: the chain does it twenty times an epoch.

    Raises:
        TypeError: the state has no field of that name.
    """
    known = state.__dataclass_fields__
    if unknown := changes.keys() - known:
        raise TypeError(f"{type(state).__name__} has no field {min(unknown)}")
    changed = object.__new__(type(state))
    values = state.__dict__
    for name in known:  # and nothing else, for the block and its CID are of the old state
        changed.__dict__[name] = changes[name] if name in changes else values[name]
    return changed


class Table(Mapping[K, V]):
    """An immutable map; changing it copies it, so tables shared by past states never change."""

    __slots__ = ("_cid", "_items")

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._items: dict[K, V] = dict(items or {})
        self._cid: Cid | None = None

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def with_(self, changes: Mapping[K, V]) -> Table[K, V]:
        """A table with these entries set."""
        return Table({**self._items, **changes}) if changes else self

    def without(self, keys: Iterable[K]) -> Table[K, V]:
        """A table without these keys, which may be absent."""
        gone = set(keys)
        if gone.isdisjoint(self._items):
            return self
        return Table({key: value for key, value in self._items.items() if key not in gone})

    @property
    def cid(self) -> Cid:
        """The CID of the sorted [key, value] pairs."""
        if self._cid is None:
            pairs = [
                cbor.encode([block_value(key), block_value(value)])
                for key, value in self._items.items()
            ]
            self._cid = dag_cbor_cid(cbor.join_list(sorted(pairs)))
        return self._cid

    def __repr__(self) -> str:
        return f"Table({self._items!r})"


def block_value(value: Any) -> object:
    """What stands for a value inside a block: links for nested state, bytes for addresses and big integers."""
    if isinstance(value, int):  # bool too
        return value if -(1 << 63) <= value < 1 << 63 else cbor.encode_bigint(value)
    if value is None or isinstance(value, (str, bytes, Cid)):
        return value
    if isinstance(value, (State, Table)):
        return value.cid
    if isinstance(value, Address):
        return value.to_bytes()
    if isinstance(value, tuple):
        return [block_value(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value):
        return [block_value(getattr(value, field.name)) for field in fields(value)]
    raise TypeError(f"a block cannot hold a {type(value).__name__}")
