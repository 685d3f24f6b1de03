"""Payouts and their signed messages: every step of a payout is committed before, or together with, what follows from it.

The constraints are in `payout_tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import Draft
from sp_plugin.payouts.batch import Batch
from sp_plugin.payouts.states import IllegalTransition, Payout, PayoutState
from sp_plugin.store.ledger import append_in
from sp_plugin.store.payout_batches import approve_batch, find_batch, keep_plan
from sp_plugin.store.payout_rows import find_payout, move_payout, payout_of
from sp_plugin.store.payout_tables import payout_messages, payouts
from sp_plugin.store.payout_wallets import PayoutWallets, refuse_stopped

__all__ = ["NonceTaken", "PayoutRepository", "StoredMessage"]


class NonceTaken(Exception):
    """Another payout has this nonce already; nothing was stored, and the signed bytes must be forgotten."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """Signed bytes of a payout. Of several the last position is the newest replacement."""

    cid: Cid
    payout: str
    position: int
    signed: SignedMessage
    signed_at: Epoch
    pushed: bool


class PayoutRepository(PayoutWallets):
    """Everything about payouts that must survive a crash. Every method is one transaction."""

    async def payouts(self, *states: PayoutState) -> list[Payout]:
        """The payouts in some states, or all; those with a nonce in its order, then by id."""
        query = select(payouts).order_by(payouts.c.nonce, payouts.c.id)
        if states:
            query = query.where(payouts.c.state.in_([state.value for state in states]))
        async with self._store.reading() as connection:
            return [payout_of(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, payout_id: str) -> Payout | None:
        """One payout."""
        async with self._store.reading() as connection:
            return await find_payout(connection, payout_id)

    async def approved_since(self, epoch: Epoch) -> list[Payout]:
        """The payouts approved at or after `epoch` that are not failed: what the daily limits count."""
        query = select(payouts).where(
            payouts.c.approved_at >= epoch,
            payouts.c.state.not_in([PayoutState.FAILED.value, PayoutState.HELD.value]),
        )
        async with self._store.reading() as connection:
            return [payout_of(row) for row in (await connection.execute(query)).mappings()]

    async def save_plan(self, batch: Batch, planned: Sequence[Payout]) -> None:
        """Keep a plan: its payments become `planned` in `batch`, its other payouts `held` with their reasons.

        What an older plan had `planned` or `held` and this one does not name is held as superseded.
        """
        async with self._store.transaction() as connection:
            await keep_plan(connection, batch, planned)

    async def batch(self, digest: str) -> Batch | None:
        """A batch by its digest."""
        async with self._store.reading() as connection:
            return await find_batch(connection, digest)

    async def approve(self, digest: str, approver: str, at_epoch: Epoch) -> Batch:
        """Approve a whole batch, so that its payouts may be sent; doing it again changes nothing.

        Raises:
            BatchRefused: no such batch, expired, above its cap, or a newer plan has taken its payouts.
        """
        async with self._store.transaction() as connection:
            return await approve_batch(connection, digest, approver, at_epoch)

    async def hold(self, payout_id: str, reason: str) -> None:
        """Take an approved payout that has no signed bytes back to `held`."""
        async with self._store.transaction() as connection:
            await move_payout(connection, payout_id, PayoutState.HELD, reason=reason, batch=None)

    async def record_signed(self, payout_id: str, signed: SignedMessage, at_epoch: Epoch) -> None:
        """Commit the first signed bytes of an approved payout, before any push.

        Raises:
            NonceTaken: the nonce belongs to another payout.
            IllegalTransition: the payout is not approved (any more), or has signed bytes.
            SendingStopped: the wallet was paused or halted meanwhile.
        """
        message = signed.message
        try:
            async with self._store.transaction() as connection:
                payout = await find_payout(connection, payout_id)
                if payout is None or (payout.payee, payout.amount) != (message.to, message.value):
                    raise IllegalTransition("the message does not pay this payout")
                if payout.nonce is not None:
                    raise IllegalTransition("the payout has signed bytes already")
                await refuse_stopped(connection, message.from_)
                await move_payout(
                    connection,
                    payout_id,
                    PayoutState.SIGNED,
                    wallet=message.from_,
                    nonce=message.nonce,
                )
                await _add_message(connection, payout_id, signed, at_epoch)
        except IntegrityError as error:
            raise NonceTaken(f"nonce {message.nonce} of {message.from_} is taken") from error

    async def record_replacement(
        self, payout_id: str, signed: SignedMessage, at_epoch: Epoch
    ) -> None:
        """Commit a sibling with higher fees, before its push.

        Raises:
            IllegalTransition: the payout is not `sent`, or the message differs in more than its fees.
            SendingStopped: the wallet was paused or halted meanwhile.
        """
        async with self._store.transaction() as connection:
            siblings = await _messages(connection, payout_id)
            if not siblings or not siblings[-1].signed.message.is_same_call(signed.message):
                raise IllegalTransition("a replacement keeps nonce, recipient and amount")
            await refuse_stopped(connection, signed.message.from_)
            await move_payout(connection, payout_id, PayoutState.SENT)
            await _add_message(connection, payout_id, signed, at_epoch)

    async def record_pushed(self, payout_id: str, cid: Cid) -> None:
        """A node has taken the bytes."""
        async with self._store.transaction() as connection:
            payout = await find_payout(connection, payout_id)
            if payout is not None and payout.state is PayoutState.SIGNED:
                await move_payout(connection, payout_id, PayoutState.SENT)
            await connection.execute(
                update(payout_messages).where(payout_messages.c.cid == cid).values(pushed=True)
            )

    async def record_included(self, payout_id: str, lookup: MessageLookup) -> None:
        """One of the payout's messages was executed."""
        async with self._store.transaction() as connection:
            await move_payout(
                connection,
                payout_id,
                PayoutState.INCLUDED,
                message=lookup.message,
                height=lookup.height,
                tipset=lookup.tipset,
                exit_code=lookup.receipt.exit_code,
            )

    async def record_impossible(self, payout_id: str, reason: str) -> None:
        """The payout's nonce was used up for good by another message: its bytes can never be executed."""
        async with self._store.transaction() as connection:
            await move_payout(connection, payout_id, PayoutState.FAILED, reason=reason)

    async def record_reverted(self, payout_id: str) -> None:
        """A reorg took the execution back: the payout is `sent` again and its bytes must be pushed again."""
        async with self._store.transaction() as connection:
            await move_payout(
                connection,
                payout_id,
                PayoutState.SENT,
                message=None,
                height=None,
                tipset=None,
                exit_code=None,
            )
            await connection.execute(
                update(payout_messages)
                .where(payout_messages.c.payout == payout_id)
                .values(pushed=False)
            )

    async def settle(
        self, payout_id: str, state: PayoutState, gas_cost: AttoFil, drafts: Sequence[Draft]
    ) -> None:
        """Close an included payout as `final` or `failed` together with its ledger entries."""
        async with self._store.transaction() as connection:
            await move_payout(connection, payout_id, state, gas_cost=gas_cost)
            await append_in(connection, drafts)

    async def messages(self, payout_id: str) -> list[StoredMessage]:
        """The signed messages of a payout, oldest first."""
        async with self._store.reading() as connection:
            return await _messages(connection, payout_id)

    async def highest_nonce(self, wallet: Address) -> int | None:
        """The highest nonce we ever signed for `wallet`."""
        query = select(payouts.c.nonce).where(
            payouts.c.wallet == wallet, payouts.c.nonce.is_not(None)
        )
        query = query.order_by(payouts.c.nonce.desc()).limit(1)
        async with self._store.reading() as connection:
            return (await connection.execute(query)).scalar()


async def _add_message(
    connection: AsyncConnection, payout_id: str, signed: SignedMessage, at_epoch: Epoch
) -> None:
    position = len(await _messages(connection, payout_id))
    await connection.execute(
        insert(payout_messages).values(
            cid=signed.cid,
            payout=payout_id,
            position=position,
            signed=signed.to_cbor(),
            signed_at=at_epoch,
            pushed=False,
        )
    )


async def _messages(connection: AsyncConnection, payout_id: str) -> list[StoredMessage]:
    query = select(payout_messages).where(payout_messages.c.payout == payout_id)
    query = query.order_by(payout_messages.c.position)
    return [_message(row) for row in (await connection.execute(query)).mappings()]


def _message(row: RowMapping) -> StoredMessage:
    return StoredMessage(
        cid=row["cid"],
        payout=row["payout"],
        position=row["position"],
        signed=SignedMessage.from_cbor(row["signed"]),
        signed_at=Epoch(row["signed_at"]),
        pushed=row["pushed"],
    )
