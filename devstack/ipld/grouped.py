"""A HAMT of HAMTs, such as f06's allocations by client: read by the item's own id or by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast, overload

from devstack.ipld.hamt import Hamt, HamtKind
from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid
from lotus_client.varint import encode_uvarint

__all__ = ["Grouped", "GroupedKind"]

V = TypeVar("V")
D = TypeVar("D")


@dataclass(frozen=True)
class GroupedKind(Generic[V]):
    """The group of an item, and its dag-cbor. Both keys are uvarints."""

    group: Callable[[V], int]
    value: Callable[[V], bytes]

    @cached_property
    def inner(self) -> HamtKind[int, V]:
        """The kind of a group's map."""
        return HamtKind(encode_uvarint, self.value)

    @cached_property
    def outer(self) -> HamtKind[int, Hamt[int, V]]:
        """The kind of the map of groups, which links theirs."""
        return HamtKind(encode_uvarint, lambda one: cbor.encode(one.cid), lambda one: (one,))


# Never written: only there to find an item's group. An id is in one group.
_OWNERS: HamtKind[int, int] = HamtKind(encode_uvarint, cbor.encode)


class Grouped(Mapping[int, V]):
    """An immutable map by id; the block layout has a map of groups, and a group without items has none."""

    __slots__ = ("_groups", "_kind", "_owners")

    def __init__(self, kind: GroupedKind[V], items: Mapping[int, V] | None = None) -> None:
        self._kind = kind
        self._groups: Hamt[int, Hamt[int, V]] = Hamt(kind.outer)
        self._owners: Hamt[int, int] = Hamt(_OWNERS)
        if items:
            filled = self.with_(items)
            self._groups, self._owners = filled._groups, filled._owners

    @property
    def groups(self) -> Hamt[int, Hamt[int, V]]:
        """The map of groups, as it is in the state."""
        return self._groups

    def of(self, group: int) -> Hamt[int, V]:
        """The items of one group by id."""
        return cast("Hamt[int, V]", self._groups.get(group)) or Hamt(self._kind.inner)

    def __getitem__(self, key: int) -> V:
        return self._groups[self._owners[key]][key]

    @overload
    def get(self, key: int, /) -> V | None: ...

    @overload
    def get(self, key: int, /, default: V | D) -> V | D: ...

    def get(self, key: int, /, default: Any = None) -> Any:
        """The item of that id, `default` without one."""
        owner = self._owners.get(key)
        return default if owner is None else self._groups[owner][key]

    def __contains__(self, key: object) -> bool:
        return key in self._owners

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._owners))

    def __len__(self) -> int:
        return len(self._owners)

    def __hash__(self) -> int:
        return hash(self.cid)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Grouped):
            return self._groups == other._groups
        return dict(self) == other

    def __repr__(self) -> str:
        return f"Grouped({dict(self)!r})"

    def with_(self, changes: Mapping[int, V]) -> Grouped[V]:
        """A map with these items set. An item does not change its group."""
        if not changes:
            return self
        by_group: dict[int, dict[int, V]] = {}
        for key, item in changes.items():
            by_group.setdefault(self._kind.group(item), {})[key] = item
        groups = {group: self.of(group).with_(items) for group, items in by_group.items()}
        owners = {key: group for group, items in by_group.items() for key in items}
        return self._changed(self._groups.with_(groups), self._owners.with_(owners))

    def without(self, keys: Iterable[int]) -> Grouped[V]:
        """A map without these ids, which may be absent."""
        by_group: dict[int, list[int]] = {}
        for key in keys:
            if (owner := self._owners.get(key)) is not None:
                by_group.setdefault(owner, []).append(key)
        groups = {group: self.of(group).without(gone) for group, gone in by_group.items()}
        empty = [group for group, items in groups.items() if not items]
        gone = [key for some in by_group.values() for key in some]
        kept = self._groups.with_(groups).without(empty)
        return self._changed(kept, self._owners.without(gone)) if gone else self

    def _changed(self, groups: Hamt[int, Hamt[int, V]], owners: Hamt[int, int]) -> Grouped[V]:
        made = type(self).__new__(type(self))
        made._kind, made._groups, made._owners = self._kind, groups, owners
        return made

    @property
    def cid(self) -> Cid:
        """The CID of the map of groups."""
        return self._groups.cid

    @property
    def block(self) -> bytes:
        """The root block of the map of groups."""
        return self._groups.block

    def links(self) -> Iterable[Linked]:
        """The nodes below the root, and the groups' maps."""
        return self._groups.links()
