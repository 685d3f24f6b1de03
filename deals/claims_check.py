"""The claims in the index against those in the state: after epochs of unknown events, and now and then in any case.

Events tell of every change of a claim, if they are all served. A gap in them, or an index that lost some, is closed here for
claims: the difference to the state becomes events at the newest tipset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from deals.event_sources.state import diff_claims
from deals.gaps import Gap, GapKind, out_of_reach
from deals.ports import ChainBatch, ChainNode, ChainStore, Cursor, TipSetRef
from fil_plus.event_kinds import ClaimMade, ClaimRemoved, ClaimUpdated, TypedEvent
from fil_plus.events import parse_event
from lotus_client.chain import TipSet
from lotus_client.errors import LotusRpcError
from lotus_client.state import ActorEvent, Claim
from lotus_client.types import ActorId, ClaimId, Epoch

__all__ = ["ClaimsCheck", "read_still_counts"]

_log = structlog.get_logger(__name__)

_ANYWAY: Final = 2880  # epochs after which claims are compared even if no event can be missing


def read_still_counts(cursor: Cursor, reverted: Sequence[TipSetRef]) -> Epoch | None:
    """When claims were last read, or None if what was read then goes with the tipsets that are reverted."""
    read_at = cursor.claims_read_at
    lowest = min((ref.height for ref in reverted), default=None)
    return None if read_at is None or (lowest is not None and lowest < read_at) else read_at


class ClaimsCheck:
    """Decides when the state is asked, and adds to a batch what it shows. `every` is in epochs, while events are unknown."""

    def __init__(self, node: ChainNode, store: ChainStore, provider: ActorId, every: int) -> None:
        self._node = node
        self._store = store
        self._provider = provider
        self._every = every

    async def reconciled(self, batch: ChainBatch, upto: TipSet, *, known: bool) -> ChainBatch:
        """`batch`, with the changes that its events do not tell of; `known` says whether it has all events of its tipsets.

        While the state cannot be read the claims stay due; the gaps in the store remember it over a restart.
        """
        if not batch.applied:
            return batch
        read_at = batch.after.claims_read_at
        gaps = (*await self._store.gaps(self._provider), *batch.gaps)
        behind = any(read_at is None or gap.to_epoch > read_at for gap in gaps)
        wait = self._every if behind and not known and not _jumped(batch) else 0
        if not behind:
            wait = _ANYWAY
        if read_at is not None and 0 <= upto.height - read_at < wait:
            return batch
        if (
            read_at is None and not behind
        ):  # a reorg took the last read along; nothing is missing for it
            return replace(batch, after=replace(batch.after, claims_read_at=upto.height))
        changes = await self._changes(batch, upto)
        if changes is None:
            return batch
        after = replace(batch.after, claims_read_at=upto.height)
        if changes and not behind:
            batch = self._missed(batch, read_at, len(changes))
        typed = (parse_event(event, self._provider) for event in changes)
        return replace(
            batch,
            events=(*batch.events, *changes),
            typed=(*batch.typed, *(event for event in typed if event is not None)),
            after=after,
        )

    async def _changes(self, batch: ChainBatch, upto: TipSet) -> list[ActorEvent] | None:
        """What the state says that the events do not; None if the node has that state no more."""
        try:
            now = await self._node.claims(self._provider, upto.key)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            return None
        known = await self._store.claims(self._provider, besides=batch.reverted)
        return diff_claims(_after(known, batch.typed), now, batch.after.tipset)

    def _missed(self, batch: ChainBatch, read_at: Epoch | None, count: int) -> ChainBatch:
        """The node said that it had told of all events, and has not."""
        first = batch.applied[0].height if read_at is None else read_at
        why = f"{count} changes of claims were in the state but in none of the events the node gave"
        _log.error("events_were_missing", first=first, changes=count)
        gap = Gap(first, Epoch(batch.after.tipset.height + 1), GapKind.EVENTS, why)
        return replace(batch, gaps=(*batch.gaps, gap))


def _jumped(batch: ChainBatch) -> bool:
    return any(gap.kind is GapKind.CHAIN for gap in batch.gaps)


def _after(known: dict[ClaimId, Claim], typed: Sequence[TypedEvent]) -> dict[ClaimId, Claim]:
    claims = dict(known)
    for event in typed:
        if isinstance(event, ClaimMade | ClaimUpdated):
            claims[event.claim.id] = event.claim
        elif isinstance(event, ClaimRemoved):
            claims.pop(event.claim.id, None)
    return claims
