"""A provider's earnings on a fake chain, with its jobs, its books and its statements."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece
from lotus_client.crypto import Secp256k1Key
from lotus_client.messages import Message
from lotus_client.types import AttoFil, Epoch
from sp_plugin.audit.statement import AuditReport, audit_statement
from sp_plugin.earnings.ingest import Earnings, EarningsStep
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.ledger import PAYOUT_WALLET, Account, Draft, EntryKind, Posting, message_ref, payable
from sp_plugin.statements import Statements
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.ledger import LedgerRepository
from tests.fake_earnings_chain import (
    MIB,
    PROVIDER,
    SECTOR_SIZE,
    FakeEarningsChain,
    FakeHoldings,
    FakeRegister,
)

PAYEE = Secp256k1Key(b"\x05" * 32).address


WALLET = Secp256k1Key(b"\x06" * 32).address


TERMS = ShareTerms(Basis.VERIFIED_EXTRA)


def output(terms: ShareTerms = TERMS, counted: int = MIB) -> ProducedPiece:
    return ProducedPiece("claim:7", PAYEE, "job-1", counted, terms)


class World:
    """A provider with its chain, index, jobs and books."""

    def __init__(self, path: Path) -> None:
        self.store = Store(f"sqlite+aiosqlite:///{path}")
        self.chain = FakeEarningsChain(head_epoch=5000, wins={1500: 1, 2000: 2, 4500: 1})
        self.holdings = FakeHoldings(self.chain)
        self.register = FakeRegister([output()])
        self.settings = EarningsSettings(PROVIDER, SECTOR_SIZE, Epoch(0), capital_cost_apr_bps=0)
        self.earnings = EarningsRepository(self.store)
        self.ledger = LedgerRepository(self.store)

    async def step(
        self, head: int | None = None, ledger: LedgerRepository | None = None
    ) -> EarningsStep:
        if head is not None:
            self.chain.head_epoch = head
        return await Earnings(
            self.chain,
            self.holdings,
            self.register,
            earnings=self.earnings,
            ledger=ledger or self.ledger,
            settings=self.settings,
        ).step()

    async def balance(self, account: Account) -> int:
        return (await self.ledger.balances()).get(account, AttoFil(0)).value

    async def statement(self) -> dict[str, object]:
        made = Statements(self.earnings, self.ledger, self.holdings, self.settings, "testnet")
        final = await self.chain.finalized_tipset()
        return json.loads(json.dumps(await made.statement(PAYEE, final)))  # type: ignore[no-any-return]

    async def audit(self) -> AuditReport:
        return await audit_statement(await self.statement(), self.chain)

    async def pay(self, amount: int) -> None:
        message = Message(PAYEE, WALLET, value=AttoFil(amount))
        cid = self.chain.pay(4000, message)
        postings = (
            Posting(payable(PAYEE), AttoFil(amount)),
            Posting(PAYOUT_WALLET, AttoFil(-amount)),
        )
        draft = Draft("payout:1", EntryKind.PAYOUT, Epoch(4001), postings, (message_ref(cid),))
        await self.ledger.append([draft])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db")
    async with made.store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.store.close()


def expected_share(world: World, wins: int, counted: int = MIB) -> int:
    """10 % of 9 bytes of power per counted verified byte, of the rewards without tips; one floor per win here."""
    qap = 2 * SECTOR_SIZE + 9 * 4 * MIB
    shareable = world.chain.reward * wins // 5
    return shareable * 9 * counted * 1000 // (10_000 * qap)
