"""What the follower and the sector table need of a node and of a store.

`LotusClient` satisfies `ChainNode`; `sp_plugin.store.chain` satisfies `ChainStore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deals.gaps import Gap
from fil_plus.event_kinds import TypedEvent
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import (
    ActorEvent,
    ChainMessage,
    Claim,
    EventEntry,
    MinerInfo,
    MinerPower,
    Receipt,
    SectorOnChainInfo,
)
from lotus_client.types import ActorId, ClaimId, Epoch, SectorNumber

__all__ = [
    "ChainBatch",
    "ChainNode",
    "ChainStore",
    "Cursor",
    "CursorMoved",
    "FilledGap",
    "OwnBlock",
    "SectorSnapshot",
    "SectorStore",
    "TipSetRef",
]


class CursorMoved(Exception):
    """Another process has moved the cursor of this provider: only one sidecar may follow for it."""


@dataclass(frozen=True, slots=True)
class TipSetRef:
    """A tipset by height and key."""

    height: Epoch
    key: TipSetKey


@dataclass(frozen=True, slots=True)
class Cursor:
    """The newest processed tipset, the last finalised height, and when claims were last read from state."""

    tipset: TipSetRef
    finalized: Epoch
    claims_read_at: Epoch | None = None


@dataclass(frozen=True, slots=True)
class OwnBlock:
    """A block the provider won, with the header's signed bytes as evidence (nodes prune)."""

    epoch: Epoch
    tipset: TipSetKey
    cid: Cid
    win_count: int
    header: bytes


@dataclass(frozen=True, slots=True)
class SectorSnapshot:
    """The sectors that counted for power when read at `tipset` of height `at`."""

    at: Epoch
    tipset: TipSetKey
    sector_size: int
    sectors: tuple[SectorOnChainInfo, ...]


@dataclass(frozen=True, slots=True)
class ChainBatch:
    """One step of the follower: forget `reverted`, add `applied` with what they bring, move the cursor. All or nothing.

    `read_at` is the child of the new cursor, at which state was read. `events` are well-formed events of the provider in
    chain order. `expirations` are ends of sectors named in them, `gaps` what could not be read, `snapshot` the sectors at
    `read_at` where they had to be read.
    """

    provider: ActorId
    before: Cursor | None
    after: Cursor
    read_at: TipSetRef
    reverted: tuple[TipSetRef, ...] = ()
    applied: tuple[TipSetRef, ...] = ()
    events: tuple[ActorEvent, ...] = ()
    typed: tuple[TypedEvent, ...] = ()  # the same events, parsed; may be left out
    expirations: Mapping[SectorNumber, Epoch] = field(default_factory=dict)
    own_blocks: tuple[OwnBlock, ...] = ()
    gaps: tuple[Gap, ...] = ()
    snapshot: SectorSnapshot | None = None


@dataclass(frozen=True, slots=True)
class FilledGap:
    """What was read of a gap later: all events of its epochs in chain order, parsed beside them, and the blocks won.

    `expirations` are the ends of sectors named in the events as they stand now, `past_expirations` those of sectors that are
    gone: they count only where no end is known.
    """

    provider: ActorId
    gap: Gap
    events: tuple[ActorEvent, ...]
    typed: tuple[TypedEvent, ...]
    own_blocks: tuple[OwnBlock, ...]
    expirations: Mapping[SectorNumber, Epoch]
    past_expirations: Mapping[SectorNumber, Epoch]


class ChainNode(Protocol):
    """The reads of a Lotus node that following needs."""

    async def head(self) -> TipSet:
        """The heaviest tipset."""
        ...

    async def finalized_tipset(self) -> TipSet:
        """The newest final tipset."""
        ...

    async def tipset(self, key: TipSetKey) -> TipSet:
        """The tipset of `key`."""
        ...

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the next lower one."""
        ...

    async def tipset_after_height(self, height: Epoch, tsk: TipSetKey | None = None) -> TipSet:
        """The tipset at `height` below `tsk`, or the next higher one."""
        ...

    async def path(self, from_: TipSetKey, to: TipSetKey) -> list[HeadChange]:
        """Reverts and applies from one tipset to another."""
        ...

    async def actor_events(
        self,
        emitters: Sequence[Address],
        fields: Mapping[str, Sequence[CborValue]],
        from_height: Epoch,
        to_height: Epoch,
    ) -> list[ActorEvent]:
        """Matching events included in a range of heights, both counted, in chain order."""
        ...

    async def parent_messages(self, block: Cid) -> list[ChainMessage]:
        """The messages of a block's parent tipset, in the order of `parent_receipts`."""
        ...

    async def parent_receipts(self, block: Cid) -> list[Receipt]:
        """What the messages of a block's parent tipset gave."""
        ...

    async def events_of(self, root: Cid) -> list[tuple[ActorId, tuple[EventEntry, ...]]]:
        """Emitter and entries of the events under a receipt's root."""
        ...

    async def claims(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[ClaimId, Claim]:
        """Every claim of a provider."""
        ...

    async def miner_info(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerInfo:
        """Keys and sizes of a miner."""
        ...

    async def miner_power(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> MinerPower:
        """Power of a miner and of the network."""
        ...

    async def active_sectors(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> list[SectorOnChainInfo]:
        """The sectors that count for power."""
        ...

    async def sector(
        self, provider: Address | ActorId, number: SectorNumber, tsk: TipSetKey | None = None
    ) -> SectorOnChainInfo | None:
        """One committed sector, or None."""
        ...


class SectorStore(Protocol):
    """Where the sector table is kept."""

    async def active_sectors(
        self, provider: ActorId, at: Epoch
    ) -> tuple[SectorOnChainInfo, ...] | None:
        """The sectors that counted at `at` as far as known; None before the first full read."""
        ...

    async def active_power(self, provider: ActorId, at: Epoch) -> int | None:
        """Σ QAP of `active_sectors`, or None."""
        ...

    async def known_sectors(self, provider: ActorId) -> frozenset[SectorNumber]:
        """Every sector that an event or a full read has ever named."""
        ...

    async def save_snapshot(self, provider: ActorId, snapshot: SectorSnapshot) -> None:
        """Record a full read."""
        ...


class ChainStore(SectorStore, Protocol):
    """Where the follower keeps what it has learned."""

    async def cursor(self, provider: ActorId) -> Cursor | None:
        """How far this provider has been followed; None at the very first start."""
        ...

    async def processed(self, provider: ActorId) -> tuple[TipSetRef, ...]:
        """The tipsets kept as processed, ascending: at least the last 900 epochs."""
        ...

    async def claims(
        self, provider: ActorId, *, besides: Sequence[TipSetRef] = ()
    ) -> dict[ClaimId, Claim]:
        """The claims known now, removed ones left out; without what the tipsets `besides` brought."""
        ...

    async def gaps(self, provider: ActorId) -> tuple[Gap, ...]:
        """The epochs of which something is unknown, ascending."""
        ...

    async def sectors_named_in(
        self, provider: ActorId, tipsets: Sequence[TipSetRef]
    ) -> frozenset[SectorNumber]:
        """The sectors that events of `tipsets` name: what is known of them is to be read again when these are reverted."""
        ...

    async def sectors_ending(
        self, provider: ActorId, first: Epoch, last: Epoch
    ) -> frozenset[SectorNumber]:
        """The sectors with data that end at `first` to `last` as far as known: an extension may have come, and emits nothing."""
        ...

    async def has_stale_snapshot(self, batch: ChainBatch) -> bool:
        """Whether sectors were read at a tipset that `batch` shows not to be on the chain: `apply` drops what was read there."""
        ...

    async def apply(self, batch: ChainBatch) -> None:
        """Record `batch` in one transaction.

        Raises:
            CursorMoved: the stored cursor is not `batch.before`.
        """
        ...
