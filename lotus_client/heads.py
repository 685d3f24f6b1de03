"""The heads of a chain as one sequence of reverts and applies without gaps, whatever happens to the connection.

`ChainNotify` has no resume, drops slow readers and has been seen to stall; proxies repeat and reorder. Here every batch is
only a hint of where the head may be: what is given out always begins at the tipset given out last, because each applied
header names its parents by hash and a revert goes to the parents of the reverted one. Where a batch does not continue
from there, `ChainGetPath` tells the way, and where the node has forgotten our last tipset, the parents of its head do.
Sources: Lotus `chain/store/store.go` (SubHeadChanges, ReorgOps), issues 3830, 4021 and 6883.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.errors import (
    LotusDecodeError,
    LotusError,
    LotusHeadLost,
    LotusNotSupported,
    LotusRpcError,
    LotusUnavailable,
)

__all__ = ["HeadNode", "HeadSettings", "HeadStep", "HeadStream", "follow_heads"]

_KEPT: Final = (
    900  # delivered tipsets kept to revert by: Lotus never reorganises deeper than its finality
)


class HeadNode(Protocol):
    """The reads that are needed; `LotusClient` has them."""

    async def head(self) -> TipSet: ...
    async def tipset(self, key: TipSetKey, /) -> TipSet: ...
    async def path(self, from_: TipSetKey, to: TipSetKey, /) -> list[HeadChange]: ...
    def notify(self) -> AsyncGenerator[list[HeadChange], None]: ...


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Seconds between connections (doubling), between questions to a node without notifications, and until a silent
    stream is doubted; and how many tipsets are walked back at most before giving up.
    """

    first_pause: float = 1.0
    longest_pause: float = 30.0
    poll: float = 15.0
    stall: float = 150.0
    longest_walk: int = 3000


@dataclass(frozen=True, slots=True)
class HeadStep:
    """From one head to another: `reverted` newest first, then `applied` oldest first, which leads to `head`."""

    reverted: tuple[TipSet, ...]
    applied: tuple[TipSet, ...]
    head: TipSet


def follow_heads(
    node: HeadNode, since: TipSet | None = None, settings: HeadSettings | None = None
) -> AsyncGenerator[HeadStep, None]:
    """Every change of the head from `since` on, without gaps, until closed; see `HeadStream`."""
    return HeadStream(node, since, settings).steps()


class HeadStream:
    """The heads of one node. `at` is the tipset given out last; `drops` counts the connections that were lost."""

    def __init__(
        self,
        node: HeadNode,
        since: TipSet | None = None,
        settings: HeadSettings | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`since` is the tipset the caller stands on; without it the first step applies the head at that moment."""
        self.drops = 0
        self._node = node
        self._settings = settings or HeadSettings()
        self._sleep = sleep
        self._delivered: list[TipSet] = [] if since is None else [since]

    @property
    def at(self) -> TipSet | None:
        """The head as the caller knows it; None before the first step."""
        return self._delivered[-1] if self._delivered else None

    async def steps(self) -> AsyncGenerator[HeadStep, None]:
        """The changes of the head; waits and connects again by itself while the node is away. Close it to end.

        Raises:
            LotusHeadLost: the node's chain has nothing in common with what was given out, as far as can be seen.
            LotusUnauthorized: the node refuses the token.
        """
        pause = self._settings.first_pause
        while True:
            try:
                async with aclosing(self._hints()) as hints:
                    async for hint in hints:
                        if (step := await self._step(hint)) is not None:
                            pause = self._settings.first_pause
                            yield step
            except (LotusUnavailable, LotusDecodeError, LotusRpcError):
                pass
            self.drops += 1
            await self._sleep(pause)
            pause = min(pause * 2, self._settings.longest_pause)

    async def _hints(self) -> AsyncGenerator[Sequence[HeadChange], None]:
        """Batches of the node; an empty one asks for a look at its head, as there is nothing else to go by."""
        async with (
            aclosing(self._node.notify()) as told,
            aclosing(_or_silence(told, self._settings.stall)) as batches,
        ):
            try:
                async for batch in batches:
                    before = self.at
                    yield batch or ()
                    if batch is None and self.at is not before:
                        return  # the head has moved and the stream did not tell: it is dead
            except LotusNotSupported:
                pass  # a node or proxy without WebSockets
            else:
                return
        while True:
            yield ()
            await self._sleep(self._settings.poll)

    async def _step(self, batch: Sequence[HeadChange]) -> HeadStep | None:
        """What leads from the last tipset to where the batch says the head is; None if that is where we are."""
        step = self._as_told(batch) or await self._to(await self._node.head())
        if self.at is not None and step.head.key == self.at.key:
            return None
        for _ in step.reverted:
            if self._delivered:
                self._delivered.pop()
        self._delivered += step.applied
        if self.at is None or self.at.key != step.head.key:
            self._delivered.append(step.head)  # back behind the first tipset that was given out
        del self._delivered[:-_KEPT]
        return step

    def _as_told(self, batch: Sequence[HeadChange]) -> HeadStep | None:
        """The batch as it is, if it continues from where we stand; None if the node must be asked."""
        if self.at is None or not batch:
            return None
        if all(change.type == "current" for change in batch):
            same = batch[-1].tipset.key == self.at.key
            return HeadStep((), (), self.at) if same else None
        return self._chained(self.at, batch)

    async def _to(self, target: TipSet) -> HeadStep:
        if self.at is None:
            return HeadStep((), (target,), target)
        if self.at.key == target.key:
            return HeadStep((), (), target)
        try:
            told = self._chained(self.at, await self._node.path(self.at.key, target.key), target)
        except LotusUnavailable:
            raise
        except LotusError:
            told = None  # it does not know our tipset, or has no such method
        if told is not None and told.head.key == target.key:
            return told
        return await self._walk(self.at, target)

    async def _walk(self, ours: TipSet, target: TipSet) -> HeadStep:
        """By parents: back from both until they meet."""
        reverted: list[TipSet] = []
        applied: list[TipSet] = []
        own, theirs = ours, target
        while own.key != theirs.key:
            if len(reverted) + len(applied) >= self._settings.longest_walk:
                raise LotusHeadLost(
                    f"no tipset in common with the node within {self._settings.longest_walk} tipsets"
                )
            if theirs.height > own.height:
                applied.append(theirs)
                if theirs.parents == own.key:
                    break
                theirs = await self._node.tipset(theirs.parents)
                continue
            reverted.append(own)
            if own.parents == theirs.key:
                break
            own = await self._parent(own)
        return HeadStep(tuple(reverted), tuple(reversed(applied)), target)

    async def _parent(self, own: TipSet) -> TipSet:
        """The parent of a tipset given out, which the node may have forgotten."""
        for kept in reversed(self._delivered):
            if kept.key == own.parents:
                return kept
        if not own.parents:
            raise LotusHeadLost("the node's chain has another genesis than ours")
        try:
            return await self._node.tipset(own.parents)
        except LotusRpcError as error:
            raise LotusHeadLost(
                f"the node does not know the parents of {own.key} at {own.height}, and neither do we"
            ) from error

    def _chained(
        self, at: TipSet, changes: Sequence[HeadChange], target: TipSet | None = None
    ) -> HeadStep | None:
        """The changes as a step from `at`, reverts first; None if they are no such step.

        Repeated applies are left out. `target` is a tipset that the changes may end at by reverts alone.
        """
        key = at.key
        reverted: list[TipSet] = []
        applied: list[TipSet] = []
        for change in changes:
            tipset = change.tipset
            if change.type == "revert" and not applied and tipset.key == key:
                reverted.append(tipset)
                key = tipset.parents
            elif change.type == "apply" and tipset.parents == key:
                applied.append(tipset)
                key = tipset.key
            elif change.type != "apply" or tipset.key != key:
                return None
        known = [*self._delivered, *applied, *(() if target is None else (target,))]
        head = next((tipset for tipset in reversed(known) if tipset.key == key), None)
        return None if head is None else HeadStep(tuple(reverted), tuple(applied), head)


async def _or_silence(
    batches: AsyncIterator[list[HeadChange]], seconds: float
) -> AsyncGenerator[list[HeadChange] | None, None]:
    """The batches, and None after every `seconds` without one."""
    waiting: asyncio.Future[list[HeadChange]] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(batches))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            finished, waiting = waiting, None
            try:
                yield finished.result()
            except StopAsyncIteration:
                return
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
