"""Gaps in the database: cut where the chain was reorganised, joined where they meet."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.gaps import Gap, GapKind, joined
from deals.ports import ChainBatch
from lotus_client.types import ActorId, Epoch
from sp_plugin.store.chain_tables import gaps as _gaps

__all__ = ["load_gaps", "save_gaps", "write_gaps"]


async def load_gaps(connection: AsyncConnection, provider: ActorId) -> tuple[Gap, ...]:
    """All gaps of a provider, ascending."""
    rows = await connection.execute(select(_gaps).where(_gaps.c.provider == provider))
    return tuple(
        sorted(
            Gap(Epoch(row.from_epoch), Epoch(row.to_epoch), GapKind(row.kind), row.reason)
            for row in rows
        )
    )


async def save_gaps(connection: AsyncConnection, batch: ChainBatch) -> None:
    """Cut what the batch reverts off the gaps, and add its own."""
    before = await load_gaps(connection, batch.provider)
    after = joined((*_below(before, batch), *batch.gaps))
    if before != after:
        await write_gaps(connection, batch.provider, after)


async def write_gaps(connection: AsyncConnection, provider: ActorId, gaps: tuple[Gap, ...]) -> None:
    """Let exactly `gaps` be a provider's."""
    await connection.execute(delete(_gaps).where(_gaps.c.provider == provider))
    if gaps:
        await connection.execute(
            insert(_gaps),
            [
                {
                    "provider": provider,
                    "kind": gap.kind.value,
                    "from_epoch": gap.from_epoch,
                    "to_epoch": gap.to_epoch,
                    "reason": gap.reason,
                }
                for gap in gaps
            ],
        )


def _below(gaps: tuple[Gap, ...], batch: ChainBatch) -> list[Gap]:
    """The gaps up to the lowest reverted tipset."""
    if not batch.reverted:
        return list(gaps)
    end = min(ref.height for ref in batch.reverted)
    return [
        Gap(gap.from_epoch, min(gap.to_epoch, end), gap.kind, gap.reason)
        for gap in gaps
        if gap.from_epoch < end
    ]
