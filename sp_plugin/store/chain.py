"""What the follower has learned: tipsets, events, held pieces, the sector table, blocks won, and the cursor.

Held pieces are derived: whenever events of a sector come or go, its pieces are folded anew from all of its events in the same
transaction, so undoing a tipset is deleting its events. Events, blocks won and sector intervals are kept for ever as
evidence; tipsets only as long as a reorg could reach them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Table, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.gaps import Gap
from deals.ports import (
    ChainBatch,
    Cursor,
    CursorMoved,
    FilledGap,
    OwnBlock,
    SectorSnapshot,
    TipSetRef,
)
from deals.sectors import SectorHistory, SectorInterval
from fil_plus.event_kinds import ClaimMade, ClaimRemoved, ClaimUpdated, TypedEvent
from fil_plus.events import parse_event
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from lotus_client.state import Claim, SectorOnChainInfo
from lotus_client.types import ActorId, ClaimId, Epoch, SectorNumber
from sp_plugin.store import sector_table
from sp_plugin.store.base import Store
from sp_plugin.store.chain_codec import encode_entries
from sp_plugin.store.chain_gaps import load_gaps, save_gaps
from sp_plugin.store.chain_pieces import (
    Fresh,
    load_events,
    piece_of,
    refold,
    renewed_ends,
    write_ends,
)
from sp_plugin.store.chain_refill import fill_gap
from sp_plugin.store.chain_rows import insert_blocks, insert_events
from sp_plugin.store.chain_tables import (
    cursors as _cursors,
)
from sp_plugin.store.chain_tables import (
    events as _events,
)
from sp_plugin.store.chain_tables import (
    held_pieces as _pieces,
)
from sp_plugin.store.chain_tables import (
    own_blocks as _own_blocks,
)
from sp_plugin.store.chain_tables import (
    sector_ends as _sector_ends,
)
from sp_plugin.store.chain_tables import (
    tipsets as _tipsets,
)

__all__ = ["ChainRepository"]


_KEPT_EPOCHS: Final = (
    2000  # of tipsets below the cursor: twice the 900 epochs of finality, and some
)


class ChainRepository:
    """The chain tables of a store; satisfies `deals.ports.ChainStore`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def cursor(self, provider: ActorId) -> Cursor | None:
        """How far `provider` has been followed; None at the very first start."""
        async with self._store.reading() as connection:
            return await _read_cursor(connection, provider)

    async def processed(self, provider: ActorId) -> tuple[TipSetRef, ...]:
        """The tipsets kept as processed, ascending."""
        query = (
            select(_tipsets.c.height, _tipsets.c.tipset)
            .where(_tipsets.c.provider == provider)
            .order_by(_tipsets.c.height)
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(TipSetRef(Epoch(height), key) for height, key in rows)

    async def claims(
        self, provider: ActorId, *, besides: Sequence[TipSetRef] = ()
    ) -> dict[ClaimId, Claim]:
        """The claims known now, removed ones left out; without what the tipsets `besides` brought."""
        claims: dict[ClaimId, Claim] = {}
        left_out = {ref.key for ref in besides}
        async with self._store.reading() as connection:
            for event in await load_events(connection, provider, [], {}):
                if event.at.tipset in left_out:
                    continue
                if isinstance(event, ClaimMade | ClaimUpdated):
                    claims[event.claim.id] = event.claim
                elif isinstance(event, ClaimRemoved):
                    claims.pop(event.claim.id, None)
        return claims

    async def sectors_named_in(
        self, provider: ActorId, tipsets: Sequence[TipSetRef]
    ) -> frozenset[SectorNumber]:
        """The sectors that events of `tipsets` name."""
        named: set[SectorNumber] = set()
        async with self._store.reading() as connection:
            for ref in tipsets:
                named |= await _sectors_beside(
                    connection, provider, _brought_by(_events, provider, ref)
                )
        return frozenset(named)

    async def sectors_ending(
        self, provider: ActorId, first: Epoch, last: Epoch
    ) -> frozenset[SectorNumber]:
        """The sectors with data that end at `first` to `last` as far as known."""
        ends = _sector_ends.c
        query = select(ends.sector).where(
            ends.provider == provider, ends.expiration >= first, ends.expiration <= last
        )
        async with self._store.reading() as connection:
            return frozenset(map(SectorNumber, (await connection.execute(query)).scalars()))

    async def has_stale_snapshot(self, batch: ChainBatch) -> bool:
        """Whether sectors were read at a tipset that `batch` shows not to be on the chain: `apply` drops what was read there."""
        async with self._store.reading() as connection:
            return await sector_table.lowest_stale(connection, batch) is not None

    async def apply(self, batch: ChainBatch) -> None:
        """Record `batch` in one transaction.

        Raises:
            CursorMoved: the stored cursor is not `batch.before`.
        """
        async with self._store.transaction() as connection:
            if await _read_cursor(connection, batch.provider) != batch.before:
                raise CursorMoved(
                    f"the cursor of f0{batch.provider} was moved by another process; "
                    "run only one sidecar for a provider"
                )
            touched = await _forget(connection, batch.provider, batch.reverted)
            typed = _typed(batch)
            touched |= await _remember(connection, batch, typed)
            await save_gaps(connection, batch)
            await sector_table.drop_stale_snapshots(connection, batch)
            if batch.snapshot is not None:
                await sector_table.save_snapshot(connection, batch.provider, batch.snapshot)
                touched |= await renewed_ends(connection, batch.snapshot, batch.provider)
            await refold(connection, batch.provider, touched, _by_row(batch, typed))
            await _write_cursor(connection, batch.provider, batch.after)

    async def held_pieces(
        self,
        provider: ActorId,
        *,
        at: Epoch | None = None,
        piece_cid: Cid | None = None,
        sector: SectorNumber | None = None,
    ) -> tuple[HeldPiece, ...]:
        """The pieces by key: all ever known, or those whose record covers `at`; narrowed by CID or sector if given.

        Whether the sector is proven at `at` is `active_sectors`' answer.
        """
        query = select(_pieces).where(_pieces.c.provider == provider).order_by(_pieces.c.key)
        if at is not None:
            query = query.where(_pieces.c.from_epoch <= at, _pieces.c.to_epoch > at)
        if piece_cid is not None:
            query = query.where(_pieces.c.piece_cid == piece_cid)
        if sector is not None:
            query = query.where(_pieces.c.sector == sector)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(map(piece_of, rows))

    async def held_piece(self, provider: ActorId, key: str) -> HeldPiece | None:
        """The piece of that key, or None."""
        query = select(_pieces).where(_pieces.c.provider == provider, _pieces.c.key == key)
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else piece_of(row)

    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None:
        """Record a piece's payload size once its bytes have been read; kept when the piece is folded anew."""
        async with self._store.transaction() as connection:
            await connection.execute(
                update(_pieces)
                .where(_pieces.c.provider == provider, _pieces.c.key == key)
                .values(payload_size=payload_size)
            )

    async def own_blocks(
        self, provider: ActorId, from_epoch: Epoch, to_epoch: Epoch
    ) -> tuple[OwnBlock, ...]:
        """The blocks won at `from_epoch` up to, not including, `to_epoch`, in order. Above the finalised height they may vanish."""
        blocks = _own_blocks.c
        query = (
            select(_own_blocks)
            .where(blocks.provider == provider, blocks.epoch >= from_epoch, blocks.epoch < to_epoch)
            .order_by(blocks.epoch, blocks.cid)
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            OwnBlock(Epoch(row.epoch), row.tipset, row.cid, row.win_count, row.header)
            for row in rows
        )

    async def active_sectors(
        self, provider: ActorId, at: Epoch
    ) -> tuple[SectorOnChainInfo, ...] | None:
        """The sectors that counted at `at`, by number, as far as known; None before the first full read."""
        async with self._store.reading() as connection:
            return await sector_table.active_sectors(connection, provider, at)

    async def active_power(self, provider: ActorId, at: Epoch) -> int | None:
        """Σ QAP of `active_sectors`, or None."""
        async with self._store.reading() as connection:
            return await sector_table.active_power(connection, provider, at)

    async def sector_history(self, provider: ActorId, first: Epoch, last: Epoch) -> SectorHistory:
        """What answers `active_sectors` for every epoch from `first` to `last`."""
        async with self._store.reading() as connection:
            return await sector_table.history(connection, provider, first, last)

    async def sector_intervals(
        self, provider: ActorId, sector: SectorNumber
    ) -> tuple[SectorInterval, ...]:
        """When one sector counted for power, ascending."""
        async with self._store.reading() as connection:
            return await sector_table.intervals_of(connection, provider, sector)

    async def known_sectors(self, provider: ActorId) -> frozenset[SectorNumber]:
        """Every sector that an event or a full read has ever named."""
        async with self._store.reading() as connection:
            return await sector_table.known_sectors(connection, provider)

    async def gaps(self, provider: ActorId) -> tuple[Gap, ...]:
        """The epochs of which something is unknown, ascending."""
        async with self._store.reading() as connection:
            return await load_gaps(connection, provider)

    async def fill_gap(self, filled: FilledGap) -> bool:
        """Record what was read of a gap later, and take the gap away; False, and nothing changed, if it cannot be all.

        It cannot if events that are known already are not among it, or if it leaves a change of a claim unexplained
        that the state had shown.
        """
        async with self._store.transaction() as connection:
            return await fill_gap(connection, filled)

    async def save_snapshot(self, provider: ActorId, snapshot: SectorSnapshot) -> None:
        """Record a full read: it holds from its epoch to that of the next one known."""
        async with self._store.transaction() as connection:
            await sector_table.save_snapshot(connection, provider, snapshot)
            cursor = await _read_cursor(connection, provider)
            if cursor is not None and snapshot.at > cursor.tipset.height:  # the newest state
                touched = await renewed_ends(connection, snapshot, provider)
                await refold(connection, provider, touched, {})


async def _read_cursor(connection: AsyncConnection, provider: ActorId) -> Cursor | None:
    row = (
        await connection.execute(select(_cursors).where(_cursors.c.provider == provider))
    ).one_or_none()
    if row is None:
        return None
    read_at = None if row.claims_read_at is None else Epoch(row.claims_read_at)
    return Cursor(TipSetRef(Epoch(row.height), row.tipset), Epoch(row.finalized), read_at)


async def _write_cursor(connection: AsyncConnection, provider: ActorId, cursor: Cursor) -> None:
    values = {
        "height": cursor.tipset.height,
        "tipset": cursor.tipset.key,
        "finalized": cursor.finalized,
        "claims_read_at": cursor.claims_read_at,
    }
    changed = await connection.execute(
        update(_cursors).where(_cursors.c.provider == provider).values(**values)
    )
    if changed.rowcount == 0:
        await connection.execute(insert(_cursors).values(provider=provider, **values))
    await connection.execute(
        delete(_tipsets).where(
            _tipsets.c.provider == provider,
            _tipsets.c.height < cursor.tipset.height - _KEPT_EPOCHS,
        )
    )


async def _forget(
    connection: AsyncConnection, provider: ActorId, reverted: Sequence[TipSetRef]
) -> set[SectorNumber]:
    """Delete what the reverted tipsets brought; gives the sectors whose events went."""
    touched: set[SectorNumber] = set()
    for ref in reverted:
        for table in (_events, _own_blocks, _tipsets):
            same = _brought_by(table, provider, ref)
            if table is _events:
                touched |= await _sectors_beside(connection, provider, same)
            await connection.execute(delete(table).where(same))
    return touched


def _brought_by(table: Table, provider: ActorId, ref: TipSetRef) -> Any:
    """The rows of a table that one tipset brought."""
    epoch = table.c.epoch if table is _own_blocks else table.c.height
    return and_(table.c.provider == provider, epoch == ref.height, table.c.tipset == ref.key)


async def _sectors_beside(
    connection: AsyncConnection, provider: ActorId, events: Any
) -> set[SectorNumber]:
    """The sectors of `events` and of their messages: a deal event says what the pieces of its message are."""
    messages = select(_events.c.message).where(events)
    rows = await connection.execute(
        select(_events.c.sector)
        .where(_events.c.provider == provider, or_(events, _events.c.message.in_(messages)))
        .distinct()
    )
    return {SectorNumber(sector) for sector in rows.scalars() if sector is not None}


def _typed(batch: ChainBatch) -> tuple[TypedEvent | None, ...]:
    """The batch's events as values, in step with `events`."""
    if len(batch.typed) == len(batch.events):
        return batch.typed
    return tuple(parse_event(event, batch.provider) for event in batch.events)


def _by_row(batch: ChainBatch, typed: Sequence[TypedEvent | None]) -> Fresh:
    """What the batch's events are stored as, with their values: they need not be parsed again."""
    return {
        (str(event.message), encode_entries(event.emitter, event.entries)): value
        for event, value in zip(batch.events, typed, strict=True)
    }


async def _remember(
    connection: AsyncConnection, batch: ChainBatch, typed: Sequence[TypedEvent | None]
) -> set[SectorNumber]:
    """Write what the batch brings; gives the sectors of its events."""
    provider = batch.provider
    if batch.applied:
        await connection.execute(
            insert(_tipsets),
            [
                {"provider": provider, "height": ref.height, "tipset": ref.key}
                for ref in batch.applied
            ],
        )
    touched = await insert_events(connection, provider, batch.events, typed)
    await insert_blocks(connection, provider, batch.own_blocks)
    return touched | await write_ends(connection, provider, batch.expirations)
