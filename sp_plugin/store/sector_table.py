"""The sector table in the database: intervals between full reads, and undoing reads made on a lost fork."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.ports import ChainBatch, SectorSnapshot
from deals.sectors import SectorHistory, SectorInterval, apply_snapshot
from fil_plus.power import sector_qap
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import ActorId, Epoch, SectorNumber
from sp_plugin.store.chain_codec import decode_sector, encode_sector
from sp_plugin.store.chain_tables import events as _events
from sp_plugin.store.chain_tables import intervals as _intervals
from sp_plugin.store.chain_tables import snapshots as _snapshots

__all__ = [
    "active_power",
    "active_sectors",
    "drop_stale_snapshots",
    "history",
    "intervals_of",
    "known_sectors",
    "lowest_stale",
    "save_snapshot",
]


async def active_sectors(
    connection: AsyncConnection, provider: ActorId, at: Epoch
) -> tuple[SectorOnChainInfo, ...] | None:
    """The sectors that counted at `at`, by number; None before the first full read."""
    if not await _known_at(connection, provider, at):
        return None
    query = select(_intervals.c.info).where(_covering(provider, at)).order_by(_intervals.c.sector)
    return tuple(map(decode_sector, (await connection.execute(query)).scalars()))


async def history(
    connection: AsyncConnection, provider: ActorId, first: Epoch, last: Epoch
) -> SectorHistory:
    """The intervals that touch `first` to `last`, and since when anything is known."""
    columns = _intervals.c
    query = select(_intervals).where(
        columns.provider == provider,
        columns.from_epoch <= last,
        or_(columns.to_epoch.is_(None), columns.to_epoch > first),
    )
    known_from = await _known_from(connection, provider)
    return SectorHistory(map(_interval_of, await connection.execute(query)), known_from)


async def active_power(connection: AsyncConnection, provider: ActorId, at: Epoch) -> int | None:
    """Σ QAP of the sectors that counted at `at`; None before the first full read."""
    if not await _known_at(connection, provider, at):
        return None
    # grouped, and summed here: the sum of a large miner may not fit the database's integers
    query = (
        select(_intervals.c.qap, func.count())
        .where(_covering(provider, at))
        .group_by(_intervals.c.qap)
    )
    return sum(int(qap) * int(count) for qap, count in await connection.execute(query))


async def intervals_of(
    connection: AsyncConnection, provider: ActorId, sector: SectorNumber
) -> tuple[SectorInterval, ...]:
    """When one sector counted for power, ascending."""
    query = (
        select(_intervals)
        .where(_intervals.c.provider == provider, _intervals.c.sector == sector)
        .order_by(_intervals.c.from_epoch)
    )
    return tuple(map(_interval_of, await connection.execute(query)))


async def known_sectors(connection: AsyncConnection, provider: ActorId) -> frozenset[SectorNumber]:
    """Every sector that an event or a full read has ever named."""
    named = select(_events.c.sector).where(
        _events.c.provider == provider, _events.c.sector.is_not(None)
    )
    read = select(_intervals.c.sector).where(_intervals.c.provider == provider)
    rows = await connection.execute(named.union(read))
    return frozenset(SectorNumber(number) for number in rows.scalars())


async def save_snapshot(
    connection: AsyncConnection, provider: ActorId, snapshot: SectorSnapshot
) -> None:
    """Record a full read: it holds from its epoch to that of the next one known."""
    following = await connection.scalar(
        select(func.min(_snapshots.c.height)).where(
            _snapshots.c.provider == provider, _snapshots.c.height > snapshot.at
        )
    )
    until = None if following is None else Epoch(following)
    old = await _intervals_around(connection, provider, snapshot.at, until)
    new = apply_snapshot(old, snapshot.sectors, snapshot.at, until)
    await _exchange(connection, provider, set(old), set(new), snapshot.sector_size)
    same = and_(_snapshots.c.provider == provider, _snapshots.c.height == snapshot.at)
    await connection.execute(delete(_snapshots).where(same))
    await connection.execute(
        insert(_snapshots).values(provider=provider, height=snapshot.at, tipset=snapshot.tipset)
    )


async def lowest_stale(connection: AsyncConnection, batch: ChainBatch) -> Epoch | None:
    """The lowest height of a full read made at a tipset that `batch` shows not to be on the chain; None without one."""
    if batch.before is None:
        return None
    there = {(ref.height, ref.key) for ref in (*batch.applied, batch.read_at)}
    changed_from = min(
        [ref.height for ref in batch.reverted], default=batch.before.tipset.height + 1
    )
    rows = await connection.execute(
        select(_snapshots.c.height, _snapshots.c.tipset).where(
            _snapshots.c.provider == batch.provider, _snapshots.c.height >= changed_from
        )
    )
    return min([height for height, key in rows if (height, key) not in there], default=None)


async def drop_stale_snapshots(connection: AsyncConnection, batch: ChainBatch) -> None:
    """Undo full reads made at tipsets that `batch` shows not to be on the chain, and all above the lowest of them."""
    stale = await lowest_stale(connection, batch)
    if stale is None:
        return
    mine = _snapshots.c.provider == batch.provider
    intervals = _intervals.c.provider == batch.provider
    await connection.execute(delete(_intervals).where(intervals, _intervals.c.from_epoch >= stale))
    await connection.execute(
        update(_intervals).where(intervals, _intervals.c.to_epoch >= stale).values(to_epoch=None)
    )
    await connection.execute(delete(_snapshots).where(mine, _snapshots.c.height >= stale))


async def _known_at(connection: AsyncConnection, provider: ActorId, at: Epoch) -> bool:
    first = await _known_from(connection, provider)
    return first is not None and first <= at


async def _known_from(connection: AsyncConnection, provider: ActorId) -> Epoch | None:
    """The epoch of the first full read."""
    first = await connection.scalar(
        select(func.min(_snapshots.c.height)).where(_snapshots.c.provider == provider)
    )
    return None if first is None else Epoch(first)


def _covering(provider: ActorId, at: Epoch) -> Any:
    columns = _intervals.c
    return and_(
        columns.provider == provider,
        columns.from_epoch <= at,
        or_(columns.to_epoch.is_(None), columns.to_epoch > at),
    )


async def _intervals_around(
    connection: AsyncConnection, provider: ActorId, at: Epoch, until: Epoch | None
) -> list[SectorInterval]:
    """The intervals that overlap or touch [at, until)."""
    columns = _intervals.c
    query = select(_intervals).where(
        columns.provider == provider, or_(columns.to_epoch.is_(None), columns.to_epoch >= at)
    )
    if until is not None:
        query = query.where(columns.from_epoch <= until)
    return [_interval_of(row) for row in await connection.execute(query)]


async def _exchange(
    connection: AsyncConnection,
    provider: ActorId,
    before: set[SectorInterval],
    after: set[SectorInterval],
    sector_size: int,
) -> None:
    """Replace rows, touching only what differs."""
    for interval in before - after:
        await connection.execute(
            delete(_intervals).where(
                _intervals.c.provider == provider,
                _intervals.c.sector == interval.info.number,
                _intervals.c.from_epoch == interval.from_epoch,
            )
        )
    rows = [
        {
            "provider": provider,
            "sector": interval.info.number,
            "from_epoch": interval.from_epoch,
            "to_epoch": interval.to_epoch,
            "qap": sector_qap(interval.info, sector_size),
            "info": encode_sector(interval.info),
        }
        for interval in after - before
    ]
    if rows:
        await connection.execute(insert(_intervals), rows)


def _interval_of(row: Any) -> SectorInterval:
    end = None if row.to_epoch is None else Epoch(row.to_epoch)
    return SectorInterval(decode_sector(row.info), Epoch(row.from_epoch), end)
