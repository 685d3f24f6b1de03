"""Rows of payouts inside the caller's transaction: read, and moved from state to state by the table of states only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.types import Epoch
from sp_plugin.payouts.states import IllegalTransition, Payout, PayoutState, check_transition
from sp_plugin.store.payout_tables import payouts

__all__ = ["find_payout", "move_payout", "payout_of", "put_open"]


async def find_payout(connection: AsyncConnection, payout_id: str) -> Payout | None:
    """One payout."""
    query = select(payouts).where(payouts.c.id == payout_id)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else payout_of(row)


async def move_payout(
    connection: AsyncConnection, payout_id: str, state: PayoutState, **values: Any
) -> None:
    """Bring a payout to `state`, with other values of its row.

    Raises:
        IllegalTransition: there is no such payout, it cannot get there, or another process has just moved it.
    """
    payout = await find_payout(connection, payout_id)
    if payout is None:
        raise IllegalTransition(f"there is no payout {payout_id}")
    check_transition(payout.state, state)
    query = update(payouts).where(payouts.c.id == payout_id, payouts.c.state == payout.state.value)
    result = await connection.execute(query.values(state=state.value, **values))
    if result.rowcount != 1:  # another process moved it since it was read
        raise IllegalTransition(f"payout {payout_id} was changed by another process")


async def put_open(connection: AsyncConnection, payout: Payout) -> None:
    """Keep a planned or held payout, new or as it is now.

    Raises:
        IllegalTransition: it is under way, or another process has just moved it.
    """
    values = {
        "amount": payout.amount,
        "batch": payout.batch,
        "reason": payout.reason,
        "state": payout.state.value,
    }
    there = await find_payout(connection, payout.id)
    if there is None:
        await connection.execute(insert(payouts).values(id=payout.id, payee=payout.payee, **values))
        return
    check_transition(there.state, payout.state)
    query = update(payouts).where(payouts.c.id == payout.id, payouts.c.state == there.state.value)
    if (await connection.execute(query.values(**values))).rowcount != 1:
        raise IllegalTransition(f"payout {payout.id} was changed by another process")


def payout_of(row: RowMapping) -> Payout:
    """The payout that a row is."""
    return Payout(
        id=row["id"],
        payee=row["payee"],
        amount=row["amount"],
        state=PayoutState(row["state"]),
        batch=row["batch"],
        reason=row["reason"],
        wallet=row["wallet"],
        nonce=row["nonce"],
        message=row["message"],
        height=None if row["height"] is None else Epoch(row["height"]),
        tipset=row["tipset"],
        exit_code=row["exit_code"],
        gas_cost=row["gas_cost"],
    )
