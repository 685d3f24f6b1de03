"""Earnings of providers: how far wins are read and periods closed, with each step's rows and ledger entries in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, select, update

from lotus_client.address import Address
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.ledger import Draft
from sp_plugin.store.base import Store
from sp_plugin.store.chain_tables import own_blocks
from sp_plugin.store.earnings_periods import StoredPeriod, load_periods, put_budgets, put_period
from sp_plugin.store.earnings_tables import (
    earnings_budgets,
    earnings_cursors,
    earnings_deficits,
    earnings_periods,
    earnings_wins,
)
from sp_plugin.store.earnings_wins import (
    StoredWin,
    known_wins,
    mark_wins,
    put_win,
    win_of,
    win_values,
)
from sp_plugin.store.ledger import append_in

__all__ = ["EarningsRepository"]


class EarningsRepository:
    """The earnings of providers. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def cursor(self, provider: ActorId, start: Epoch) -> tuple[Epoch, int]:
        """(epoch ingested to, next period to close); a new provider begins before `start`."""
        query = select(earnings_cursors).where(earnings_cursors.c.provider == provider)
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is not None:
            return Epoch(row["ingested_to"]), row["next_period"]
        values = {"ingested_to": start - 1, "next_period": start // 2880}
        async with self._store.transaction() as connection:
            await connection.execute(insert(earnings_cursors).values(provider=provider, **values))
        return Epoch(start - 1), start // 2880

    async def advance(self, provider: ActorId, ingested_to: Epoch) -> None:
        """All wins up to an epoch are recorded."""
        query = update(earnings_cursors).where(earnings_cursors.c.provider == provider)
        async with self._store.transaction() as connection:
            await connection.execute(query.values(ingested_to=ingested_to))

    async def save_win(self, win: WinRecord, drafts: Sequence[Draft]) -> None:
        """Keep a win with its ledger entries; reading it again adds what was missing and counts the attempt."""
        async with self._store.transaction() as connection:
            await put_win(connection, win)
            await append_in(connection, drafts)

    async def save_wins(
        self,
        provider: ActorId,
        wins: Sequence[WinRecord],
        drafts: Sequence[Draft],
        ingested_to: Epoch,
    ) -> None:
        """Keep several wins with their ledger entries and advance to `ingested_to`, together."""
        query = update(earnings_cursors).where(earnings_cursors.c.provider == provider)
        async with self._store.transaction() as connection:
            known = await known_wins(connection, wins)
            new = [win_values(win) | {"attempts": 1} for win in wins if win.block not in known]
            if new:
                await connection.execute(insert(earnings_wins), new)
            for win in wins:
                if win.block in known:
                    await put_win(connection, win)
            await append_in(connection, drafts)
            await connection.execute(query.values(ingested_to=ingested_to))

    async def wins(
        self, provider: ActorId, first: Epoch, last: Epoch, *, open_only: bool = False
    ) -> list[StoredWin]:
        """The wins with first <= epoch <= last in chain order; `open_only` leaves out those of closed periods."""
        query = select(earnings_wins).where(
            earnings_wins.c.provider == provider,
            earnings_wins.c.epoch >= first,
            earnings_wins.c.epoch <= last,
        )
        if open_only:
            query = query.where(earnings_wins.c.period.is_(None))
        query = query.order_by(earnings_wins.c.epoch, earnings_wins.c.block)
        async with self._store.reading() as connection:
            return [win_of(row) for row in (await connection.execute(query)).mappings()]

    async def unread(self, provider: ActorId) -> list[StoredWin]:
        """Wins whose raw inputs are not complete, in chain order."""
        query = select(earnings_wins).where(
            earnings_wins.c.provider == provider, earnings_wins.c.problem != ""
        )
        query = query.order_by(earnings_wins.c.epoch)
        async with self._store.reading() as connection:
            return [win_of(row) for row in (await connection.execute(query)).mappings()]

    async def unrecorded(self, provider: ActorId, up_to: Epoch) -> tuple[Epoch, Epoch] | None:
        """The first and the last epoch of blocks that are known and of which no win is kept; None if there are none.

        Up to the epoch that has been ingested only a gap that was filled leaves such.
        """
        blocks = own_blocks.c
        recorded = select(earnings_wins.c.block).where(earnings_wins.c.provider == provider)
        query = select(func.min(blocks.epoch), func.max(blocks.epoch)).where(
            blocks.provider == provider, blocks.epoch <= up_to, blocks.cid.not_in(recorded)
        )
        async with self._store.reading() as connection:
            first, last = (await connection.execute(query)).one()
        return None if first is None else (Epoch(first), Epoch(last))

    async def budgets(self) -> dict[tuple[Address, str], AttoFil]:
        """What fixed budgets have paid, by (payee, job)."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(select(earnings_budgets))).mappings()
            return {(row["payee"], row["job"]): row["paid"] for row in rows}

    async def deficits(self) -> dict[tuple[Address, str], AttoFil]:
        """The deficits carried forward, by (payee, piece); at most 0."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(select(earnings_deficits))).mappings()
            return {(row["payee"], row["piece"]): row["deficit"] for row in rows}

    async def revisions(self, provider: ActorId, period: int) -> int:
        """How often a period was closed: 0 while it is open."""
        query = select(earnings_periods.c.revision).where(
            earnings_periods.c.provider == provider, earnings_periods.c.period == period
        )
        async with self._store.reading() as connection:
            return len((await connection.execute(query)).all())

    async def save_period(
        self,
        provider: ActorId,
        stored: StoredPeriod,
        budgets: dict[tuple[Address, str], AttoFil],
        drafts: Sequence[Draft],
    ) -> None:
        """Close a period: its rows, budgets, deficits and ledger entries in one transaction."""
        closed = stored.closed
        async with self._store.transaction() as connection:
            await put_period(connection, provider, stored)
            await mark_wins(connection, closed)
            await put_budgets(connection, budgets)
            if closed.revision == 0:
                await connection.execute(
                    update(earnings_cursors)
                    .where(earnings_cursors.c.provider == provider)
                    .values(next_period=closed.period + 1)
                )
            await append_in(connection, drafts)

    async def periods(self, provider: ActorId) -> list[StoredPeriod]:
        """All closed periods and their supplements, in the order of their closing."""
        async with self._store.reading() as connection:
            return await load_periods(connection, provider)
