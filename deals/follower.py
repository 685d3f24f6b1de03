"""Follows the chain for one provider: tipsets, events, blocks won, claims and sectors, through reorgs and restarts.

One `step` moves the cursor by at most `range_epochs` and is one transaction of the store. The cursor stands on a tipset
whose child is known; state is read at that child, so it contains the effects of everything processed and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from deals.applied import AppliedEvents, own_blocks, well_formed
from deals.claims_check import ClaimsCheck, read_still_counts
from deals.event_sources import (
    EventReader,
    EventsApi,
    Receipts,
    SourceStatus,
    Stretch,
    diff_claims,
)
from deals.event_sources.base import ChainChanged
from deals.gaps import Gap, GapKind, out_of_reach
from deals.ports import (
    ChainBatch,
    ChainNode,
    ChainStore,
    Cursor,
    SectorSnapshot,
    TipSetRef,
)
from deals.route import FollowError, Move, NothingBelow, Router, first_within_reach
from deals.sectors import check_sectors, read_sectors, sectors_of
from fil_plus.event_kinds import SectorActivated, SectorTerminated, SectorUpdated, TypedEvent
from lotus_client.chain import HeadChange, TipSet
from lotus_client.errors import LotusRpcError, LotusUnavailable
from lotus_client.types import EPOCHS_PER_DAY, ActorId, Epoch, SectorNumber

__all__ = ["ChainFollower", "FollowError", "FollowProgress", "HeadNotifier"]

_log = structlog.get_logger(__name__)

_DEFAULT_RANGE: Final = 720  # epochs per step: some 10 MB of headers on mainnet
_CLAIMS_EVERY: Final = 120  # epochs between reads of all claims when there are no events
_MAX_RETRIES: Final = 5  # of one step whose chain changed while it was read


class HeadNotifier(Protocol):
    """A node that tells of new heads."""

    def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        """Batches of head changes; ends or raises when the connection drops."""
        ...


@dataclass(frozen=True, slots=True)
class FollowProgress:
    """What one step did; `at_head` says that nothing is left to do for now."""

    cursor: TipSetRef
    head: Epoch
    applied: int
    reverted: int
    events: int
    malformed: int
    full_read: bool
    at_head: bool


class ChainFollower:
    """The follower of one provider. Not to be run twice at the same time on one store."""

    def __init__(
        self,
        node: ChainNode,
        store: ChainStore,
        provider: ActorId,
        *,
        start_at: Epoch | None = None,
        range_epochs: int = _DEFAULT_RANGE,
        claims_every: int = _CLAIMS_EVERY,
    ) -> None:
        """`start_at` is where the very first start begins; by default the newest final tipset."""
        self._node = node
        self._store = store
        self._provider = provider
        self._start_at = start_at
        self._range = range_epochs
        sources = (EventsApi(node, provider), Receipts(node, provider))
        self._reader = EventReader(sources, again=claims_every)
        self._claims = ClaimsCheck(node, store, provider, claims_every)
        self._router = Router(node, store, provider)
        self._sector_size: int | None = None
        self._sectors_every = claims_every
        self._sectors_failed: Epoch | None = None

    @property
    def source(self) -> SourceStatus | None:
        """Where events are read; None before the first step that had some to read."""
        return self._reader.status

    async def catch_up(self) -> FollowProgress:
        """Step until the cursor stands on the parent of the head; gives the last step's progress.

        Raises:
            LotusUnavailable: the node does not answer; call again later, nothing is lost.
            FollowError: a person must act.
        """
        while True:
            progress = await self.step()
            if progress.at_head:
                return progress

    async def follow(
        self,
        notifier: HeadNotifier,
        on_progress: Callable[[FollowProgress], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        retry_seconds: float = 5.0,
    ) -> None:
        """Catch up at every change of the head until cancelled; waits and reconnects while the node is away.

        Raises:
            FollowError: a person must act.
        """
        while True:
            try:
                await on_progress(await self.catch_up())
                async with aclosing(notifier.notify()) as batches:
                    async for _ in batches:
                        await on_progress(await self.catch_up())
            except LotusUnavailable as error:
                _log.warning("node_unavailable", error=str(error), retry_seconds=retry_seconds)
            await sleep(retry_seconds)

    async def step(self) -> FollowProgress:
        """Process at most `range_epochs` further epochs, in one transaction."""
        cursor = await self._store.cursor(self._provider)
        if cursor is None:
            cursor = await self._begin()
        for _ in range(_MAX_RETRIES):
            try:
                return await self._advance(cursor)
            except ChainChanged:
                continue
        raise LotusUnavailable("the node's chain changed during every attempt to read it")

    async def _begin(self) -> Cursor:
        """The first cursor: the parent of the start tipset, with the claims that stand there."""
        start, gap = await self._start()
        finalized = (await self._node.finalized_tipset()).height
        first = await self._node.tipset(start.parents) if start.parents else start
        place = TipSetRef(first.height, first.key)
        claims = await self._node.claims(self._provider, start.key)
        cursor = Cursor(place, Epoch(min(finalized, place.height)), start.height)
        await self._store.apply(
            ChainBatch(
                provider=self._provider,
                before=None,
                after=cursor,
                read_at=TipSetRef(start.height, start.key),
                applied=(place,),
                events=tuple(diff_claims({}, claims, place)),
                gaps=() if gap is None else (gap,),
            )
        )
        await self._check_sectors(start, changed=True)
        _log.info("following_begins", height=place.height, claims=len(claims))
        return cursor

    async def _start(self) -> tuple[TipSet, Gap | None]:
        """The tipset to begin at: the one asked for, or the lowest above it of which the node still has chain and state."""
        if self._start_at is None:
            return await self._node.finalized_tipset(), None
        head = await self._node.head()
        wanted = Epoch(min(self._start_at, head.height))

        async def can_read(tipset: TipSet) -> None:
            if tipset.parents:
                await self._node.tipset(tipset.parents)
            await self._node.miner_info(self._provider, tipset.key)

        try:
            start = await self._node.tipset_after_height(wanted, head.key)
            await can_read(start)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
        else:
            return start, None
        start, why = await first_within_reach(wanted, head, can_read, self._node)
        if start.height <= wanted:
            return start, None
        _log.error("chain_gap", first=wanted, end=start.height, why=why)
        return start, Gap(wanted, start.height, GapKind.CHAIN, why)

    async def _advance(self, cursor: Cursor) -> FollowProgress:
        head = await self._node.head()
        upto = await self._next_stop(cursor, head, above=cursor.tipset.height)
        if cursor.tipset.key == (upto.parents or upto.key):
            return await self._stand_still(cursor, upto)
        try:
            move = await self._router.route(cursor, upto)
        except NothingBelow:
            if upto.key == head.key:
                raise
            upto = await self._next_stop(cursor, head, above=upto.height)
            move = await self._router.route(cursor, upto)
        events = await self._read_events(move, upto)
        batch = await self._batch(cursor, move, upto, events)
        changed = move.gap is not None or any(
            isinstance(event, SectorUpdated | SectorTerminated) for event in events.typed
        )
        # What a lost read had shown is to be seen again, also where it left the power as it was.
        changed = changed or await self._store.has_stale_snapshot(batch)
        if changed:  # read before: a crash after `apply` must not forget that it was needed
            batch = replace(batch, snapshot=await self._snapshot(upto))
        await self._store.apply(batch)
        full_read = await self._check_sectors(upto, changed=False)
        return FollowProgress(
            cursor=move.to,
            head=head.height,
            applied=len(move.applied),
            reverted=len(move.reverted),
            events=len(batch.events),
            malformed=events.malformed,
            full_read=full_read or batch.snapshot is not None,
            at_head=upto.key == head.key,
        )

    async def _next_stop(self, cursor: Cursor, head: TipSet, *, above: Epoch) -> TipSet:
        """The tipset to go to from the cursor: the head, or one about a range above a height."""
        limit = above + self._range
        while limit < head.height:
            try:
                upto = await self._node.tipset_after_height(Epoch(limit), head.key)
            except LotusRpcError as error:
                if not out_of_reach(error):
                    raise
                limit += self._range  # the gap to come ends above
                continue
            if upto.parents != cursor.tipset.key:
                return upto
            limit = upto.height + self._range  # only null rounds up to there
        return head

    async def _batch(
        self, cursor: Cursor, move: Move, upto: TipSet, events: AppliedEvents
    ) -> ChainBatch:
        finalized = min((await self._node.finalized_tipset()).height, move.to.height)
        after = Cursor(
            move.to,
            Epoch(max(finalized, min(cursor.finalized, move.to.height))),
            read_still_counts(cursor, move.reverted),
        )
        gaps = [] if move.gap is None else [move.gap]
        if not events.known:
            gaps.append(self._unknown_events(move))
        batch = ChainBatch(
            provider=self._provider,
            before=cursor,
            after=after,
            read_at=TipSetRef(upto.height, upto.key),
            reverted=move.reverted,
            applied=tuple(TipSetRef(tipset.height, tipset.key) for tipset in move.applied),
            events=events.raw,
            typed=events.typed,
            expirations=await self._expirations(cursor, events.typed, move.reverted, upto),
            own_blocks=own_blocks(self._provider, move.applied),
            gaps=tuple(gaps),
        )
        return await self._claims.reconciled(batch, upto, known=events.known)

    def _unknown_events(self, move: Move) -> Gap:
        status = self._reader.status
        first = move.applied[0].height
        why = "" if status is None else status.why
        return Gap(first, Epoch(move.to.height + 1), GapKind.EVENTS, why)

    async def _stand_still(self, cursor: Cursor, upto: TipSet) -> FollowProgress:
        """Nothing to process; a head that only replaced its sibling still changes what is read at it."""
        here = ChainBatch(self._provider, cursor, cursor, TipSetRef(upto.height, upto.key))
        if await self._store.has_stale_snapshot(here):
            # dropped now: later it would take along what is read at this head
            await self._store.apply(replace(here, snapshot=await self._snapshot(upto)))
        full_read = await self._check_sectors(upto, changed=False)
        return FollowProgress(
            cursor.tipset, upto.height, 0, 0, 0, 0, full_read=full_read, at_head=True
        )

    async def _read_events(self, move: Move, upto: TipSet) -> AppliedEvents:
        """The well-formed events of the applied tipsets in chain order; not known if only the state is left to ask."""
        if not move.applied:
            return AppliedEvents()
        found = await self._reader.read(Stretch(move.applied, upto))
        if found is None:
            return AppliedEvents(known=False)
        return well_formed(found, self._provider)

    async def _expirations(
        self,
        cursor: Cursor,
        typed: Sequence[TypedEvent],
        reverted: Sequence[TipSetRef],
        upto: TipSet,
    ) -> dict[SectorNumber, Epoch]:
        """The ends of the sectors that got data, or lost what a fork had done to them; one that is gone already has none.

        Once a day also of those that are about to end: they may have been extended, which emits nothing.
        """
        named = await self._store.sectors_named_in(self._provider, reverted)
        got = {
            event.sector
            for event in typed
            if isinstance(event, SectorActivated | SectorUpdated) and event.pieces
        }
        before, now = cursor.tipset.height, upto.height
        if before // EPOCHS_PER_DAY != now // EPOCHS_PER_DAY:
            named |= await self._store.sectors_ending(
                self._provider, before, Epoch(now + 2 * EPOCHS_PER_DAY)
            )
        numbers = sorted(got | named)
        if not numbers:
            return {}
        try:
            ends = await self._ends(numbers, upto)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            # the state there is pruned: the end as it stands at the head is as good, or newer
            ends = await self._ends(numbers, await self._node.head())
        return ends

    async def _ends(self, numbers: Sequence[SectorNumber], at: TipSet) -> dict[SectorNumber, Epoch]:
        infos = await sectors_of(self._node, self._provider, numbers, at.key)
        return {info.number: info.expiration for info in infos}

    async def _size(self, at: TipSet) -> int:
        if self._sector_size is None:
            self._sector_size = (await self._node.miner_info(self._provider, at.key)).sector_size
        return self._sector_size

    async def _snapshot(self, at: TipSet) -> SectorSnapshot | None:
        """All active sectors at `at`, or None if the node cannot say: what is stored then counts until it can."""
        try:
            size = await self._size(at)
            return await read_sectors(self._node, self._store, self._provider, size, at)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            return None

    async def _check_sectors(self, at: TipSet, *, changed: bool) -> bool:
        """Whether the sector table was brought up to `at`; what a node cannot say is asked again only after a while."""
        failed = self._sectors_failed
        if failed is not None and not changed and 0 <= at.height - failed < self._sectors_every:
            return False
        try:
            size = await self._size(at)
            read = await check_sectors(
                self._node, self._store, self._provider, size, at, changed=changed
            )
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            _log.info("sectors_out_of_reach", height=at.height, error=str(error))
            return False
        self._sectors_failed = at.height if read is None else None
        return bool(read)
