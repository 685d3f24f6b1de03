"""Tipsets that come from elsewhere: from another node of the devnet, or from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devstack.chain.amt import message_meta
from devstack.chain.event_index import EventIndex
from devstack.chain.execution import Executed
from devstack.chain.mpool import MessagePool
from devstack.chain.store import ChainStore
from devstack.chain.values import ChainLookupError, ForkRefused
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureType
from lotus_client.messages import SignedMessage

__all__ = ["Exchange", "Received"]


@dataclass(frozen=True, slots=True)
class Received:
    """A tipset as one node gives it to another: each block's messages, and what became of it there."""

    tipset: TipSet
    messages: tuple[tuple[SignedMessage, ...], ...]
    executed: Executed


class Exchange:
    """Gives and takes tipsets of one node's chain. `after` executes a known tipset."""

    def __init__(
        self,
        store: ChainStore,
        events: EventIndex,
        mpool: MessagePool,
        after: Callable[[TipSet], Executed],
    ) -> None:
        self._store = store
        self._events = events
        self._mpool = mpool
        self._after = after

    def given(self, key: TipSetKey) -> Received:
        """One tipset as another node may receive it."""
        tipset = self._store.tipset(key)
        messages = tuple(self._store.block_messages(cid) for cid in key)
        return Received(tipset, messages, self._after(tipset))

    def knows(self, key: TipSetKey) -> bool:
        """Whether the tipset is known here, canonical or not."""
        return self._store.knows(key)

    def receive(self, received: Received) -> None:
        """Know a tipset that another node executed; its parent must be known. The head stays."""
        tipset = received.tipset
        if self._store.knows(tipset.key):
            return
        self._store.parent(tipset)
        self._store.add(tipset, received.messages)
        self._store.keep_execution(tipset.key, received.executed)
        self._events.add(tipset, received.executed.invocations)

    def load(self, tipset: TipSet, messages: Sequence[Sequence[SignedMessage]]) -> None:
        """Know a tipset from outside: it is executed here and checked against what its headers say.

        Raises:
            ChainLookupError: its parent is not known.
            ForkRefused: its headers do not follow from its parent's execution.
        """
        if not self._store.knows(tipset.parents):
            raise ChainLookupError(f"loading tipset {tipset.parents}: block not found")
        before = self._after(self._store.parent(tipset))
        for header, included in zip(tipset.blocks, messages, strict=True):
            if (header.parent_state_root, header.parent_message_receipts, header.messages) != (
                before.tree.root,
                before.receipts_root,
                _messages_root(included),
            ):
                raise ForkRefused(
                    f"the tipset at epoch {tipset.height} does not follow from its parent"
                )
        self._store.add(tipset, messages)
        self._after(tipset)

    def append(self, key: TipSetKey | None, height: int) -> None:
        """Extend the canonical chain by a known tipset, or by a null round, without telling anybody."""
        self._store.append(None if key is None else self._store.tipset(key), height)
        self._mpool.settle()

    def cut(self, height: int) -> None:
        """Drop the canonical chain above that height, without telling anybody."""
        self._store.cut(height)


def _messages_root(included: Sequence[SignedMessage]) -> Cid:
    """What a header says of its block's messages: BLS ones apart from the others."""
    bls = [one.cid for one in included if one.signature.type is SignatureType.BLS]
    others = [one.cid for one in included if one.signature.type is not SignatureType.BLS]
    return message_meta(bls, others)
