"""Finding actor events again: by root, and by filter."""

from __future__ import annotations

from collections.abc import Sequence

from devstack.chain.store import ChainStore
from devstack.chain.values import EventFilter, Invocation, StampedEvent
from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import ActorEvent, EventEntry
from lotus_client.types import Epoch

__all__ = ["EventIndex", "matches"]

_VALUE_INDEXED = 2  # flag bit; only such entries can be searched for (FIP-0083)


class EventIndex:
    """The events of every executed tipset; tipsets without events take no room."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self._by_root: dict[Cid, tuple[StampedEvent, ...]] = {}
        self._by_tipset: dict[TipSetKey, list[tuple[Cid, StampedEvent]]] = {}
        self._heights: dict[int, list[TipSetKey]] = {}

    def add(self, tipset: TipSet, runs: Sequence[Invocation]) -> None:
        """Index an executed tipset."""
        found = [(run.cid, event) for run in runs for event in run.events]
        if not found:
            return
        self._by_tipset[tipset.key] = found
        self._heights.setdefault(tipset.height, []).append(tipset.key)
        for run in runs:
            if run.receipt.events_root is not None:
                self._by_root[run.receipt.events_root] = run.events

    def take_over(self, other: EventIndex) -> None:
        """Know all that `other` knows."""
        self._by_root.update(other._by_root)
        self._by_tipset.update(other._by_tipset)
        self._heights = {height: list(keys) for height, keys in other._heights.items()}

    def of_root(self, root: Cid) -> tuple[StampedEvent, ...]:
        """The events behind a root; empty for an unknown one."""
        return self._by_root.get(root, ())

    def find(self, wanted: EventFilter, head: TipSet) -> list[ActorEvent]:
        """The matching events, oldest first; of one tipset on any fork, or of canonical heights.

        A tipset counts once it is executed, that is when it has a child: the head's own events are not there yet.
        """
        if wanted.tipset is not None:
            return self._of_tipset(self._store.tipset(wanted.tipset), wanted)
        first = 0 if wanted.from_height is None else wanted.from_height
        last = head.height if wanted.to_height is None else wanted.to_height
        found: list[ActorEvent] = []
        for height in sorted(
            at for at in self._heights if first <= at <= min(last, head.height - 1)
        ):
            for key in self._heights[height]:
                tipset = self._store.tipset(key)
                if self._store.is_canonical(tipset):
                    found += self._of_tipset(tipset, wanted)
        return found

    def _of_tipset(self, tipset: TipSet, wanted: EventFilter) -> list[ActorEvent]:
        reverted = not self._store.is_canonical(tipset)
        return [
            ActorEvent(
                Address.of_id(event.emitter),
                event.entries,
                reverted,
                Epoch(tipset.height),
                tipset.key,
                message,
            )
            for message, event in self._by_tipset.get(tipset.key, ())
            if matches(event, wanted)
        ]


def matches(event: StampedEvent, wanted: EventFilter) -> bool:
    """Whether an event passes the filter's addresses and fields."""
    if wanted.addresses and Address.of_id(event.emitter) not in wanted.addresses:
        return False
    return all(
        any(_is_hit(entry, key, values) for entry in event.entries) for key, values in wanted.fields
    )


def _is_hit(entry: EventEntry, key: str, values: tuple[tuple[int, bytes], ...]) -> bool:
    return (
        entry.key == key
        and bool(entry.flags & _VALUE_INDEXED)
        and (entry.codec, entry.value) in values
    )
