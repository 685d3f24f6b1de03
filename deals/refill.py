"""Filling gaps: what could not be read once is read from a node that has it, and put where it belongs in the index.

Only final epochs are filled, so a reorg never meets one. A gap is read as a whole and stored in one transaction, which also
takes back the changes of claims that had been concluded from the state in its stead. If what was read does not explain all of
them the source has left something out, and the gap stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from deals.applied import own_blocks, well_formed
from deals.event_sources import EventsApi, EventSource, Receipts, Stretch
from deals.event_sources.base import ChainChanged
from deals.gaps import Gap, GapKind, out_of_reach
from deals.ports import ChainNode, Cursor, FilledGap, OwnBlock
from deals.sectors import sectors_of
from fil_plus.event_kinds import SectorActivated, SectorUpdated, TypedEvent
from lotus_client.chain import TipSet
from lotus_client.errors import LotusDecodeError, LotusRpcError
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId, Epoch, SectorNumber

__all__ = ["GapFiller", "RefillReport", "RefillStore"]

_log = structlog.get_logger(__name__)

_DEFAULT_RANGE: Final = 720  # epochs whose headers are held at one time


class RefillStore(Protocol):
    """Where gaps are kept and filled; `sp_plugin.store.chain.ChainRepository` is one."""

    async def cursor(self, provider: ActorId) -> Cursor | None: ...
    async def gaps(self, provider: ActorId) -> tuple[Gap, ...]: ...
    async def fill_gap(self, filled: FilledGap) -> bool: ...


@dataclass(frozen=True, slots=True)
class RefillReport:
    """The epochs that are known now; those that are not, each with the newest reason; and those that are not final yet."""

    filled: tuple[Gap, ...]
    refused: tuple[Gap, ...]
    waiting: tuple[Gap, ...]


@dataclass(slots=True)
class _Read:
    """What has been read of a gap so far."""

    events: list[ActorEvent]
    typed: list[TypedEvent]
    blocks: list[OwnBlock]


class GapFiller:
    """Fills the gaps of one provider from one node, which need not be the one that is followed."""

    def __init__(
        self,
        node: ChainNode,
        store: RefillStore,
        provider: ActorId,
        *,
        range_epochs: int = _DEFAULT_RANGE,
    ) -> None:
        self._node = node
        self._store = store
        self._provider = provider
        self._range = range_epochs
        # both are asked: an index that has lost events does not know it, and the receipts show them
        self._sources: tuple[EventSource, ...] = (
            EventsApi(node, provider),
            Receipts(node, provider),
        )

    async def fill(self) -> RefillReport:
        """Try every gap that is final once. What is refused stays as it is.

        Raises:
            LotusUnavailable: the node does not answer; what was filled before stays filled.
        """
        cursor = await self._store.cursor(self._provider)
        filled: list[Gap] = []
        refused: list[Gap] = []
        waiting: list[Gap] = []
        for gap in () if cursor is None else await self._store.gaps(self._provider):
            assert cursor is not None
            end = Epoch(min(gap.to_epoch, cursor.finalized))
            if end < gap.to_epoch:
                above = Epoch(max(end, gap.from_epoch))
                waiting.append(Gap(above, gap.to_epoch, gap.kind, gap.reason))
            if end <= gap.from_epoch:
                continue
            part = Gap(gap.from_epoch, end, gap.kind, gap.reason)
            why = await self._fill(part, cursor)
            if why:
                refused.append(Gap(part.from_epoch, part.to_epoch, part.kind, why))
                continue
            _log.info("gap_filled", first=part.from_epoch, end=part.to_epoch, kind=part.kind.value)
            filled.append(part)
        return RefillReport(tuple(filled), tuple(refused), tuple(waiting))

    async def _fill(self, gap: Gap, cursor: Cursor) -> str:
        """Why it could not be filled; empty if it was."""
        why: list[str] = []
        for source in self._sources:
            try:
                filled = await self._read(gap, cursor, source)
            except ChainChanged:
                why.append(f"{source.name.value}: the node's chain changed while it was read")
            except (LotusRpcError, LotusDecodeError) as error:
                if str(error) not in why:
                    why.append(str(error))
            else:
                if await self._store.fill_gap(filled):
                    return ""
                why.append(
                    f"{source.name.value}: its events do not explain the claims in the state"
                )
        return "; ".join(why)

    async def _read(self, gap: Gap, cursor: Cursor, source: EventSource) -> FilledGap:
        """Everything of the gap's epochs, on the chain of the cursor."""
        top = await self._node.tipset_after_height(gap.to_epoch, cursor.tipset.key)
        below = Epoch(max(gap.from_epoch - 1, 0))
        base = await self._node.tipset_by_height(below, top.key)
        found = _Read([], [], [])
        while base.key != top.parents:
            child = await self._next(base, top)
            tipsets = await self._between(base, child)
            events = await source.read(Stretch(tipsets, child))
            good = well_formed(events, self._provider)
            found.events += good.raw
            found.typed += good.typed
            if gap.kind is GapKind.CHAIN:
                found.blocks += own_blocks(self._provider, tipsets)
            base = tipsets[-1]
        now, past = await self._ends(found.typed, top)
        return FilledGap(
            provider=self._provider,
            gap=gap,
            events=tuple(found.events),
            typed=tuple(found.typed),
            own_blocks=tuple(found.blocks),
            expirations=now,
            past_expirations=past,
        )

    async def _next(self, base: TipSet, top: TipSet) -> TipSet:
        """A tipset about a range above `base`, with at least one between the two; at most `top`."""
        height = base.height + self._range
        while height < top.height:
            child = await self._node.tipset_after_height(Epoch(height), top.key)
            if child.parents != base.key:
                return child
            height = child.height + 1
        return top

    async def _between(self, base: TipSet, child: TipSet) -> tuple[TipSet, ...]:
        """The tipsets above `base` and below `child`, each the parent of the next. Not empty."""
        changes = await self._node.path(base.key, child.key)
        tipsets = [change.tipset for change in changes]
        parents = [base.key, *(tipset.key for tipset in tipsets)]
        fits = all(
            change.type == "apply" and change.tipset.parents == parent
            for change, parent in zip(changes, parents, strict=False)
        )
        if not fits or len(tipsets) < 2 or tipsets.pop().key != child.key:
            raise ChainChanged
        return tuple(tipsets)

    async def _ends(
        self, typed: Sequence[TypedEvent], top: TipSet
    ) -> tuple[dict[SectorNumber, Epoch], dict[SectorNumber, Epoch]]:
        """The ends of the sectors that got data: as they stand now, and as they stood then for those that are gone."""
        numbers = {
            event.sector
            for event in typed
            if isinstance(event, SectorActivated | SectorUpdated) and event.pieces
        }
        now = await self._ends_at(numbers, await self._node.head())
        try:
            past = await self._ends_at(numbers - now.keys(), top)
        except LotusRpcError as error:
            if not out_of_reach(error):
                raise
            past = {}
        return now, past

    async def _ends_at(self, numbers: set[SectorNumber], at: TipSet) -> dict[SectorNumber, Epoch]:
        infos = await sectors_of(self._node, self._provider, sorted(numbers), at.key)
        return {info.number: info.expiration for info in infos}
