"""Follows the chain for one provider: tipsets, events, blocks won, claims and sectors, through reorgs and restarts.

One `step` moves the cursor by at most `range_epochs` and is one transaction of the store. The cursor stands on a tipset
whose child is known; state is read at that child, so it contains the effects of everything processed and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from deals.ports import ChainBatch, ChainNode, ChainStore, Cursor, OwnBlock, TipSetRef
from deals.sectors import check_sectors
from fil_plus.events import (
    EventError,
    SectorActivated,
    SectorTerminated,
    SectorUpdated,
    TypedEvent,
    claim_entries,
    parse_event,
    provider_filters,
)
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet
from lotus_client.errors import LotusNotSupported, LotusRpcError, LotusUnavailable
from lotus_client.state import ActorEvent, Claim
from lotus_client.types import ActorId, Epoch, SectorNumber

__all__ = ["ChainFollower", "FollowError", "FollowProgress", "HeadNotifier"]

_log = structlog.get_logger(__name__)

_REGISTRY: Final = Address.of_id(6)
_DEFAULT_RANGE: Final = 720  # epochs per step: some 10 MB of headers on mainnet
_CLAIMS_EVERY: Final = 120  # epochs between reads of all claims when there are no events
_MAX_RETRIES: Final = 5  # of one step whose chain changed while it was read


class FollowError(Exception):
    """Following cannot go on without a person: says what is wrong and what to do."""


class _ChainChanged(Exception):
    """The node moved to another chain between two reads of one step; read again."""


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
        self._claims_every = claims_every
        self._events_on = True
        self._sector_size: int | None = None

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
            except _ChainChanged:
                continue
        raise LotusUnavailable("the node's chain changed during every attempt to read it")

    async def _begin(self) -> Cursor:
        """The first cursor: the parent of the start tipset, with the claims that stand there."""
        start = await self._node.finalized_tipset()
        finalized = start.height
        if self._start_at is not None:
            head = await self._node.head()
            start = await self._node.tipset_after_height(
                Epoch(min(self._start_at, head.height)), head.key
            )
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
                events=tuple(_claim_event("claim", claim, place) for claim in claims.values()),
            )
        )
        await self._check_sectors(start, changed=True)
        _log.info("following_begins", height=place.height, claims=len(claims))
        return cursor

    async def _advance(self, cursor: Cursor) -> FollowProgress:
        head = await self._node.head()
        limit = cursor.tipset.height + self._range
        while limit < head.height:
            upto = await self._node.tipset_after_height(Epoch(limit), head.key)
            if upto.parents != cursor.tipset.key:
                break
            limit = upto.height + self._range  # only null rounds up to there
        else:
            upto = head
        if cursor.tipset.key in (upto.parents, upto.key):
            return await self._stand_still(cursor, upto)
        move = await self._route(cursor, upto)
        events, typed, malformed = await self._read_events(cursor, move, upto)
        finalized = min((await self._node.finalized_tipset()).height, move.to.height)
        claims_read_at = cursor.claims_read_at
        if not self._events_on and self._claims_are_due(cursor, upto):
            events += await self._diff_claims(move.to, upto)
            claims_read_at = upto.height
        after = Cursor(
            move.to, Epoch(max(finalized, min(cursor.finalized, move.to.height))), claims_read_at
        )
        await self._store.apply(
            ChainBatch(
                provider=self._provider,
                before=cursor,
                after=after,
                read_at=TipSetRef(upto.height, upto.key),
                reverted=move.reverted,
                applied=tuple(TipSetRef(tipset.height, tipset.key) for tipset in move.applied),
                events=tuple(events),
                expirations=await self._expirations(typed, upto),
                own_blocks=_own_blocks(self._provider, move.applied),
            )
        )
        changed = any(isinstance(event, SectorUpdated | SectorTerminated) for event in typed)
        full_read = await self._check_sectors(upto, changed=changed)
        return FollowProgress(
            cursor=move.to,
            head=head.height,
            applied=len(move.applied),
            reverted=len(move.reverted),
            events=len(events),
            malformed=malformed,
            full_read=full_read,
            at_head=upto.key == head.key,
        )

    async def _stand_still(self, cursor: Cursor, upto: TipSet) -> FollowProgress:
        """Nothing to process; a head that only replaced its sibling still changes what is read at it."""
        full_read = await self._check_sectors(upto, changed=False)
        return FollowProgress(
            cursor.tipset, upto.height, 0, 0, 0, 0, full_read=full_read, at_head=True
        )

    async def _route(self, cursor: Cursor, upto: TipSet) -> _Move:
        """From the cursor to the parent of `upto`: by the node's path, or by the newest common tipset."""
        base = cursor.tipset
        lost: tuple[TipSetRef, ...] = ()
        try:
            changes = await self._node.path(base.key, upto.key)
        except LotusNotSupported:
            raise
        except LotusRpcError as error:
            # the fork we stand on may be gone from the node's store
            base, lost = await self._common_ancestor(upto)
            _log.warning("fork_lost", error=str(error), ancestor=base.height, reverted=len(lost))
            changes = await self._walk_back(base, upto)
        reverted = [
            TipSetRef(change.tipset.height, change.tipset.key)
            for change in changes
            if change.type == "revert"
        ]
        applied = [change.tipset for change in changes if change.type == "apply"]
        if not applied:  # the head went back to a tipset that is processed already
            return _Move((*lost, *reverted), (), TipSetRef(upto.height, upto.key))
        if applied.pop().key != upto.key:
            raise _ChainChanged
        tip = applied[-1] if applied else await self._node.tipset(upto.parents)
        if upto.parents != tip.key:
            raise _ChainChanged
        return _Move((*lost, *reverted), tuple(applied), TipSetRef(tip.height, tip.key))

    async def _common_ancestor(self, upto: TipSet) -> tuple[TipSetRef, tuple[TipSetRef, ...]]:
        """The newest processed tipset below `upto`, and the processed ones above it, newest first.

        Membership is monotone along the stored tipsets, so a binary search needs about ten reads.
        """
        processed = await self._store.processed(self._provider)
        low, high = (
            0,
            len(processed),
        )  # processed[:low] are on the chain of upto, processed[high:] are not
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
                raise _ChainChanged
            tipsets.append(parent)
        return [HeadChange("apply", tipset) for tipset in reversed(tipsets)]

    async def _read_events(
        self, cursor: Cursor, move: _Move, upto: TipSet
    ) -> tuple[list[ActorEvent], list[TypedEvent], int]:
        """The well-formed events of the applied tipsets in chain order, their typed form, and how many were malformed."""
        if not move.applied:
            return [], [], 0
        if not self._events_on and not self._claims_are_due(cursor, upto):
            return [], [], 0  # asked again whenever claims are read
        positions = {tipset.key: index for index, tipset in enumerate(move.applied)}
        found: list[ActorEvent] = []
        try:
            for wanted in provider_filters(self._provider):
                found += await self._node.actor_events(
                    wanted.emitters,
                    wanted.fields,
                    move.applied[0].height,
                    move.applied[-1].height,
                )
        except LotusNotSupported as error:
            if self._events_on:
                _log.warning("events_are_off", error=str(error), instead="claims read from state")
            self._events_on = False
            return [], [], 0
        self._events_on = True
        if any(event.tipset not in positions for event in found):
            raise _ChainChanged
        found.sort(key=lambda event: positions[event.tipset])  # stable: keeps the order in a tipset
        return _well_formed(found, self._provider)

    def _claims_are_due(self, cursor: Cursor, upto: TipSet) -> bool:
        read_at = cursor.claims_read_at
        return read_at is None or not 0 <= upto.height - read_at < self._claims_every

    async def _diff_claims(self, place: TipSetRef, upto: TipSet) -> list[ActorEvent]:
        """What changed among the claims since they were last known, as the events f06 would have emitted."""
        known = await self._store.claims(self._provider)
        now = await self._node.claims(self._provider, upto.key)
        changed = [
            _claim_event("claim-updated" if claim_id in known else "claim", claim, place)
            for claim_id, claim in sorted(now.items())
            if known.get(claim_id) != claim
        ]
        gone = [
            _claim_event("claim-removed", claim, place)
            for claim_id, claim in sorted(known.items())
            if claim_id not in now
        ]
        return changed + gone

    async def _expirations(
        self, typed: list[TypedEvent], upto: TipSet
    ) -> dict[SectorNumber, Epoch]:
        """The ends of the sectors that got data; one that is gone already has none."""
        numbers = {
            event.sector
            for event in typed
            if isinstance(event, SectorActivated | SectorUpdated) and event.pieces
        }
        ends = {}
        for number in sorted(numbers):
            info = await self._node.sector(self._provider, number, upto.key)
            if info is not None:
                ends[number] = info.expiration
        return ends

    async def _check_sectors(self, at: TipSet, *, changed: bool) -> bool:
        if self._sector_size is None:
            self._sector_size = (await self._node.miner_info(self._provider, at.key)).sector_size
        return await check_sectors(
            self._node, self._store, self._provider, self._sector_size, at, changed=changed
        )


@dataclass(frozen=True, slots=True)
class _Move:
    reverted: tuple[TipSetRef, ...]
    applied: tuple[TipSet, ...]
    to: TipSetRef


def _claim_event(kind: str, claim: Claim, place: TipSetRef) -> ActorEvent:
    return ActorEvent(
        emitter=_REGISTRY,
        entries=claim_entries(kind, claim),
        reverted=False,
        height=place.height,
        tipset=place.key,
        message=place.key.cids[0],  # no message is known: read from state at this tipset
    )


def _well_formed(
    events: list[ActorEvent], provider: ActorId
) -> tuple[list[ActorEvent], list[TypedEvent], int]:
    good, typed, malformed = [], [], 0
    for event in events:
        try:
            value = parse_event(event, provider)
        except EventError as error:
            # one bad event must not stop everything: the power check shows what it hides
            _log.error("malformed_event", error=str(error), height=event.height)
            malformed += 1
            continue
        if value is not None and not event.reverted:
            good.append(event)
            typed.append(value)
    return good, typed, malformed


def _own_blocks(provider: ActorId, tipsets: tuple[TipSet, ...]) -> tuple[OwnBlock, ...]:
    miner = Address.of_id(provider)
    return tuple(
        OwnBlock(tipset.height, tipset.key, cid, block.win_count, block.to_cbor())
        for tipset in tipsets
        for cid, block in zip(tipset.key.cids, tipset.blocks, strict=True)
        if block.miner == miner
    )
