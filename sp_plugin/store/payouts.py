"""Payouts, their signed messages, batches and the wallets' switches.

What makes a second payment impossible is here as constraints: a payout has at most one nonce, a nonce of a wallet
belongs to at most one payout, and signed bytes are only added, never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import Draft, EntryKind, payable
from sp_plugin.payouts.batch import Batch, BatchItem, BatchRefused, check_approval
from sp_plugin.payouts.states import (
    UNDECIDED,
    IllegalTransition,
    Payout,
    PayoutState,
    check_transition,
)
from sp_plugin.store.base import AddressType, AttoFilType, CidType, Store, metadata
from sp_plugin.store.ledger import append_in, balance_in, has_entries

__all__ = ["NonceTaken", "PayoutRepository", "SendingStopped", "StoredMessage", "WalletState"]

payout_batches = Table(
    "payout_batches",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("approved_by", String(200)),
    Column("approved_at", Integer),
)
payouts = Table(
    "payouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("payee", AddressType, nullable=False, index=True),
    Column("amount", AttoFilType, nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("batch", ForeignKey("payout_batches.digest")),
    Column("reason", Text, nullable=False, default=""),
    Column("wallet", AddressType),
    Column("nonce", Integer),
    Column("message", CidType),
    Column("height", Integer),
    Column("tipset", Text),
    Column("exit_code", Integer),
    Column("gas_cost", AttoFilType),
    Column("approved_at", Integer),
    UniqueConstraint("wallet", "nonce", name="uq_payouts_wallet_nonce"),
)
payout_messages = Table(
    "payout_messages",
    metadata,
    Column("cid", CidType, primary_key=True),
    Column("payout", ForeignKey("payouts.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),  # 0 is the first, each replacement one more
    Column("signed", LargeBinary, nullable=False),
    Column("signed_at", Integer, nullable=False),
    Column("pushed", Boolean, nullable=False, default=False),
    UniqueConstraint("payout", "position", name="uq_payout_messages_payout_position"),
)
payout_wallets = Table(
    "payout_wallets",
    metadata,
    Column("wallet", AddressType, primary_key=True),
    Column("base_nonce", Integer, nullable=False),
    Column("paused", Boolean, nullable=False, default=False),
    Column("halted", Text, nullable=False, default=""),
    Column("funding_height", Integer),
    Column("funding_tipset", Text),
)


_APPROVING: Final = 0x5350_5041  # names the advisory lock, nothing else


class SendingStopped(Exception):
    """The wallet is paused or halted; nothing was stored, and the signed bytes must be forgotten."""


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


@dataclass(frozen=True, slots=True)
class WalletState:
    """A payout wallet's switches. `base_nonce` is the first nonce that can be ours; `halted` says why sending stopped."""

    wallet: Address
    base_nonce: int
    paused: bool
    halted: str


class PayoutRepository:
    """Everything about payouts that must survive a crash. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def payouts(self, *states: PayoutState) -> list[Payout]:
        """The payouts in some states, or all; those with a nonce in its order, then by id."""
        query = select(payouts).order_by(payouts.c.nonce, payouts.c.id)
        if states:
            query = query.where(payouts.c.state.in_([state.value for state in states]))
        async with self._store.reading() as connection:
            return [_payout(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, payout_id: str) -> Payout | None:
        """One payout."""
        async with self._store.reading() as connection:
            return await _get(connection, payout_id)

    async def approved_since(self, epoch: Epoch) -> list[Payout]:
        """The payouts approved at or after `epoch` that are not failed: what the daily limits count."""
        query = select(payouts).where(
            payouts.c.approved_at >= epoch,
            payouts.c.state.not_in([PayoutState.FAILED.value, PayoutState.HELD.value]),
        )
        async with self._store.reading() as connection:
            return [_payout(row) for row in (await connection.execute(query)).mappings()]

    async def save_plan(self, batch: Batch, planned: Sequence[Payout]) -> None:
        """Keep a plan: its payments become `planned` in `batch`, its other payouts `held` with their reasons.

        What an older plan had `planned` or `held` and this one does not name is held as superseded.
        """
        async with self._store.transaction() as connection:
            digest = batch.digest()
            if batch.items and not await _batch_row(connection, digest):
                content = json.dumps(batch.to_json())
                await connection.execute(
                    insert(payout_batches).values(digest=digest, content=content)
                )
            named = {payout.id for payout in planned}
            for payout in planned:
                in_batch = digest if payout.state is PayoutState.PLANNED else None
                await _put_open(connection, replace(payout, batch=in_batch))
            query = select(payouts).where(payouts.c.state == PayoutState.PLANNED.value)
            for row in (await connection.execute(query)).mappings().all():
                if row["id"] not in named:
                    await _move(connection, row["id"], PayoutState.HELD, reason="superseded")

    async def batch(self, digest: str) -> Batch | None:
        """A batch by its digest."""
        async with self._store.reading() as connection:
            row = await _batch_row(connection, digest)
            return None if row is None else _batch(json.loads(row["content"]))

    async def approve(self, digest: str, approver: str, at_epoch: Epoch) -> Batch:
        """Approve a whole batch, so that its payouts may be sent; doing it again changes nothing.

        Raises:
            BatchRefused: no such batch, expired, above its cap, or a newer plan has taken its payouts.
        """
        async with self._store.transaction() as connection:
            row = await _batch_row(connection, digest)
            if row is None:
                raise BatchRefused(f"there is no batch {digest}: see `payouts plan`")
            batch = _batch(json.loads(row["content"]))
            if row["approved_at"] is not None:
                return batch
            check_approval(batch, digest, at_epoch)
            await _one_at_a_time(connection)
            for item in batch.items:
                payout = await _get(connection, item.payout)
                if payout is None or payout.batch != digest or payout.amount != item.amount:
                    raise BatchRefused("a newer plan has taken this batch's place: approve that")
                if item.amount.value > await _due(connection, item.payee):
                    raise BatchRefused(
                        f"{item.payee} is not owed that much any more: plan again and approve that"
                    )
                await _move(connection, item.payout, PayoutState.APPROVED, approved_at=at_epoch)
            await connection.execute(
                update(payout_batches)
                .where(payout_batches.c.digest == digest)
                .values(approved_by=approver, approved_at=at_epoch)
            )
            return batch

    async def hold(self, payout_id: str, reason: str) -> None:
        """Take an approved payout that has no signed bytes back to `held`."""
        async with self._store.transaction() as connection:
            await _move(connection, payout_id, PayoutState.HELD, reason=reason, batch=None)

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
                payout = await _get(connection, payout_id)
                if payout is None or (payout.payee, payout.amount) != (message.to, message.value):
                    raise IllegalTransition("the message does not pay this payout")
                if payout.nonce is not None:
                    raise IllegalTransition("the payout has signed bytes already")
                await _refuse_stopped(connection, message.from_)
                await _move(
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
            await _refuse_stopped(connection, signed.message.from_)
            await _move(connection, payout_id, PayoutState.SENT)
            await _add_message(connection, payout_id, signed, at_epoch)

    async def record_pushed(self, payout_id: str, cid: Cid) -> None:
        """A node has taken the bytes."""
        async with self._store.transaction() as connection:
            payout = await _get(connection, payout_id)
            if payout is not None and payout.state is PayoutState.SIGNED:
                await _move(connection, payout_id, PayoutState.SENT)
            await connection.execute(
                update(payout_messages).where(payout_messages.c.cid == cid).values(pushed=True)
            )

    async def record_included(self, payout_id: str, lookup: MessageLookup) -> None:
        """One of the payout's messages was executed."""
        async with self._store.transaction() as connection:
            await _move(
                connection,
                payout_id,
                PayoutState.INCLUDED,
                message=lookup.message,
                height=lookup.height,
                tipset=_key_text(lookup.tipset),
                exit_code=lookup.receipt.exit_code,
            )

    async def record_impossible(self, payout_id: str, reason: str) -> None:
        """The payout's nonce was used up for good by another message: its bytes can never be executed."""
        async with self._store.transaction() as connection:
            await _move(connection, payout_id, PayoutState.FAILED, reason=reason)

    async def record_reverted(self, payout_id: str) -> None:
        """A reorg took the execution back: the payout is `sent` again and its bytes must be pushed again."""
        async with self._store.transaction() as connection:
            await _move(
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
            await _move(connection, payout_id, state, gas_cost=gas_cost)
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

    async def open_wallet(self, wallet: Address, base_nonce: int) -> WalletState:
        """The wallet's switches; on first use `base_nonce` is kept as the first nonce that can be ours.

        A wallet that has sent messages before this database knew it is halted if anybody is owed something: the
        database may be a backup from before those messages, and they may have paid.
        """
        async with self._store.transaction() as connection:
            state = await _wallet(connection, wallet)
            if state is None:
                halted = ""
                if base_nonce and await has_entries(connection, EntryKind.RELEASE):
                    halted = (
                        f"{wallet} has sent {base_nonce} messages that this database does not know, and payees are "
                        "owed money: if it was restored from a backup they may be paid already; `payouts reconcile`"
                    )
                await connection.execute(
                    insert(payout_wallets).values(
                        wallet=wallet, base_nonce=base_nonce, paused=False, halted=halted
                    )
                )
                state = WalletState(wallet, base_nonce, paused=False, halted=halted)
            return state

    async def wallet(self, wallet: Address) -> WalletState | None:
        """The wallet's switches, `None` before its first use."""
        async with self._store.reading() as connection:
            return await _wallet(connection, wallet)

    async def set_paused(self, wallet: Address, *, paused: bool) -> None:
        """Stop or resume all sending from `wallet`."""
        await self._set_wallet(wallet, paused=paused)

    async def set_halted(self, wallet: Address, reason: str) -> None:
        """Stop sending until a person has looked (`reason`), or resume (an empty one)."""
        await self._set_wallet(wallet, halted=reason)

    async def accept_nonce(self, wallet: Address, base_nonce: int) -> None:
        """A person looked: every nonce below `base_nonce` that is not ours is known, and sending may go on."""
        await self._set_wallet(wallet, base_nonce=base_nonce, halted="")

    async def _set_wallet(self, wallet: Address, **values: Any) -> None:
        query = update(payout_wallets).where(payout_wallets.c.wallet == wallet).values(**values)
        async with self._store.transaction() as connection:
            await connection.execute(query)

    async def funding_checkpoint(self, wallet: Address) -> tuple[Epoch, TipSetKey] | None:
        """Up to which final tipset the wallet's balance has been explained."""
        query = select(payout_wallets).where(payout_wallets.c.wallet == wallet)
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None or row["funding_height"] is None:
            return None
        return Epoch(row["funding_height"]), _key(row["funding_tipset"])

    async def save_funding(
        self, wallet: Address, height: Epoch, key: TipSetKey, drafts: Sequence[Draft]
    ) -> None:
        """Move the checkpoint and append what was found before it, together."""
        async with self._store.transaction() as connection:
            await append_in(connection, drafts)
            await connection.execute(
                update(payout_wallets)
                .where(payout_wallets.c.wallet == wallet)
                .values(funding_height=height, funding_tipset=_key_text(key))
            )


async def _get(connection: AsyncConnection, payout_id: str) -> Payout | None:
    query = select(payouts).where(payouts.c.id == payout_id)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else _payout(row)


async def _move(
    connection: AsyncConnection, payout_id: str, state: PayoutState, **values: Any
) -> None:
    payout = await _get(connection, payout_id)
    if payout is None:
        raise IllegalTransition(f"there is no payout {payout_id}")
    check_transition(payout.state, state)
    query = update(payouts).where(payouts.c.id == payout_id, payouts.c.state == payout.state.value)
    result = await connection.execute(query.values(state=state.value, **values))
    if result.rowcount != 1:  # another process moved it since it was read
        raise IllegalTransition(f"payout {payout_id} was changed by another process")


async def _put_open(connection: AsyncConnection, payout: Payout) -> None:
    values = {
        "amount": payout.amount,
        "batch": payout.batch,
        "reason": payout.reason,
        "state": payout.state.value,
    }
    there = await _get(connection, payout.id)
    if there is None:
        await connection.execute(insert(payouts).values(id=payout.id, payee=payout.payee, **values))
        return
    check_transition(there.state, payout.state)
    query = update(payouts).where(payouts.c.id == payout.id, payouts.c.state == there.state.value)
    if (await connection.execute(query.values(**values))).rowcount != 1:
        raise IllegalTransition(f"payout {payout.id} was changed by another process")


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


async def _refuse_stopped(connection: AsyncConnection, wallet: Address) -> None:
    state = await _wallet(connection, wallet)
    if state is not None and (state.paused or state.halted):
        raise SendingStopped(f"{wallet} is {'paused' if state.paused else 'halted'}")


async def _batch_row(connection: AsyncConnection, digest: str) -> RowMapping | None:
    query = select(payout_batches).where(payout_batches.c.digest == digest)
    return (await connection.execute(query)).mappings().first()


async def _wallet(connection: AsyncConnection, wallet: Address) -> WalletState | None:
    query = select(payout_wallets).where(payout_wallets.c.wallet == wallet)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    return WalletState(row["wallet"], row["base_nonce"], row["paused"], row["halted"])


def _message(row: RowMapping) -> StoredMessage:
    return StoredMessage(
        cid=row["cid"],
        payout=row["payout"],
        position=row["position"],
        signed=SignedMessage.from_cbor(row["signed"]),
        signed_at=Epoch(row["signed_at"]),
        pushed=row["pushed"],
    )


def _payout(row: RowMapping) -> Payout:
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
        tipset=None if row["tipset"] is None else _key(row["tipset"]),
        exit_code=row["exit_code"],
        gas_cost=row["gas_cost"],
    )


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


def _key_text(key: TipSetKey) -> str:
    return ",".join(map(str, key))


def _key(text: str) -> TipSetKey:
    return TipSetKey(tuple(Cid.parse(part) for part in text.split(",")))
