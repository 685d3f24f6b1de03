"""From a claim to money in the payee's wallet, over the real embedded network, its HTTP API and our own client."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deals.commp import commp
from deals.follower import ChainFollower
from devstack.chain import NetworkConfig
from devstack.datacap import allocate_piece, grant_datacap, settle
from devstack.stack import Devstack, DevstackConfig
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AttoFil, Epoch
from sp_plugin.audit.statement import audit_statement
from sp_plugin.earnings.ingest import Earnings
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.ledger import FEES, WalletOnChain
from sp_plugin.payouts.decide import Limits
from sp_plugin.payouts.fees import FeePolicy
from sp_plugin.payouts.funding import FundingWatcher
from sp_plugin.payouts.passes import SenderSettings
from sp_plugin.payouts.planning import Planner
from sp_plugin.payouts.sender import Sender
from sp_plugin.payouts.signer import KeySigner
from sp_plugin.payouts.states import PayoutState
from sp_plugin.statements import Statements
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository
from tests.databases import database_url
from tests.fake_earnings_chain import FakeRegister

PAYLOAD = b"what a job made of the data\n" * 200_000
WALLET = Secp256k1Key(b"\x21" * 32)
PAYEE = Secp256k1Key(b"\x22" * 32).address
MAX_FEE = AttoFil(10**16)


async def make_claim(net: Devstack) -> int:
    """The claim id of a sealed verified piece."""
    piece = commp(io.BytesIO(PAYLOAD))
    alice = net.network.key("alice")
    await grant_datacap(net.node, alice.address, 1 << 30)
    allocation = await allocate_piece(
        net.node, alice, net.network.providers[0], piece.piece_cid, piece.padded_size
    )
    await net.provider.add_piece(PAYLOAD, allocation)
    await net.advance(30)
    return allocation


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """Beside a big miner, so that the provider wins some of the elections and not most of them."""
    return DevstackConfig(network=NetworkConfig(genesis_sectors=960))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(database_url(tmp_path))
    async with made.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_claim_earns_and_its_payee_is_paid_exactly_what_the_statement_says(
    devnet: Devstack, store: Store
) -> None:
    claim = await make_claim(devnet)
    provider = devnet.network.providers[0].actor_id
    holdings, ledger = ChainRepository(store), LedgerRepository(store)
    earnings, payouts = EarningsRepository(store), PayoutRepository(store)
    terms = ShareTerms(Basis.VERIFIED_EXTRA)
    register = FakeRegister([ProducedPiece(f"claim:{claim}", PAYEE, "job-1", len(PAYLOAD), terms)])
    settings = EarningsSettings(
        provider, devnet.network.config.sector_size, Epoch(0), capital_cost_apr_bps=0
    )

    async with LotusClient.connect(ApiInfo.parse(devnet.api_info)) as client:
        follower = ChainFollower(client, holdings, provider, start_at=Epoch(0))
        books = Earnings(
            client, holdings, register, earnings=earnings, ledger=ledger, settings=settings
        )
        funding = FundingWatcher(client, payouts, ledger, WALLET.address)
        limits = Limits(minimum=AttoFil(1), max_fee=MAX_FEE)
        planner = Planner(
            client,
            ledger,
            payouts,
            network="devstack",
            provider=provider,
            wallet=WALLET.address,
            limits=limits,
        )
        sending = SenderSettings(WALLET.address, FeePolicy(MAX_FEE), enabled=True)
        sender = Sender(client, KeySigner(WALLET), payouts, sending)
        await funding.step()

        await devnet.advance(2880 * 2 + 910)
        await follower.catch_up()
        step = await books.step()
        assert step.waiting == ()
        assert step.closed == ((0, 0), (1, 0))
        planned = await planner.plan()
        [decision] = planned.plan.decisions
        assert decision.held == "unfunded"

        # the owner, whose key the sidecar never has, brings exactly what the plan says is lacking
        funded = devnet.network.send("owner-1", WALLET.address, value=planned.plan.lacking)
        await settle(devnet.node, funded, "funding")
        await devnet.advance(910)
        report = await funding.step()
        assert report.problem == ""
        assert [draft.refs[0].value for draft in report.funded] == [str(funded)]

        planned = await planner.plan()
        await payouts.approve(planned.digest, "operator", planned.batch.created)
        await sender.step()
        await devnet.advance(5)
        assert (await sender.step()).included
        await devnet.advance(910)
        assert (await sender.step()).settled
        [payout] = await payouts.payouts()
        assert payout.state is PayoutState.FINAL
        assert (await client.balance(PAYEE)) == payout.amount == planned.plan.total

        assert (await funding.step()).problem == ""
        final = await client.finalized_tipset()
        wallet = await client.actor(WALLET.address, final.key)
        checked = await ledger.check(WalletOnChain(final.height, wallet.balance))
        assert checked.problems == ()
        assert checked.balances[FEES] == payout.gas_cost

        made = Statements(earnings, ledger, holdings, settings, "devstack")
        statement = json.loads(json.dumps(await made.statement(PAYEE, final)))
        assert statement["totals"]["paid"] == str(payout.amount)
        audit = await audit_statement(statement, client)
        assert [finding for finding in audit.findings if not finding.ok] == []
        assert audit.ok
