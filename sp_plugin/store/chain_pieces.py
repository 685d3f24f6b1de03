"""Held pieces in the database: folded anew from all events of their sectors, with the ends of sectors that no event tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Text, and_, delete, insert, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.held import fold_pieces
from deals.ports import SectorSnapshot
from fil_plus.event_kinds import TypedEvent
from fil_plus.events import parse_event
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId, Epoch, PaddedPieceSize, SectorNumber
from sp_plugin.store.chain_codec import decode_entries, parse_tipset_key
from sp_plugin.store.chain_tables import (
    events as _events,
)
from sp_plugin.store.chain_tables import (
    held_pieces as _pieces,
)
from sp_plugin.store.chain_tables import (
    sector_ends as _sector_ends,
)

__all__ = ["Fresh", "load_events", "piece_of", "refold", "renewed_ends", "write_ends"]

Fresh: TypeAlias = Mapping[tuple[str, bytes], TypedEvent | None]
_CHUNK: Final = 500  # values in one IN (…): SQLite's limit on parameters is far above


async def refold(
    connection: AsyncConnection, provider: ActorId, sectors: set[SectorNumber], fresh: Fresh
) -> None:
    """Write the pieces of `sectors` anew from their events, of which `fresh` are known as values."""
    ordered = sorted(sectors)
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        events = await load_events(connection, provider, chunk, fresh)
        expirations = await _ends_of(connection, provider, chunk)
        same = and_(_pieces.c.provider == provider, _pieces.c.sector.in_(chunk))
        sizes = await connection.execute(
            select(_pieces.c.key, _pieces.c.payload_size).where(
                same, _pieces.c.payload_size.is_not(None)
            )
        )
        payload_sizes = {row.key: row.payload_size for row in sizes}
        await connection.execute(delete(_pieces).where(same))
        rows = [
            _piece_row(piece, payload_sizes.get(piece.key))
            for piece in fold_pieces(provider, events, expirations).values()
            if piece.sector in chunk  # others of the same messages are only there for their deals
        ]
        if rows:
            await connection.execute(insert(_pieces), rows)


async def load_events(
    connection: AsyncConnection,
    provider: ActorId,
    sectors: list[SectorNumber],
    fresh: Fresh,
) -> list[TypedEvent]:
    """All events of `sectors` (of all, if empty) and of the messages they came in, in chain order."""
    columns = _events.c
    query = select(
        columns.height,
        type_coerce(columns.tipset, Text).label("tipset"),  # parsed only where it is needed
        type_coerce(columns.message, Text).label("message"),
        columns.entries,
    ).where(columns.provider == provider)
    if sectors:
        messages = select(_events.c.message).where(
            _events.c.provider == provider, _events.c.sector.in_(sectors)
        )
        query = query.where(or_(_events.c.sector.in_(sectors), _events.c.message.in_(messages)))
    rows = await connection.execute(query.order_by(_events.c.height, _events.c.id))
    events = []
    tipsets: dict[str, TipSetKey] = {}
    for row in rows:
        typed = fresh.get((row.message, row.entries))
        if typed is None or typed.at.epoch != row.height:
            if row.tipset not in tipsets:
                tipsets[row.tipset] = parse_tipset_key(row.tipset)
            emitter, entries = decode_entries(row.entries)
            key, message = tipsets[row.tipset], Cid.parse(row.message)
            event = ActorEvent(emitter, entries, False, Epoch(row.height), key, message)
            typed = parse_event(event, provider)
        if typed is not None:
            events.append(typed)
    return events


async def write_ends(
    connection: AsyncConnection, provider: ActorId, ends: Mapping[SectorNumber, Epoch]
) -> set[SectorNumber]:
    """Record the ends of sectors; gives those whose end is new."""
    before = await _ends_of(connection, provider, sorted(ends))
    changed = {sector: end for sector, end in ends.items() if before.get(sector) != end}
    ordered = sorted(changed)
    for start in range(0, len(ordered), _CHUNK):
        same = _sector_ends.c.sector.in_(ordered[start : start + _CHUNK])
        await connection.execute(
            delete(_sector_ends).where(_sector_ends.c.provider == provider, same)
        )
    if ordered:
        await connection.execute(
            insert(_sector_ends),
            [
                {"provider": provider, "sector": sector, "expiration": changed[sector]}
                for sector in ordered
            ],
        )
    return set(ordered)


async def renewed_ends(
    connection: AsyncConnection, snapshot: SectorSnapshot, provider: ActorId
) -> set[SectorNumber]:
    """Take over from a full read the ends of sectors with data: an extension emits nothing."""
    ends = {info.number: info.expiration for info in snapshot.sectors}
    known = await _ends_of(connection, provider, sorted(ends))
    return await write_ends(connection, provider, {sector: ends[sector] for sector in known})


async def _ends_of(
    connection: AsyncConnection, provider: ActorId, sectors: Sequence[SectorNumber]
) -> dict[SectorNumber, Epoch]:
    """The ends recorded of some sectors."""
    ends: dict[SectorNumber, Epoch] = {}
    for start in range(0, len(sectors), _CHUNK):
        rows = await connection.execute(
            select(_sector_ends.c.sector, _sector_ends.c.expiration).where(
                _sector_ends.c.provider == provider,
                _sector_ends.c.sector.in_(sectors[start : start + _CHUNK]),
            )
        )
        ends |= {SectorNumber(sector): Epoch(end) for sector, end in rows}
    return ends


def piece_of(row: Any) -> HeldPiece:
    return HeldPiece(
        provider=ActorId(row.provider),
        piece_cid=row.piece_cid,
        padded_size=PaddedPieceSize(row.padded_size),
        payload_size=row.payload_size,
        sector=SectorNumber(row.sector),
        offset=row.offset,
        provenance=Provenance(ProvenanceKind(row.kind), row.record),
        client=None if row.client is None else ActorId(row.client),
        from_epoch=Epoch(row.from_epoch),
        to_epoch=Epoch(row.to_epoch),
    )


def _piece_row(piece: HeldPiece, payload_size: int | None) -> dict[str, Any]:
    return {
        "provider": piece.provider,
        "key": piece.key,
        "piece_cid": piece.piece_cid,
        "padded_size": piece.padded_size,
        "payload_size": payload_size,
        "sector": piece.sector,
        "offset": piece.offset,
        "kind": piece.provenance.kind.value,
        "record": piece.provenance.id,
        "client": piece.client,
        "from_epoch": piece.from_epoch,
        "to_epoch": piece.to_epoch,
    }
