"""Batches inside the caller's transaction: a plan is kept as one, and approved as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import payable
from sp_plugin.payouts.batch import Batch, BatchItem, BatchRefused, check_approval
from sp_plugin.payouts.states import UNDECIDED, Payout, PayoutState
from sp_plugin.store.ledger import balance_in
from sp_plugin.store.payout_rows import find_payout, move_payout, put_open
from sp_plugin.store.payout_tables import payout_batches, payouts

__all__ = ["approve_batch", "find_batch", "keep_plan"]

_APPROVING: Final = 0x5350_5041  # names the advisory lock, nothing else


async def keep_plan(connection: AsyncConnection, batch: Batch, planned: Sequence[Payout]) -> None:
    """Keep a plan: its payments become `planned` in `batch`, its other payouts `held` with their reasons.

    What an older plan had `planned` or `held` and this one does not name is held as superseded.
    """
    digest = batch.digest()
    if batch.items and not await _batch_row(connection, digest):
        content = json.dumps(batch.to_json())
        await connection.execute(insert(payout_batches).values(digest=digest, content=content))
    named = {payout.id for payout in planned}
    for payout in planned:
        in_batch = digest if payout.state is PayoutState.PLANNED else None
        await put_open(connection, replace(payout, batch=in_batch))
    query = select(payouts).where(payouts.c.state == PayoutState.PLANNED.value)
    for row in (await connection.execute(query)).mappings().all():
        if row["id"] not in named:
            await move_payout(connection, row["id"], PayoutState.HELD, reason="superseded")


async def approve_batch(
    connection: AsyncConnection, digest: str, approver: str, at_epoch: Epoch
) -> Batch:
    """Approve a whole batch, so that its payouts may be sent; doing it again changes nothing.

    Raises:
        BatchRefused: no such batch, expired, above its cap, or a newer plan has taken its payouts.
    """
    row = await _batch_row(connection, digest)
    if row is None:
        raise BatchRefused(f"there is no batch {digest}: see `payouts plan`")
    batch = _batch(json.loads(row["content"]))
    if row["approved_at"] is not None:
        return batch
    check_approval(batch, digest, at_epoch)
    await _one_at_a_time(connection)
    for item in batch.items:
        payout = await find_payout(connection, item.payout)
        if payout is None or payout.batch != digest or payout.amount != item.amount:
            raise BatchRefused("a newer plan has taken this batch's place: approve that")
        if item.amount.value > await _due(connection, item.payee):
            raise BatchRefused(
                f"{item.payee} is not owed that much any more: plan again and approve that"
            )
        await move_payout(connection, item.payout, PayoutState.APPROVED, approved_at=at_epoch)
    await connection.execute(
        update(payout_batches)
        .where(payout_batches.c.digest == digest)
        .values(approved_by=approver, approved_at=at_epoch)
    )
    return batch


async def find_batch(connection: AsyncConnection, digest: str) -> Batch | None:
    """A batch by its digest."""
    row = await _batch_row(connection, digest)
    return None if row is None else _batch(json.loads(row["content"]))


async def _one_at_a_time(connection: AsyncConnection) -> None:
    """Let no other transaction that calls this run beside the caller's; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_APPROVING)))


async def _due(connection: AsyncConnection, payee: Address) -> int:
    """What `payee` may still be promised: the ledger's balance less all that is approved or under way.

    What is under way is read first: a payout that is booked meanwhile is then taken off twice, never not at all.
    """
    states = [state.value for state in (PayoutState.APPROVED, *UNDECIDED)]
    query = select(payouts.c.amount).where(payouts.c.payee == payee, payouts.c.state.in_(states))
    amounts: Sequence[AttoFil] = (await connection.execute(query)).scalars().all()
    under_way = sum(amount.value for amount in amounts)
    return -(await balance_in(connection, payable(payee))).value - under_way


async def _batch_row(connection: AsyncConnection, digest: str) -> RowMapping | None:
    query = select(payout_batches).where(payout_batches.c.digest == digest)
    return (await connection.execute(query)).mappings().first()


def _batch(content: dict[str, Any]) -> Batch:
    return Batch(
        network=content["network"],
        wallet=Address.parse(content["wallet"]),
        items=tuple(
            BatchItem(payout, Address.parse(payee), AttoFil.parse(amount))
            for payout, payee, amount in content["items"]
        ),
        cap=AttoFil.parse(content["cap"]),
        created=Epoch(content["created"]),
        expires=Epoch(content["expires"]),
    )
