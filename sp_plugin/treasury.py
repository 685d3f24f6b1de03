"""The money side of one provider, put together: ledger, plans, the sender and the funding watcher."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.client import LotusClient
from lotus_client.types import ActorId, Epoch
from sp_plugin.alerts import Alerts
from sp_plugin.config import PayoutsConfig
from sp_plugin.errors import BadInput, Conflict
from sp_plugin.node import SameChain
from sp_plugin.payouts.batch import Batch
from sp_plugin.payouts.decide import Limits
from sp_plugin.payouts.fees import FeePolicy
from sp_plugin.payouts.funding import FundingWatcher
from sp_plugin.payouts.passes import SenderSettings, StepReport
from sp_plugin.payouts.planning import PlannedBatch, Planner
from sp_plugin.payouts.ports import Signer
from sp_plugin.payouts.reconcile import Reconciler, Reconciliation
from sp_plugin.payouts.sender import Agreement, Sender
from sp_plugin.payouts.signer import KeySigner, NodeSigner
from sp_plugin.payouts.states import TERMINAL, PayoutState
from sp_plugin.store.base import Store
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository
from sp_plugin.wallet import WalletEndpoint, connect_wallet

__all__ = ["Treasury", "open_treasury", "shared_keys"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Treasury:
    """Ledger and payouts. `planner`, `sender`, `funding` and `reconciler` are None while no payout wallet is named."""

    config: PayoutsConfig
    chain: LotusClient
    ledger: LedgerRepository
    payouts: PayoutRepository
    planner: Planner | None
    sender: Sender | None
    funding: FundingWatcher | None
    reconciler: Reconciler | None
    wallet: WalletEndpoint | None
    same_chain: SameChain
    alert: Alerts
    # One at a time: what one of them books or halts is what the next one looks at.
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def close(self) -> None:
        """Release the signer's sockets."""
        if self.wallet is not None:
            await self.wallet.close()

    async def plan(self) -> PlannedBatch:
        """A new plan; nothing is sent by it.

        Raises:
            Conflict: no payout wallet is named.
            LotusWrongNetwork: the node serves another chain by now.
        """
        if self.planner is None:
            raise Conflict("payouts.wallet names no address: there is nothing to pay from")
        async with self.moving:
            await self.same_chain.check()
            return await self.planner.plan()

    async def send(self) -> StepReport:
        """One pass of the sender.

        Raises:
            Conflict: nothing is named that could sign.
            LotusWrongNetwork: the node serves another chain by now.
        """
        if self.sender is None:
            raise Conflict("payouts.signer names nothing that could sign")
        # a pass must not mix two nodes' heads, nonces and mempools
        async with self.moving, self.chain.pinned():
            await self.same_chain.check()
            return await self.sender.step()

    async def approve(self, digest: str, approver: str, at_epoch: Epoch) -> Batch:
        """Approve a planned batch; see `PayoutRepository.approve`. No plan is made meanwhile.

        Raises:
            BatchRefused: as there.
        """
        async with self.moving:
            return await self.payouts.approve(digest, approver, at_epoch)

    async def accept(self, nonce: int) -> Reconciliation:
        """Accept what others did with the wallet; see `Reconciler.accept`.

        Raises:
            Conflict: as there, or no payout wallet is named.
        """
        if self.reconciler is None:
            raise Conflict("payouts.wallet names no address")
        async with self.moving:
            return await self.reconciler.accept(nonce)

    async def plan_step(self) -> bool:
        """Make a plan where payouts are on, and approve it where no person must."""
        if not self.config.enabled or self.planner is None:
            return False
        async with self.moving:
            return await self._plan_step(self.planner)

    async def _plan_step(self, planner: Planner) -> bool:
        await self.same_chain.check()
        holds = {} if self.config.require_approval else await self._failed_before()
        planned = await planner.plan(holds)
        if planned.batch.items and not self.config.require_approval and not self.config.dry_run:
            head = await self.chain.head()
            await self.payouts.approve(
                planned.digest, "payouts.require_approval=false", head.height
            )
            log.info("payouts_approved_by_configuration", digest=planned.digest)
        return False

    async def _failed_before(self) -> dict[Address, str]:
        """Payees whose last payout failed: without a person it would be tried, and its gas lost, again and again."""
        decided = sorted(
            (payout for payout in await self.payouts.payouts(*TERMINAL)),
            key=lambda payout: payout.height or 0,
        )
        last = {payout.payee: payout for payout in decided}
        return {
            payee: f"failed: exit code {payout.exit_code} before; plan and approve it by hand"
            for payee, payout in last.items()
            if payout.state is PayoutState.FAILED
        }

    async def send_step(self) -> bool:
        """One pass of the sender."""
        if not self.config.enabled or self.sender is None:
            return False
        report = await self.send()
        if report.signed or report.settled or report.replaced or report.reverted:
            log.info(
                "payouts_moved",
                signed=report.signed,
                settled=report.settled,
                replaced=report.replaced,
                reverted=report.reverted,
            )
        return False

    async def float_warning(self) -> str:
        """Why the payout wallet should be looked at: it holds more than `max_float_fil`. Empty if it does not."""
        if self.config.wallet is None:
            return ""
        balance, most = await self.chain.balance(self.config.wallet), self.config.max_float_fil
        if balance <= most:
            return ""
        return (
            f"the payout wallet holds {balance.to_fil()} FIL, more than payouts.max_float_fil "
            f"({most.to_fil()}): whoever takes its key takes all of it; send the rest back to the owner"
        )

    async def funding_step(self) -> bool:
        """Book what arrived in the payout wallet up to the newest final tipset."""
        if not self.config.enabled or self.funding is None:
            return False
        async with self.moving:
            await self.same_chain.check()
            report = await self.funding.step()
        if report.problem:
            await self.alert("wallet_unexplained", report.problem)
        return False


async def open_treasury(
    config: PayoutsConfig,
    chain: LotusClient,
    store: Store,
    *,
    provider: ActorId,
    network: str,
    genesis: Cid,
    same_chain: SameChain,
    agreement: Agreement | None = None,
) -> Treasury:
    """The treasury of a provider on the network of that name and genesis; `agreement` is asked before it signs.

    Raises:
        SignerError, BadInput: the signer that the config names cannot be used.
    """
    ledger, payouts, alert = LedgerRepository(store), PayoutRepository(store), Alerts()
    if config.wallet is None:
        return Treasury(
            config, chain, ledger, payouts, None, None, None, None, None, same_chain, alert
        )
    signer, wallet = _signer(config)
    limits = Limits(
        minimum=config.minimum_payout_fil,
        max_fee=config.max_fee_fil,
        per_payout=config.max_per_payout_fil,
        per_day=config.max_per_day_fil,
        per_payee_per_day=config.max_per_payee_per_day_fil,
    )
    planner = Planner(
        chain,
        ledger,
        payouts,
        network=network,
        provider=provider,
        wallet=config.wallet,
        limits=limits,
    )
    sender = None
    if signer is not None:
        settings = SenderSettings(
            config.wallet,
            FeePolicy(config.max_fee_fil),
            enabled=config.enabled and not config.dry_run,
            genesis=genesis,
        )
        sender = Sender(chain, signer, payouts, settings, alert, agreement=agreement)
    funding = FundingWatcher(chain, payouts, ledger, config.wallet)
    reconciler = Reconciler(chain, payouts, ledger, config.wallet)
    return Treasury(
        config,
        chain,
        ledger,
        payouts,
        planner,
        sender,
        funding,
        reconciler,
        wallet,
        same_chain,
        alert,
    )


async def shared_keys(
    wallet: WalletEndpoint, chain: LotusClient, provider: ActorId
) -> tuple[Address, ...]:
    """Keys in the signer's wallet that also are the provider's owner, worker, control or beneficiary."""
    info = await chain.miner_info(provider)
    critical: set[Address] = set()
    for address in {info.owner, info.worker, info.beneficiary.address, *info.control_addresses}:
        critical |= (
            {address, await chain.account_key(address)} if address.protocol == 0 else {address}
        )
    return tuple(key for key in await wallet.keys() if key in critical)


def _signer(config: PayoutsConfig) -> tuple[Signer | None, WalletEndpoint | None]:
    if config.signer.api_info_file is not None:
        wallet = connect_wallet(config.signer.api_info_file)
        return NodeSigner(wallet), wallet
    if config.signer.key_file is not None:
        key = KeySigner.from_file(config.signer.key_file.path)
        if key.address != config.wallet:
            raise BadInput(
                f"payouts.signer.key_file is the key of {key.address}, not of payouts.wallet"
            )
        return key, None
    return None, None
