"""Immutable state objects that are blocks, and a plain immutable map for what is no part of any block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, ClassVar, TypeVar, cast

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.varint import encode_uvarint

__all__ = ["State", "Table", "big", "id_bytes", "replace", "signed_varint"]

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S")

big = cbor.encode_bigint


@lru_cache(maxsize=4096)
def id_bytes(actor_id: int) -> bytes:
    """The bytes of an id address, which state and params hold for an actor."""
    return Address.of_id(actor_id).to_bytes()


def signed_varint(value: int) -> bytes:
    """A signed number as a HAMT key: zigzag, then uvarint (integer-encoding `encode_var`)."""
    return encode_uvarint(value << 1 if value >= 0 else ~(value << 1))


class State:
    """Base of frozen state dataclasses, each a dag-cbor block of its own. The CID is kept, the bytes are made on demand."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def to_value(self) -> object:
        """What the block holds: the actor's fields in order, nested blocks as their CIDs."""
        raise NotImplementedError

    @property
    def block(self) -> bytes:
        """The dag-cbor bytes."""
        return cbor.encode(self.to_value())

    @cached_property
    def cid(self) -> Cid:
        """The CID of the block."""
        return dag_cbor_cid(self.block)

    def links(self) -> Iterable[Linked]:
        """The blocks linked from this one: the fields that are blocks."""
        values = (getattr(self, name) for name in type(self).__dataclass_fields__)
        return [cast(Linked, one) for one in values if hasattr(one, "links")]


def replace(state: S, /, **changes: Any) -> S:
    """As `dataclasses.replace`, of a state without its constructor: the chain does it twenty times an epoch.

    Raises:
        TypeError: the state has no field of that name.
    """
    known: dict[str, Any] = state.__dataclass_fields__  # type: ignore[attr-defined]
    changed = object.__new__(type(state))
    values = changed.__dict__
    values.update(state.__dict__)
    if len(values) > len(known):  # what was computed from the old state, such as its CID
        for name in values.keys() - known:
            del values[name]
    values.update(changes)
    if len(values) > len(known):
        raise TypeError(f"{type(state).__name__} has no field {min(changes.keys() - known)}")
    return changed


class Table(Mapping[K, V]):
    """An immutable map that is in no block; changing it copies it."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._items: dict[K, V] = dict(items or {})

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

    def __repr__(self) -> str:
        return f"Table({self._items!r})"
