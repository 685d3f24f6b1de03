"""Wins as they were read, as rows inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch, NetworkVersion
from sp_plugin.earnings.closing import ClosedPeriod
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.store.earnings_tables import earnings_wins

__all__ = ["StoredWin", "known_wins", "mark_wins", "put_win", "win_of", "win_values"]


@dataclass(frozen=True, slots=True)
class StoredWin:
    """A win, how often the node was asked for it, and the (period, revision) it was closed in."""

    win: WinRecord
    attempts: int
    closed_in: tuple[int, int] | None


async def known_wins(connection: AsyncConnection, wins: Sequence[WinRecord]) -> set[Cid]:
    """Those of the wins' blocks that have rows."""
    blocks = [win.block for win in wins]
    query = select(earnings_wins.c.block).where(earnings_wins.c.block.in_(blocks))
    return set((await connection.execute(query)).scalars())


async def put_win(connection: AsyncConnection, win: WinRecord) -> None:
    """Keep a win; where it has a row, that one is overwritten and counts the attempt."""
    values = win_values(win)
    query = select(earnings_wins.c.attempts).where(earnings_wins.c.block == win.block)
    attempts = (await connection.execute(query)).scalar()
    if attempts is None:
        await connection.execute(insert(earnings_wins).values(attempts=1, **values))
        return
    here = update(earnings_wins).where(earnings_wins.c.block == win.block)
    await connection.execute(here.values(attempts=attempts + 1, **values))


async def mark_wins(connection: AsyncConnection, closed: ClosedPeriod) -> None:
    """Note of the wins of a period that it is closed."""
    if not closed.wins:
        return
    query = (
        update(earnings_wins)
        .where(earnings_wins.c.block == bindparam("win"))
        .values(period=closed.period, revision=closed.revision)
    )
    await connection.execute(query, [{"win": Cid.parse(win)} for win in closed.wins])


def win_values(win: WinRecord) -> dict[str, Any]:
    """A win as columns."""
    return {
        "block": win.block,
        "epoch": win.epoch,
        "provider": win.provider,
        "tipset": win.tipset,
        "finalized": win.finalized,
        "header": win.header,
        "win_count": win.win_count,
        "lookback": win.lookback,
        "lookback_height": win.lookback_height,
        "network_version": win.network_version,
        "miner_qap": None if win.miner_qap is None else str(win.miner_qap),
        "network_qap": None if win.network_qap is None else str(win.network_qap),
        "epoch_reward": win.epoch_reward,
        "award_trace": win.award_trace,
        "problem": win.problem,
    }


def win_of(row: RowMapping) -> StoredWin:
    """The win that a row is."""

    def optional(name: str, read: Any) -> Any:
        return None if row[name] is None else read(row[name])

    record = WinRecord(
        block=row["block"],
        epoch=Epoch(row["epoch"]),
        provider=ActorId(row["provider"]),
        tipset=row["tipset"],
        finalized=row["finalized"],
        header=row["header"],
        win_count=row["win_count"],
        lookback=row["lookback"],
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
