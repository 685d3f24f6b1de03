"""The sender: one pass observes, follows, pushes, replaces and signs, in this order, and can stop anywhere.

Every decision is made from the store and the chain, nothing is remembered between passes, so a restart is just the
next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.errors import LotusRpcError, LotusWrongNetwork
from lotus_client.messages import METHOD_SEND, Message
from lotus_client.types import AttoFil
from sp_plugin.payouts.following import PayoutFollower
from sp_plugin.payouts.outbox import Outbox
from sp_plugin.payouts.passes import Alert, SenderSettings, StepReport, no_alert
from sp_plugin.payouts.ports import PayoutChain, Signer, find_actor
from sp_plugin.payouts.states import UNDECIDED, IllegalTransition, Payout, PayoutState
from sp_plugin.store.payout_wallets import SendingStopped
from sp_plugin.store.payouts import NonceTaken, PayoutRepository

__all__ = ["Agreement", "Sender"]

_NONCES_IN_FLIGHT: Final = (
    4  # a node takes at most this nonce gap from a sender (Lotus messagepool)
)

Agreement = Callable[
    [Address], Awaitable[str]
]  # why nothing may be signed for this wallet; "" if it may


class Sender:
    """Sends approved payouts of one wallet, each exactly once."""

    def __init__(
        self,
        chain: PayoutChain,
        signer: Signer,
        payouts: PayoutRepository,
        settings: SenderSettings,
        alert: Alert = no_alert,
        *,
        agreement: Agreement | None = None,
    ) -> None:
        """`agreement` is asked before anything new is signed; what it says against it stops the pass, and is an alert."""
        self._chain = chain
        self._payouts = payouts
        self._settings = settings
        self._alert = alert
        self._agreement = agreement
        self._follower = PayoutFollower(chain, payouts, alert)
        self._outbox = Outbox(chain, signer, payouts, settings, alert)
        self._lock = asyncio.Lock()

    async def step(self) -> StepReport:
        """One pass. Safe to repeat, to interrupt anywhere and to run again after a crash.

        Raises:
            LotusWrongNetwork: the node serves another network than at the start.
            LotusError: the node could not be asked; nothing is lost, call again.
        """
        report = StepReport()
        async with self._lock:
            await self._refuse_other_network()
            head = await self._chain.head()
            await self._follower.follow(head, report)
            if reason := await self._why_stopped(head):
                report.stopped = reason
                return report
            if not self._settings.enabled:
                report.stopped = "dry run: set payouts.enabled to send"
                approved = await self._payouts.payouts(PayoutState.APPROVED)
                report.would_send = [payout.id for payout in approved]
                return report
            if await self._outbox.push_waiting(head, report):
                report.stopped = await self._why_not_sign()
                if not report.stopped:
                    await self._sign_approved(head, report)
        return report

    async def _why_not_sign(self) -> str:
        """What speaks against signing new payouts by what this one node says; what is signed already is pushed anyway."""
        if self._agreement is None or not await self._payouts.payouts(PayoutState.APPROVED):
            return ""
        reason = await self._agreement(self._settings.wallet)
        if reason:
            await self._alert("nodes_disagree", f"payouts wait, nothing is signed: {reason}")
        return reason

    async def _refuse_other_network(self) -> None:
        expected = self._settings.genesis
        if expected is None:
            return
        there = (await self._chain.genesis()).key
        if tuple(there) != (expected,):
            raise LotusWrongNetwork(f"the node's genesis is {there}, expected {expected}")

    async def _why_stopped(self, head: TipSet) -> str:
        wallet = self._settings.wallet
        pool_nonce = await self._chain.mpool_nonce(wallet)
        state = await self._payouts.open_wallet(wallet, pool_nonce)
        if state.halted:
            return f"halted: {state.halted}"
        for payout in await self._payouts.payouts(*UNDECIDED):
            if payout.wallet != wallet:
                return (
                    f"payout {payout.id} of {payout.wallet} is still under way: name that wallet in payouts.wallet "
                    "until it is final"
                )
        reason = await self._foreign_use(head, pool_nonce, state.base_nonce)
        if reason:
            await self._payouts.set_halted(wallet, reason)
            await self._alert("payouts_halted", reason)
            return f"halted: {reason}"
        return "paused by the operator" if state.paused else ""

    async def _foreign_use(self, head: TipSet, pool_nonce: int, base_nonce: int) -> str:
        """Why the wallet's nonces do not fit what we signed; empty if they do."""
        wallet = self._settings.wallet
        expected = await self._next_nonce(base_nonce)
        if pool_nonce > expected:
            return (
                f"{wallet} has a message with nonce {pool_nonce - 1} that is not ours (ours end at "
                f"{expected - 1}): find out who else uses this key, then `payouts reconcile`"
            )
        actor = await find_actor(self._chain, wallet, head.key)
        used_up = 0 if actor is None else actor.nonce
        for payout in await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT):
            if payout.nonce is None or payout.nonce >= used_up:
                continue
            # The head may have moved since: only what is still unexplained at an unchanged head is foreign.
            if await self._follower.execution_of(payout, head) is None and await self._is_head(
                head
            ):
                return (
                    f"nonce {payout.nonce} of {wallet} was used by a message that is not payout {payout.id}: "
                    "it was not paid by us; look at the wallet's messages, then `payouts reconcile`"
                )
        return ""

    async def _is_head(self, head: TipSet) -> bool:
        return (await self._chain.head()).key == head.key

    async def _sign_approved(self, head: TipSet, report: StepReport) -> None:
        approved = await self._payouts.payouts(PayoutState.APPROVED)
        waiting = await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT)
        for payout in approved[: max(0, _NONCES_IN_FLIGHT - len(waiting))]:
            if not await self._sign_and_push(payout, head, report):
                return

    async def _sign_and_push(self, payout: Payout, head: TipSet, report: StepReport) -> bool:
        wallet = self._settings.wallet
        pool_nonce = await self._chain.mpool_nonce(wallet)
        state = await self._payouts.open_wallet(wallet, pool_nonce)
        nonce = await self._next_nonce(state.base_nonce)
        if pool_nonce > nonce:
            return False  # somebody else has just used the wallet: the next pass halts
        draft = Message(
            to=payout.payee, from_=wallet, nonce=nonce, value=payout.amount, method=METHOD_SEND
        )
        max_fee = self._settings.fees.max_fee
        try:
            message = await self._chain.estimate_gas(draft, max_fee)
        except LotusRpcError as error:
            await self._payouts.hold(payout.id, f"estimate: {error}")
            return True
        if reason := await self._why_not_send(payout, message, draft, head):
            await self._payouts.hold(payout.id, reason)
            return True
        signed = await self._outbox.sign(payout, message)
        if signed is None:
            return False
        try:
            await self._payouts.record_signed(payout.id, signed, head.height)
        except (NonceTaken, SendingStopped, IllegalTransition):
            return False  # somebody was faster; our bytes were never sent and are forgotten
        report.signed.append(payout.id)
        if await self._outbox.push(payout, signed):
            report.pushed.append(payout.id)
            return True
        return False

    async def _next_nonce(self, base_nonce: int) -> int:
        """The first nonce that nothing we know of has used."""
        ours = await self._payouts.highest_nonce(self._settings.wallet)
        return base_nonce if ours is None else max(base_nonce, ours + 1)

    async def _why_not_send(
        self, payout: Payout, message: Message, draft: Message, head: TipSet
    ) -> str:
        batch = None if payout.batch is None else await self._payouts.batch(payout.batch)
        if batch is None or batch.wallet != self._settings.wallet:
            return "wallet: this payout was approved for another wallet"
        if not message.is_same_call(draft):
            return "estimate: the node changed more than the gas fields"
        fee = message.gas_limit * message.gas_fee_cap.value
        if fee > self._settings.fees.max_fee.value:
            return f"fee: {AttoFil(fee).to_fil()} FIL is above the cap"
        actor = await find_actor(self._chain, self._settings.wallet, head.key)
        balance = 0 if actor is None else actor.balance.value
        for other in await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT):
            newest = (await self._payouts.messages(other.id))[-1]
            balance -= newest.signed.message.required_funds.value
        if balance < message.required_funds.value:
            return "unfunded"
        return ""
