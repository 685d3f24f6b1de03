"""The check of the books, made without the running sidecar: a check that asked it would only repeat what it says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from lotus_client.client import LotusClient
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.config import Config
from sp_plugin.earnings.booking import accrual_key
from sp_plugin.errors import StoreError
from sp_plugin.ledger import LedgerError, LedgerReport, WalletOnChain
from sp_plugin.ledger.cross_check import BookedPayout, Expected, cross_check
from sp_plugin.node import check_node, connect_node
from sp_plugin.payouts.ports import find_actor
from sp_plugin.payouts.states import TERMINAL, PayoutState
from sp_plugin.store.base import Store
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.migrate import open_store
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["BooksReport", "check_books", "check_ledger_and_tables"]

_EVER: Final = Epoch(1 << 62)


@dataclass(frozen=True, slots=True)
class BooksReport:
    """The ledger's report, and in words what the payout wallet was compared with, or why it was not."""

    report: LedgerReport
    wallet: str

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": self.report.ok,
            "entries": self.report.entries,
            "head": self.report.head.hex(),
            "problems": [
                {"where": problem.where, "message": problem.message}
                for problem in self.report.problems
            ],
            "wallet": self.wallet,
        }


async def check_books(config: Config, *, ask_node: bool) -> BooksReport:
    """What is wrong with the ledger in the store, and whether it agrees with the wallet on chain.

    Raises:
        LotusUnavailable, LotusWrongNetwork: the node does not answer, or is of another network.
        StoreError: the database cannot be used.
    """
    if config.database.url is None and not config.data_dir.is_dir():
        raise StoreError(f"{config.data_dir} is not there yet: start with `sp-plugin run`")
    store = await open_store(config.database_url)
    try:
        wallet: WalletOnChain | None = None
        words = "not compared (--offline)"
        if ask_node:
            async with connect_node(config.node) as node:
                check_node(config.node, await node.probe())
                wallet, words = await _wallet(config, store, node)
        return BooksReport(
            await check_ledger_and_tables(store, config.provider.actor, wallet), words
        )
    finally:
        await store.close()


async def check_ledger_and_tables(
    store: Store, provider: ActorId, wallet: WalletOnChain | None = None
) -> LedgerReport:
    """The ledger's report, with everything that wins, periods and payouts say otherwise."""
    ledger = LedgerRepository(store)
    report = await ledger.check(wallet)
    try:
        entries = await ledger.entries()
    except LedgerError:
        return report  # it cannot even be read, and says so
    problems = cross_check(entries, await _expected(store, provider))
    return replace(report, problems=(*report.problems, *problems))


async def _expected(store: Store, provider: ActorId) -> Expected:
    earnings, payouts = EarningsRepository(store), PayoutRepository(store)
    awards = {}
    for stored in await earnings.wins(provider, Epoch(0), _EVER):
        award = stored.win.award()
        if award is not None and award.credited:
            awards[f"award:{stored.win.id}"] = award.credited
    accruals = {
        accrual_key(period.closed.period, period.closed.revision): period.closed.owed()
        for period in await earnings.periods(provider)
    }
    booked = [
        BookedPayout(
            id=payout.id,
            payee=payout.payee,
            amount=payout.amount,
            message=payout.message,
            gas=payout.gas_cost or AttoFil(0),
            paid=payout.state is PayoutState.FINAL,
        )
        for payout in await payouts.payouts(*TERMINAL)
    ]
    return Expected(awards, accruals, booked)


async def _wallet(
    config: Config, store: Store, node: LotusClient
) -> tuple[WalletOnChain | None, str]:
    """The wallet in the last final tipset up to which the ledger explains it; later movements are not booked yet."""
    address = config.payouts.wallet
    if address is None:
        return None, "not compared: payouts.wallet names no address"
    checkpoint = await PayoutRepository(store).funding_checkpoint(address)
    if checkpoint is None:
        return None, "not compared: it has not been followed yet (payouts.enabled)"
    final = await node.finalized_tipset()
    # By height in the final chain, not by the kept key: on another chain the key itself would be found nowhere.
    at = await node.tipset_by_height(Epoch(min(checkpoint[0], final.height)), final.key)
    actor = await find_actor(node, address, at.key)
    balance = AttoFil(0) if actor is None else actor.balance
    behind = final.height - at.height
    late = f", {behind} final epochs are not booked yet" if behind else ""
    return WalletOnChain(at.height, balance), (
        f"{balance.to_fil()} FIL on chain at epoch {at.height}{late}"
    )
