"""From the follower's cursor to a tipset of the node's chain: what to undo and what to take over, also where nodes have forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from deals.event_sources.base import ChainChanged
from deals.gaps import Gap, GapKind, out_of_reach
from deals.ports import ChainNode, ChainStore, Cursor, TipSetRef
from lotus_client.chain import HeadChange, TipSet
from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.types import ActorId, Epoch

__all__ = ["FollowError", "Move", "NothingBelow", "Router", "first_within_reach"]

_log = structlog.get_logger(__name__)


class FollowError(Exception):
    """Following cannot go on without a person: says what is wrong and what to do."""


class NothingBelow(LotusRpcError):
    """Of the chain of the tipset to go to, it alone is within reach: one further up has to be gone to."""

    def __init__(self, why: str) -> None:
        super().__init__("ChainGetTipSet", 1, f"no tipset below can be read: {why}")


@dataclass(frozen=True, slots=True)
class Move:
    """Undo `reverted`, newest first, then take over `applied`; the cursor then stands at `to`. `gap` lies between the two."""

    reverted: tuple[TipSetRef, ...]
    applied: tuple[TipSet, ...]
    to: TipSetRef
    gap: Gap | None = None


async def first_within_reach(
    low: Epoch, top: TipSet, can_read: Callable[[TipSet], Awaitable[None]], node: ChainNode
) -> tuple[TipSet, str]:
    """The lowest tipset of the chain of `top`, from `low` up, that `can_read` reads; and why those below it cannot be read.

    Nodes forget from below, so a binary search finds it. The text is empty if all can be read.

    Raises:
        LotusRpcError: not even `top` can be read, or for a reason that has nothing to do with age.
    """
    why = ""
    first, last = low, top.height
    found = top
    while first < last:
        middle = Epoch((first + last) // 2)
        try:
            tipset = await node.tipset_after_height(middle, top.key)
            await can_read(tipset)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            why = str(error)
            first = Epoch(middle + 1)
        else:
            found, last = tipset, middle
    if found is top:
        await can_read(top)
    return found, why


class Router:
    """Finds the way for one provider's cursor."""

    def __init__(self, node: ChainNode, store: ChainStore, provider: ActorId) -> None:
        self._node = node
        self._store = store
        self._provider = provider

    async def route(self, cursor: Cursor, upto: TipSet) -> Move:
        """From the cursor to the parent of `upto`: by the node's path, else by the newest common tipset, else over a gap.

        Raises:
            FollowError: the two have nothing in common.
            ChainChanged: the node went to another chain meanwhile.
            NothingBelow: `upto` is the lowest tipset that can be read.
        """
        base = cursor.tipset
        lost: tuple[TipSetRef, ...] = ()
        try:
            changes = await self._node.path(base.key, upto.key)
        except LotusNotSupported:
            raise
        except LotusRpcError as error:
            # the fork we stand on may be gone from the node's store, or all that we remember out of its reach
            try:
                base, lost = await self._common_ancestor(upto)
                changes = await self._walk_back(base, upto)
            except LotusRpcError as beyond:
                if not out_of_reach(beyond):
                    raise
                return await self._over_a_gap(cursor, upto, str(beyond))
            _log.warning("fork_lost", error=str(error), ancestor=base.height, reverted=len(lost))
        return await self._move(changes, lost, upto)

    async def _move(
        self, changes: list[HeadChange], lost: tuple[TipSetRef, ...], upto: TipSet
    ) -> Move:
        reverted = [
            TipSetRef(change.tipset.height, change.tipset.key)
            for change in changes
            if change.type == "revert"
        ]
        applied = [change.tipset for change in changes if change.type == "apply"]
        if not applied:  # the head went back to a tipset that is processed already
            return await self._back_before(upto, (*lost, *reverted))
        if applied.pop().key != upto.key:
            raise ChainChanged
        tip = applied[-1] if applied else await self._node.tipset(upto.parents)
        if upto.parents != tip.key:
            raise ChainChanged
        return Move((*lost, *reverted), tuple(applied), TipSetRef(tip.height, tip.key))

    async def _back_before(self, upto: TipSet, reverted: tuple[TipSetRef, ...]) -> Move:
        """Down to the parent of `upto`, which is not executed now; genesis has none."""
        here = TipSetRef(upto.height, upto.key)
        if not upto.parents:
            return Move(reverted, (), here)
        parent = await self._node.tipset(upto.parents)
        return Move((*reverted, here), (), TipSetRef(parent.height, parent.key))

    async def _common_ancestor(self, upto: TipSet) -> tuple[TipSetRef, tuple[TipSetRef, ...]]:
        """The newest processed tipset below `upto`, and the processed ones above it, newest first.

        Membership is monotone along the stored tipsets, so a binary search needs about ten reads.
        """
        processed = await self._store.processed(self._provider)
        low, high = 0, len(processed)
        # processed[:low] are on the chain of upto, processed[high:] are not
        while low < high:
            middle = (low + high) // 2
            if await self._contains(upto, processed[middle]):
                low = middle + 1
            else:
                high = middle
        if low == 0:
            raise FollowError(
                f"none of the {len(processed)} tipsets processed last is on the node's chain at height "
                f"{upto.height}: the node is on another network, or its chain was replaced further back "
                "than this store remembers; check the node, or start with an empty store"
            )
        return processed[low - 1], tuple(reversed(processed[low:]))

    async def _contains(self, upto: TipSet, ref: TipSetRef) -> bool:
        if ref.height >= upto.height:
            return ref.key == upto.key
        return (await self._node.tipset_by_height(ref.height, upto.key)).key == ref.key

    async def _walk_back(self, base: TipSetRef, upto: TipSet) -> list[HeadChange]:
        """The applies from `base` to `upto`, by following parents."""
        if base.key == upto.key:
            return []
        tipsets = [upto]
        while tipsets[-1].parents != base.key:
            parent = await self._node.tipset(tipsets[-1].parents)
            if parent.height <= base.height:
                raise ChainChanged
            tipsets.append(parent)
        return [HeadChange("apply", tipset) for tipset in reversed(tipsets)]

    async def _over_a_gap(self, cursor: Cursor, upto: TipSet, out_of_reach_why: str) -> Move:
        """On to the lowest tipset within the node's reach, which may follow just on one that is processed.

        If it does not, what was processed above the finalised height is undone: it may have been of another fork, and the
        node can no longer say. The gap begins there.
        """

        async def can_read(tipset: TipSet) -> None:
            await self._node.tipset(tipset.key)

        # its parent need not be within reach, so the one found is the first to be taken over
        low = Epoch(cursor.tipset.height + 1)
        first, why = await first_within_reach(low, upto, can_read, self._node)
        processed = await self._store.processed(self._provider)
        parent = next((ref for ref in processed if ref.key == first.parents), None)
        if first.key == upto.key and parent is None:
            raise NothingBelow(why or out_of_reach_why)
        base = TipSetRef(first.height, first.key)
        changes = [HeadChange("apply", first), *await self._walk_back(base, upto)]
        kept = cursor.finalized if parent is None else parent.height
        undone = tuple(ref for ref in reversed(processed) if ref.height > kept)
        if parent is not None:
            if len(changes) > 1:
                return await self._move(changes, undone, upto)
            return Move(undone, (), parent)  # only `upto` is new, and it is not executed yet
        gap = Gap(Epoch(cursor.finalized + 1), first.height, GapKind.CHAIN, why or out_of_reach_why)
        _log.error("chain_gap", first=gap.from_epoch, end=gap.to_epoch, why=gap.reason)
        move = await self._move(changes, undone, upto)
        return Move(move.reverted, move.applied, move.to, gap)
