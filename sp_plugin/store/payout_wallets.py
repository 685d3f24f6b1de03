"""The payout wallets: their switches, their first nonce that can be ours, and up to where their balance is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.types import Epoch
from sp_plugin.ledger import Draft, EntryKind
from sp_plugin.store.base import Store
from sp_plugin.store.ledger import append_in, has_entries
from sp_plugin.store.payout_tables import payout_wallets

__all__ = ["PayoutWallets", "SendingStopped", "WalletState", "refuse_stopped"]


class SendingStopped(Exception):
    """The wallet is paused or halted; nothing was stored, and the signed bytes must be forgotten."""


@dataclass(frozen=True, slots=True)
class WalletState:
    """A payout wallet's switches. `base_nonce` is the first nonce that can be ours; `halted` says why sending stopped."""

    wallet: Address
    base_nonce: int
    paused: bool
    halted: str


class PayoutWallets:
    """What is kept of each payout wallet. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open_wallet(self, wallet: Address, base_nonce: int) -> WalletState:
        """The wallet's switches; on first use `base_nonce` is kept as the first nonce that can be ours.

        A wallet that has sent messages before this database knew it is halted if anybody is owed something: the
        database may be a backup from before those messages, and they may have paid.
        """
        async with self._store.transaction() as connection:
            state = await find_wallet(connection, wallet)
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
            return await find_wallet(connection, wallet)

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
        return Epoch(row["funding_height"]), row["funding_tipset"]

    async def save_funding(
        self, wallet: Address, height: Epoch, key: TipSetKey, drafts: Sequence[Draft]
    ) -> None:
        """Move the checkpoint and append what was found before it, together."""
        async with self._store.transaction() as connection:
            await append_in(connection, drafts)
            await connection.execute(
                update(payout_wallets)
                .where(payout_wallets.c.wallet == wallet)
                .values(funding_height=height, funding_tipset=key)
            )


async def refuse_stopped(connection: AsyncConnection, wallet: Address) -> None:
    """Return if the wallet may send.

    Raises:
        SendingStopped: it is paused or halted.
    """
    state = await find_wallet(connection, wallet)
    if state is not None and (state.paused or state.halted):
        raise SendingStopped(f"{wallet} is {'paused' if state.paused else 'halted'}")


async def find_wallet(connection: AsyncConnection, wallet: Address) -> WalletState | None:
    query = select(payout_wallets).where(payout_wallets.c.wallet == wallet)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    return WalletState(row["wallet"], row["base_nonce"], row["paused"], row["halted"])
