"""Events and blocks won as rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.held import sector_of
from deals.ports import OwnBlock
from fil_plus.event_kinds import TypedEvent
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId, SectorNumber
from sp_plugin.store.chain_codec import encode_entries
from sp_plugin.store.chain_tables import events as _events
from sp_plugin.store.chain_tables import own_blocks as _own_blocks

__all__ = ["insert_blocks", "insert_events"]


async def insert_events(
    connection: AsyncConnection,
    provider: ActorId,
    events: Sequence[ActorEvent],
    typed: Sequence[TypedEvent | None],
) -> set[SectorNumber]:
    """Write events, parsed in step beside them; gives their sectors."""
    touched: set[SectorNumber] = set()
    rows = []
    for event, value in zip(events, typed, strict=True):
        sector = None if value is None else sector_of(value)
        if sector is not None:
            touched.add(sector)
        rows.append(
            {
                "provider": provider,
                "height": event.height,
                "tipset": event.tipset,
                "message": event.message,
                "sector": sector,
                "entries": encode_entries(event.emitter, event.entries),
            }
        )
    if rows:
        await connection.execute(insert(_events), rows)
    return touched


async def insert_blocks(
    connection: AsyncConnection, provider: ActorId, blocks: Sequence[OwnBlock]
) -> None:
    """Write blocks won."""
    if blocks:
        await connection.execute(
            insert(_own_blocks),
            [
                {
                    "provider": provider,
                    "cid": block.cid,
                    "epoch": block.epoch,
                    "tipset": block.tipset,
                    "win_count": block.win_count,
                    "header": block.header,
                }
                for block in blocks
            ],
        )
