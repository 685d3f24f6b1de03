"""Closed periods with everything they were split by, as rows inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fil_plus.periods import PeriodRecord, PeriodSum
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client.address import Address
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.earnings.closing import ClosedPeriod, PieceNet
from sp_plugin.earnings.registry_json import shares_from_json, shares_to_json
from sp_plugin.store.earnings_tables import (
    earnings_budgets,
    earnings_deficits,
    earnings_nets,
    earnings_periods,
    earnings_sums,
    earnings_wins,
)

__all__ = ["StoredPeriod", "load_periods", "put_budgets", "put_period"]


@dataclass(frozen=True, slots=True)
class StoredPeriod:
    """A closed period with everything it was split by, so that it can be split again."""

    closed: ClosedPeriod
    closed_at: Epoch
    produced: tuple[ProducedPiece, ...]
    used: tuple[UsedPiece, ...]
    settings: dict[str, Any]


async def put_period(connection: AsyncConnection, provider: ActorId, stored: StoredPeriod) -> None:
    """Add a closed period with its sums and nets, and exchange the deficits that it carried forward."""
    closed = stored.closed
    place = {"provider": provider, "period": closed.period, "revision": closed.revision}
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


async def put_budgets(
    connection: AsyncConnection, budgets: dict[tuple[Address, str], AttoFil]
) -> None:
    """Exchange what fixed budgets have paid, by (payee, job)."""
    await connection.execute(delete(earnings_budgets))
    for (payee, job), paid in budgets.items():
        await connection.execute(insert(earnings_budgets).values(payee=payee, job=job, paid=paid))


async def load_periods(connection: AsyncConnection, provider: ActorId) -> list[StoredPeriod]:
    """All closed periods and their supplements, in the order of their closing."""
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
