"""Forks of the chain: side chains of any shape, and changes of the head from one chain to another.

A fork is mined on its own, beside the canonical chain, and becomes canonical when it is adopted. What the reverted
tipsets included goes back to the mempool, as in Lotus (`chain/messagepool/messagepool.go` HeadChange).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from devstack.chain.finality import Finality
from devstack.chain.mpool import MessagePool
from devstack.chain.store import ChainStore
from devstack.chain.values import ForkRefused
from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.messages import SignedMessage

__all__ = ["ForkMaker", "ForkShape", "Forks"]

_MOST_NULLS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkShape:
    """What a fork looks like.

    `null_rounds` epochs pass without a block before its first one. `reinclude` puts the messages of the replaced
    tipsets into its first block; without it they are dropped. `length` is how many tipsets it has at least; a fork that
    shall be adopted grows until it is heavier and reaches further than what it replaces.
    """

    null_rounds: int = 0
    reinclude: bool = False
    length: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.null_rounds <= _MOST_NULLS:
            raise ValueError(f"null_rounds is 0 to {_MOST_NULLS}")
        if self.length < 0:
            raise ValueError("length is not negative")


class ForkMaker(Protocol):
    """What forks need of the chain."""

    def mine_on(self, parent: TipSet, epoch: int, messages: Sequence[SignedMessage]) -> TipSet:
        """A new tipset on a parent, executed; not canonical yet."""

    def weight_of(self, tipset: TipSet) -> int:
        """The weight of the chain that ends there."""

    def vary(self) -> None:
        """From now on other blocks come out of the same parents."""

    def announce(self, changes: list[HeadChange]) -> None:
        """Tell the subscribers."""


class Forks:
    """Makes and adopts forks of one node's chain."""

    def __init__(
        self, store: ChainStore, finality: Finality, mpool: MessagePool, maker: ForkMaker
    ) -> None:
        self._store = store
        self._finality = finality
        self._mpool = mpool
        self._maker = maker

    def side_chain(self, depth: int, shape: ForkShape | None = None) -> TipSet:
        """Mine a fork that leaves the chain `depth` tipsets below the head; its last tipset. The head stays.

        It has `shape.length` tipsets, at least one, so it may well be lighter. `grow` it and `adopt` it later.

        Raises:
            ValueError: the chain is not that long.
        """
        shape = shape or ForkShape(length=1)
        base, messages = self._base(depth)
        self._maker.vary()
        tip = self._first(base, shape, messages)
        return self.grow(tip, max(shape.length, 1) - 1)

    def grow(self, tip: TipSet, tipsets: int) -> TipSet:
        """Mine so many more empty tipsets on a fork; its last one."""
        for _ in range(tipsets):
            tip = self._maker.mine_on(tip, tip.height + 1, [])
        return tip

    def replace(self, depth: int, shape: ForkShape | None = None) -> list[HeadChange]:
        """Replace the newest `depth` tipsets by a heavier fork that reaches at least one epoch higher.

        Raises:
            ValueError: the chain is not that long.
            ForkRefused: the fork would begin below what is final.
        """
        shape = shape or ForkShape()
        base, messages = self._base(depth)
        self._finality.check_fork(base)
        target, heaviest = self._store.epoch, self._maker.weight_of(self._store.head)
        self._maker.vary()
        tip = self._first(base, shape, messages)
        mined = 1
        while (
            tip.height <= target or self._maker.weight_of(tip) <= heaviest or mined < shape.length
        ):
            tip = self.grow(tip, 1)
            mined += 1
        return self._switch(tip)

    def adopt(self, tip: TipSet) -> list[HeadChange]:
        """Take a chain if it is heavier than the canonical one, as a node that received it; what changed.

        Raises:
            ForkRefused: it is not heavier, or begins below what is final.
        """
        if self._maker.weight_of(tip) <= self._maker.weight_of(self._store.head):
            raise ForkRefused("the fork is not heavier than the current chain")
        self._finality.check_fork(self._common(tip))
        return self._switch(tip)

    def set_head(self, key: TipSetKey) -> list[HeadChange]:
        """Make a known tipset the head, lighter or not, final or not, as `ChainSetHead`; what changed."""
        return self._switch(self._store.tipset(key))

    def _base(self, depth: int) -> tuple[TipSet, list[SignedMessage]]:
        """The tipset `depth` below the head, and the messages above it in order."""
        if depth < 1:
            raise ValueError("a reorg replaces at least one tipset")
        base = self._store.head
        messages: list[SignedMessage] = []
        for _ in range(depth):
            if not base.parents:
                raise ValueError(f"the chain has no {depth} tipsets above genesis to replace")
            messages[:0] = self._store.messages_of(base)
            base = self._store.parent(base)
        return base, messages

    def _first(self, base: TipSet, shape: ForkShape, messages: Sequence[SignedMessage]) -> TipSet:
        epoch = base.height + 1 + shape.null_rounds
        return self._maker.mine_on(base, epoch, messages if shape.reinclude else [])

    def _common(self, tip: TipSet) -> TipSet:
        """Where a chain leaves ours."""
        return next(one for one in self._store.ancestors(tip) if self._store.is_canonical(one))

    def _switch(self, tip: TipSet) -> list[HeadChange]:
        changes = self._store.path(self._store.head, tip)
        dropped: list[SignedMessage] = []
        for change in changes:
            if change.type == "revert":
                dropped[:0] = self._store.messages_of(change.tipset)
        self._store.cut(self._common(tip).height)
        for change in changes:
            if change.type == "apply":
                self._store.append(change.tipset, change.tipset.height)
        self._mpool.take_back(dropped)
        self._mpool.settle()
        if changes:
            self._maker.announce(changes)
        return changes
