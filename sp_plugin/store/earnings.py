"""Wins as they were read, closed periods, and how far both have come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from fil_plus.attribution import ProducedPiece, UsedPiece
from fil_plus.periods import PeriodRecord, PeriodSum
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.types import ActorId, AttoFil, Epoch, NetworkVersion
from sp_plugin.earnings.closing import ClosedPeriod, PieceNet
from sp_plugin.earnings.registry_json import shares_from_json, shares_to_json
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.ledger import Draft
from sp_plugin.store.base import AddressType, AttoFilType, CidType, Store, metadata
from sp_plugin.store.chain_tables import own_blocks
from sp_plugin.store.ledger import append_in

__all__ = ["EarningsRepository", "StoredPeriod", "StoredWin"]

earnings_wins = Table(
    "earnings_wins",
    metadata,
    Column("block", CidType, primary_key=True),
    Column("epoch", Integer, nullable=False, index=True),
    Column("provider", Integer, nullable=False),
    Column("tipset", Text, nullable=False),
    Column("finalized", Text, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("win_count", Integer, nullable=False),
    Column("lookback", Text),
    Column("lookback_height", Integer),
    Column("network_version", Integer),
    Column("miner_qap", String(40)),
    Column("network_qap", String(40)),
    Column("epoch_reward", AttoFilType),
    Column("award_trace", Text),
    Column("problem", Text, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=1),
    Column("period", Integer),  # the closed period and revision that it is part of
    Column("revision", Integer),
)
earnings_cursors = Table(
    "earnings_cursors",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("ingested_to", Integer, nullable=False),
    Column("next_period", Integer, nullable=False),
)
earnings_periods = Table(
    "earnings_periods",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("leaves", Integer, nullable=False),
    Column("shareable", AttoFilType, nullable=False),
    Column("to_provider", AttoFilType, nullable=False),
    Column("unknown", Text, nullable=False),  # JSON list of the wins left out, with reasons
    Column(
        "shares", Text, nullable=False
    ),  # JSON of the produced and used pieces that were split by
    Column("settings", Text, nullable=False),  # JSON of the operator's settings that were split by
    Column("closed_at", Integer, nullable=False),
    Column(
        "closing", Integer, nullable=False
    ),  # 0, 1, 2 …: deficits pass from one closing to the next
)
earnings_sums = Table(
    "earnings_sums",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("payee", AddressType, primary_key=True),
    Column("job", String(200), primary_key=True),
    Column("produced", AttoFilType, nullable=False),
    Column("used", AttoFilType, nullable=False),
)
earnings_nets = Table(
    "earnings_nets",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("payee", AddressType, primary_key=True),
    Column("piece", String(200), primary_key=True),
    Column("gross", AttoFilType, nullable=False),
    Column("fee_cost", AttoFilType, nullable=False),
    Column("capital_cost", AttoFilType, nullable=False),
    Column("carried", AttoFilType, nullable=False),
    Column("net", AttoFilType, nullable=False),
    Column("deficit", AttoFilType, nullable=False),
)
earnings_deficits = Table(
    "earnings_deficits",
    metadata,
    Column("payee", AddressType, primary_key=True),
    Column("piece", String(200), primary_key=True),
    Column("deficit", AttoFilType, nullable=False),
)
earnings_budgets = Table(
    "earnings_budgets",
    metadata,
    Column("payee", AddressType, primary_key=True),
    Column("job", String(200), primary_key=True),
    Column("paid", AttoFilType, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredWin:
    """A win, how often the node was asked for it, and the (period, revision) it was closed in."""

    win: WinRecord
    attempts: int
    closed_in: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class StoredPeriod:
    """A closed period with everything it was split by, so that it can be split again."""

    closed: ClosedPeriod
    closed_at: Epoch
    produced: tuple[ProducedPiece, ...]
    used: tuple[UsedPiece, ...]
    settings: dict[str, Any]


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
            await _put_win(connection, win)
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
            known = await _known(connection, wins)
            new = [_win_values(win) | {"attempts": 1} for win in wins if win.block not in known]
            if new:
                await connection.execute(insert(earnings_wins), new)
            for win in wins:
                if win.block in known:
                    await _put_win(connection, win)
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
            return [_win(row) for row in (await connection.execute(query)).mappings()]

    async def unread(self, provider: ActorId) -> list[StoredWin]:
        """Wins whose raw inputs are not complete, in chain order."""
        query = select(earnings_wins).where(
            earnings_wins.c.provider == provider, earnings_wins.c.problem != ""
        )
        query = query.order_by(earnings_wins.c.epoch)
        async with self._store.reading() as connection:
            return [_win(row) for row in (await connection.execute(query)).mappings()]

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
        place = {"provider": provider, "period": closed.period, "revision": closed.revision}
        async with self._store.transaction() as connection:
            query = select(func.count()).where(earnings_periods.c.provider == provider)
            closing = (await connection.execute(query)).scalar_one()
            await connection.execute(
                insert(earnings_periods).values(closing=closing, **_period_values(place, stored))
            )
            for total in closed.record.sums:
                await connection.execute(
                    insert(earnings_sums).values(
                        **place,
                        payee=total.payee,
                        job=total.job,
                        produced=total.produced,
                        used=total.used,
                    )
                )
            for line in closed.nets:
                await _save_net(connection, place, line)
            await _mark_wins(connection, closed)
            await connection.execute(delete(earnings_budgets))
            for (payee, job), paid in budgets.items():
                await connection.execute(
                    insert(earnings_budgets).values(payee=payee, job=job, paid=paid)
                )
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
            return await _periods(connection, provider)


async def _known(connection: AsyncConnection, wins: Sequence[WinRecord]) -> set[Cid]:
    blocks = [win.block for win in wins]
    query = select(earnings_wins.c.block).where(earnings_wins.c.block.in_(blocks))
    return set((await connection.execute(query)).scalars())


async def _put_win(connection: AsyncConnection, win: WinRecord) -> None:
    values = _win_values(win)
    query = select(earnings_wins.c.attempts).where(earnings_wins.c.block == win.block)
    attempts = (await connection.execute(query)).scalar()
    if attempts is None:
        await connection.execute(insert(earnings_wins).values(attempts=1, **values))
        return
    here = update(earnings_wins).where(earnings_wins.c.block == win.block)
    await connection.execute(here.values(attempts=attempts + 1, **values))


async def _save_net(connection: AsyncConnection, place: dict[str, int], line: PieceNet) -> None:
    values = {
        "gross": line.gross,
        "fee_cost": line.fee_cost,
        "capital_cost": line.capital_cost,
        "carried": line.carried,
        "net": line.net,
        "deficit": line.deficit,
    }
    await connection.execute(
        insert(earnings_nets).values(**place, payee=line.payee, piece=line.piece, **values)
    )
    here = (earnings_deficits.c.payee == line.payee) & (earnings_deficits.c.piece == line.piece)
    await connection.execute(delete(earnings_deficits).where(here))
    if line.deficit:
        await connection.execute(
            insert(earnings_deficits).values(
                payee=line.payee, piece=line.piece, deficit=line.deficit
            )
        )


async def _mark_wins(connection: AsyncConnection, closed: ClosedPeriod) -> None:
    if not closed.wins:
        return
    query = (
        update(earnings_wins)
        .where(earnings_wins.c.block == bindparam("win"))
        .values(period=closed.period, revision=closed.revision)
    )
    await connection.execute(query, [{"win": Cid.parse(win)} for win in closed.wins])


async def _periods(connection: AsyncConnection, provider: ActorId) -> list[StoredPeriod]:
    query = select(earnings_periods).where(earnings_periods.c.provider == provider)
    query = query.order_by(earnings_periods.c.closing)
    stored = []
    for row in (await connection.execute(query)).mappings().all():
        sums = await _children(connection, earnings_sums, row)
        nets = await _children(connection, earnings_nets, row)
        wins = await connection.execute(
            select(earnings_wins.c.block)
            .where(
                earnings_wins.c.provider == provider,
                earnings_wins.c.period == row["period"],
                earnings_wins.c.revision == row["revision"],
            )
            .order_by(earnings_wins.c.epoch, earnings_wins.c.block)
        )
        produced, used = shares_from_json(json.loads(row["shares"]))
        stored.append(
            StoredPeriod(
                closed=_closed(row, sums, nets, tuple(str(block) for block in wins.scalars())),
                closed_at=Epoch(row["closed_at"]),
                produced=produced,
                used=used,
                settings=json.loads(row["settings"]),
            )
        )
    return stored


async def _children(
    connection: AsyncConnection, table: Table, period: RowMapping
) -> Sequence[RowMapping]:
    query = select(table).where(
        table.c.provider == period["provider"],
        table.c.period == period["period"],
        table.c.revision == period["revision"],
    )
    return (await connection.execute(query.order_by(table.c.payee))).mappings().all()


def _closed(
    row: RowMapping, sums: Sequence[RowMapping], nets: Sequence[RowMapping], wins: tuple[str, ...]
) -> ClosedPeriod:
    record = PeriodRecord(
        period=row["period"],
        sums=tuple(PeriodSum(s["payee"], s["job"], s["produced"], s["used"]) for s in sums),
        shareable=row["shareable"],
        provider=row["to_provider"],
        root=row["root"],
        leaves=row["leaves"],
    )
    names = PieceNet.__dataclass_fields__
    lines = tuple(PieceNet(**{name: net[name] for name in names}) for net in nets)
    return ClosedPeriod(record, row["revision"], lines, wins, tuple(json.loads(row["unknown"])))


def _period_values(place: dict[str, int], stored: StoredPeriod) -> dict[str, Any]:
    record = stored.closed.record
    return {
        **place,
        "root": record.root,
        "leaves": record.leaves,
        "shareable": record.shareable,
        "to_provider": record.provider,
        "unknown": json.dumps(stored.closed.unknown),
        "shares": json.dumps(shares_to_json(stored.produced, stored.used)),
        "settings": json.dumps(stored.settings),
        "closed_at": stored.closed_at,
    }


def _win_values(win: WinRecord) -> dict[str, Any]:
    return {
        "block": win.block,
        "epoch": win.epoch,
        "provider": win.provider,
        "tipset": _text(win.tipset),
        "finalized": _text(win.finalized),
        "header": win.header,
        "win_count": win.win_count,
        "lookback": None if win.lookback is None else _text(win.lookback),
        "lookback_height": win.lookback_height,
        "network_version": win.network_version,
        "miner_qap": None if win.miner_qap is None else str(win.miner_qap),
        "network_qap": None if win.network_qap is None else str(win.network_qap),
        "epoch_reward": win.epoch_reward,
        "award_trace": win.award_trace,
        "problem": win.problem,
    }


def _win(row: RowMapping) -> StoredWin:
    def optional(name: str, read: Any) -> Any:
        return None if row[name] is None else read(row[name])

    record = WinRecord(
        block=row["block"],
        epoch=Epoch(row["epoch"]),
        provider=ActorId(row["provider"]),
        tipset=_key(row["tipset"]),
        finalized=_key(row["finalized"]),
        header=row["header"],
        win_count=row["win_count"],
        lookback=optional("lookback", _key),
        lookback_height=optional("lookback_height", Epoch),
        network_version=optional("network_version", NetworkVersion),
        miner_qap=optional("miner_qap", int),
        network_qap=optional("network_qap", int),
        epoch_reward=row["epoch_reward"],
        award_trace=row["award_trace"],
        problem=row["problem"],
    )
    closed = None if row["period"] is None else (row["period"], row["revision"])
    return StoredWin(record, row["attempts"], closed)


def _text(key: TipSetKey) -> str:
    return ",".join(map(str, key))


def _key(text: str) -> TipSetKey:
    return TipSetKey(tuple(Cid.parse(part) for part in text.split(",")))
