"""A wallet, a ledger and a fake chain wired together, with a store that survives a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.ledger import (
    PROVIDER,
    Draft,
    EntryKind,
    LedgerReport,
    Posting,
    Ref,
    RefKind,
    WalletOnChain,
    accrued,
    payable,
    tipset_ref,
)
from sp_plugin.ledger.accounts import MINER_AVAILABLE
from sp_plugin.payouts.decide import Limits
from sp_plugin.payouts.fees import FeePolicy
from sp_plugin.payouts.funding import FundingWatcher
from sp_plugin.payouts.passes import SenderSettings
from sp_plugin.payouts.planning import Planner
from sp_plugin.payouts.recovery import Recovery
from sp_plugin.payouts.sender import Agreement, Sender
from sp_plugin.payouts.signer import KeySigner
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository
from tests.fake_payout_chain import FakePayoutChain

WALLET_KEY = Secp256k1Key(b"\x01" * 32)
PAYEE = Secp256k1Key(b"\x02" * 32).address
PAYEE_TWO = Secp256k1Key(b"\x03" * 32).address
MAX_FEE = AttoFil(10**13)
TIPSET = TipSetKey((dag_cbor_cid(b"\x80"),))


class Money:
    """Everything about money of one provider with one payout wallet."""

    def __init__(self, path: Path) -> None:
        self._url = f"sqlite+aiosqlite:///{path}"
        self.wallet = WALLET_KEY.address
        funder = Address.of_id(1234)
        others = dict.fromkeys(map(Address.of_id, (99, 1001, 1002, 1100)), 0)
        self.chain = FakePayoutChain({self.wallet: 10**20, funder: 10**20} | others)
        self.alerts: list[tuple[str, str]] = []
        self._owed = 0
        self._open()

    def _open(self) -> None:
        self.store = Store(self._url)
        self.ledger = LedgerRepository(self.store)
        self.payouts = PayoutRepository(self.store)

    async def create(self) -> None:
        async with self.store.transaction() as connection:
            await connection.run_sync(metadata.create_all)
        await self.funding().step()

    async def restart(self) -> None:
        await self.store.close()
        self._open()

    async def owe(self, payee: Address, amount: int) -> None:
        """Book that `amount` was awarded, accrued and released."""
        self._owed += 1
        value, name = AttoFil(amount), f"{self._owed}"
        award = Draft(
            f"award:{name}",
            EntryKind.AWARD,
            Epoch(0),
            (Posting(MINER_AVAILABLE, value), Posting(PROVIDER, -value)),
            (tipset_ref(TIPSET),),
        )
        accrual = Draft(
            f"accrual:{name}",
            EntryKind.ACCRUAL,
            Epoch(0),
            (Posting(PROVIDER, value), Posting(accrued(payee), -value)),
            (tipset_ref(TIPSET),),
        )
        release = Draft(
            f"release:{name}",
            EntryKind.RELEASE,
            Epoch(0),
            (Posting(accrued(payee), value), Posting(payable(payee), -value)),
            (Ref(RefKind.ENTRY, accrual.key),),
        )
        await self.ledger.append([award, accrual, release])

    def sender(
        self,
        *,
        enabled: bool = True,
        max_fee: AttoFil = MAX_FEE,
        agreement: Agreement | None = None,
        wallet: Address | None = None,
        genesis: Cid | None = None,
    ) -> Sender:
        async def alert(event: str, text: str) -> None:
            self.alerts.append((event, text))

        settings = SenderSettings(wallet or self.wallet, FeePolicy(max_fee), enabled, genesis)
        return Sender(
            self.chain,
            KeySigner(WALLET_KEY),
            self.payouts,
            settings,
            alert,
            agreement=agreement,
        )

    def planner(self) -> Planner:
        return Planner(
            self.chain,
            self.ledger,
            self.payouts,
            network="testnet",
            provider=ActorId(1001),
            wallet=self.wallet,
            limits=Limits(minimum=AttoFil(10), max_fee=MAX_FEE),
        )

    def funding(self) -> FundingWatcher:
        return FundingWatcher(self.chain, self.payouts, self.ledger, self.wallet)

    def recovery(self) -> Recovery:
        return Recovery(self.chain, self.payouts, self.ledger, self.wallet)

    async def approve(self) -> None:
        planned = await self.planner().plan()
        await self.payouts.approve(planned.digest, "operator", Epoch(planned.batch.created))

    async def approve_if_any(self) -> None:
        planned = await self.planner().plan()
        if planned.batch.items:
            await self.payouts.approve(planned.digest, "operator", Epoch(planned.batch.created))

    async def settle(self, rounds: int = 12) -> None:
        """Mine and step until everything is final."""
        for _ in range(rounds):
            await self.sender().step()
            self.chain.mine()
        await self.sender().step()

    async def check(self) -> LedgerReport:
        """`ledger check` against the chain's final balance."""
        await self.funding().step()
        final = await self.chain.finalized_tipset()
        actor = await self.chain.actor(self.wallet, final.key)
        return await self.ledger.check(WalletOnChain(final.height, actor.balance))


@pytest.fixture
async def money(tmp_path: Path) -> AsyncIterator[Money]:
    """A fresh wallet with 100 FIL on a fresh chain."""
    made = Money(tmp_path / "state.db")
    await made.create()
    yield made
    await made.store.close()
