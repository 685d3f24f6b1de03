"""The sender: one pass observes, follows, pushes, replaces and signs, in this order, and can stop anywhere.

Every decision is made from the store and the chain, nothing is remembered between passes, so a restart is just the
next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.errors import (
    LotusRpcError,
    LotusUnauthorized,
    LotusUnavailable,
    LotusWrongNetwork,
)
from lotus_client.messages import METHOD_SEND, Message, SignedMessage
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import (
    FEES,
    PAYOUT_WALLET,
    Account,
    Draft,
    EntryKind,
    Posting,
    message_ref,
    payable,
)
from sp_plugin.payouts.fees import FeePolicy, gas_cost, replacement_of
from sp_plugin.payouts.ports import PayoutChain, Signer, find_actor
from sp_plugin.payouts.signer import SignerError
from sp_plugin.payouts.states import UNDECIDED, IllegalTransition, Payout, PayoutState
from sp_plugin.store.payout_wallets import SendingStopped
from sp_plugin.store.payouts import NonceTaken, PayoutRepository, StoredMessage

__all__ = ["Agreement", "Sender", "SenderSettings", "StepReport"]

_NONCES_IN_FLIGHT: Final = (
    4  # a node takes at most this nonce gap from a sender (Lotus messagepool)
)

_FINALITY: Final = 900  # epochs; a reorg is never deeper (Lotus build/buildconstants)

Alert = Callable[[str, str], Awaitable[None]]  # (event, text)
Agreement = Callable[
    [Address], Awaitable[str]
]  # why nothing may be signed for this wallet; "" if it may


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What the operator decided. Nothing is signed or pushed unless `enabled`.

    Signed bytes do not say for which network they are: with `genesis`, a node of another one is never given any.
    """

    wallet: Address
    fees: FeePolicy
    enabled: bool = False
    genesis: Cid | None = None  # of the network that the payouts are for


@dataclass(slots=True)
class StepReport:
    """What one pass did, or in a dry run would have done, as payout ids; `stopped` says why nothing was sent."""

    pushed: list[str] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    included: list[str] = field(default_factory=list)
    reverted: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    would_send: list[str] = field(default_factory=list)
    stopped: str = ""


async def _no_alert(_event: str, _text: str) -> None:
    return None


class Sender:
    """Sends approved payouts of one wallet, each exactly once."""

    def __init__(
        self,
        chain: PayoutChain,
        signer: Signer,
        payouts: PayoutRepository,
        settings: SenderSettings,
        alert: Alert = _no_alert,
        *,
        agreement: Agreement | None = None,
    ) -> None:
        """`agreement` is asked before anything new is signed; what it says against it stops the pass, and is an alert."""
        self._chain = chain
        self._signer = signer
        self._payouts = payouts
        self._settings = settings
        self._alert = alert
        self._agreement = agreement
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
            await self._follow(head, report)
            if reason := await self._why_stopped(head):
                report.stopped = reason
                return report
            if not self._settings.enabled:
                report.stopped = "dry run: set payouts.enabled to send"
                approved = await self._payouts.payouts(PayoutState.APPROVED)
                report.would_send = [payout.id for payout in approved]
                return report
            if await self._push_waiting(head, report):
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

    # -- follow ---------------------------------------------------------------------------------------------------

    async def _follow(self, head: TipSet, report: StepReport) -> None:
        undecided = await self._payouts.payouts(*UNDECIDED)
        if not undecided:
            return
        final = await self._chain.finalized_tipset()
        for payout in undecided:
            lookup = await self._execution_of(payout, head)
            if lookup is None:
                if payout.state is PayoutState.INCLUDED:
                    await self._payouts.record_reverted(payout.id)
                    report.reverted.append(payout.id)
                continue
            if (payout.message, payout.tipset) != (lookup.message, lookup.tipset):
                await self._payouts.record_included(payout.id, lookup)
                report.included.append(payout.id)
            if await self._is_final(lookup, final):
                await self._settle(payout, lookup)
                report.settled.append(payout.id)

    async def _execution_of(self, payout: Payout, head: TipSet) -> MessageLookup | None:
        for message in await self._payouts.messages(payout.id):
            # It cannot have been executed before it was signed, save for what a reorg takes back.
            lookback = max(0, head.height - message.signed_at) + _FINALITY
            lookup = await self._chain.search_msg(message.cid, limit=lookback, allow_replaced=False)
            if lookup is not None and lookup.message == message.cid:
                return lookup if await self._used_nonce(payout, lookup) else None
        return None

    async def _used_nonce(self, payout: Payout, lookup: MessageLookup) -> bool:
        """Whether the execution used the nonce up. One refused before it began (wallet empty, gas limit below the least)
        leaves a receipt too, but the same bytes can be executed later, so it decides nothing.

        Source: ref-fvm `executor/default.rs` (`preflight_message`).
        """
        assert payout.wallet is not None
        assert payout.nonce is not None
        sender = await find_actor(self._chain, payout.wallet, lookup.tipset)
        return sender is not None and sender.nonce > payout.nonce

    async def _is_final(self, lookup: MessageLookup, final: TipSet) -> bool:
        if lookup.height > final.height:
            return False
        there = await self._chain.tipset_by_height(lookup.height, final.key)
        return there.key == lookup.tipset

    async def _settle(self, payout: Payout, lookup: MessageLookup) -> None:
        messages = await self._payouts.messages(payout.id)
        message = next(m.signed.message for m in messages if m.cid == lookup.message)
        execution = await self._chain.tipset(lookup.tipset)
        inclusion = await self._chain.tipset(execution.parents)
        gas = gas_cost(message, lookup.receipt.gas_used, inclusion.blocks[0].parent_base_fee)
        paid = lookup.receipt.exit_code == 0
        drafts = [_fee_draft(payout, lookup, gas)] if gas else []
        if paid:
            drafts.insert(0, _payout_draft(payout, lookup))
        else:
            text = f"payout {payout.id} to {payout.payee}: exit code {lookup.receipt.exit_code}"
            await self._alert("payout_failed", text)
        state = PayoutState.FINAL if paid else PayoutState.FAILED
        await self._payouts.settle(payout.id, state, gas, drafts)

    # -- reconcile ------------------------------------------------------------------------------------------------

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
            if await self._execution_of(payout, head) is None and await self._is_head(head):
                return (
                    f"nonce {payout.nonce} of {wallet} was used by a message that is not payout {payout.id}: "
                    "it was not paid by us; look at the wallet's messages, then `payouts reconcile`"
                )
        return ""

    async def _is_head(self, head: TipSet) -> bool:
        return (await self._chain.head()).key == head.key

    # -- push and sign --------------------------------------------------------------------------------------------

    async def _push_waiting(self, head: TipSet, report: StepReport) -> bool:
        """Push stored bytes that no node has; return whether all undecided payouts are with a node now."""
        all_pushed = True
        pool_nonce = await self._chain.mpool_nonce(self._settings.wallet)
        for payout in await self._payouts.payouts(PayoutState.SIGNED, PayoutState.SENT):
            newest = (await self._payouts.messages(payout.id))[-1]
            assert payout.nonce is not None
            if newest.pushed and pool_nonce > payout.nonce:
                await self._replace_if_stuck(payout, newest, head, report)
                continue
            if await self._push(payout, newest.signed):
                report.pushed.append(payout.id)
            else:
                all_pushed = False
        return all_pushed

    async def _push(self, payout: Payout, signed: SignedMessage) -> bool:
        try:
            await self._chain.mpool_push(signed)
        except LotusUnavailable:
            return False  # perhaps it arrived: the next pass pushes the same bytes
        except LotusUnauthorized as error:
            text = f"payout {payout.id} waits for a node token with the permission write: {error}"
            await self._alert("payout_push_forbidden", text)
            return False
        except LotusRpcError as error:
            # The refusal is not an answer to "was it paid?": only the chain is. The bytes stay as they are.
            if not await self._is_waiting(signed):
                await self._alert("payout_push_refused", f"payout {payout.id}: {error}")
                return False
        await self._payouts.record_pushed(payout.id, signed.cid)
        return True

    async def _is_waiting(self, signed: SignedMessage) -> bool:
        """Whether the node has these very bytes; it refuses them a second time (Lotus `messagepool`, `msgSet.add`)."""
        return any(message.cid == signed.cid for message in await self._chain.mpool_pending())

    async def _replace_if_stuck(
        self, payout: Payout, newest: StoredMessage, head: TipSet, report: StepReport
    ) -> None:
        policy = self._settings.fees
        if head.height - newest.signed_at < policy.replace_after_epochs:
            return
        base_fee = head.blocks[0].parent_base_fee
        message = replacement_of(newest.signed.message, base_fee, policy)
        if message is None:
            await self._alert("payout_stuck", f"payout {payout.id} is stuck and at its fee cap")
            return
        signed = await self._sign(payout, message)
        if signed is None:
            return
        try:
            await self._payouts.record_replacement(payout.id, signed, head.height)
        except (SendingStopped, IllegalTransition):
            return
        report.replaced.append(payout.id)
        await self._push(payout, signed)

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
        signed = await self._sign(payout, message)
        if signed is None:
            return False
        try:
            await self._payouts.record_signed(payout.id, signed, head.height)
        except (NonceTaken, SendingStopped, IllegalTransition):
            return False  # somebody was faster; our bytes were never sent and are forgotten
        report.signed.append(payout.id)
        if await self._push(payout, signed):
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

    async def _sign(self, payout: Payout, message: Message) -> SignedMessage | None:
        try:
            return SignedMessage(message, await self._signer.sign(message))
        except SignerError as error:
            await self._alert("payout_signer", f"payout {payout.id}: {error}")
            return None


def _payout_draft(payout: Payout, lookup: MessageLookup) -> Draft:
    return Draft(
        key=f"payout:{payout.id}",
        kind=EntryKind.PAYOUT,
        epoch=lookup.height,
        postings=(
            Posting(payable(payout.payee), payout.amount),
            Posting(PAYOUT_WALLET, -payout.amount),
        ),
        refs=(message_ref(lookup.message),),
        memo=f"batch {payout.batch}",
    )


def _fee_draft(payout: Payout, lookup: MessageLookup, gas: AttoFil) -> Draft:
    postings: tuple[tuple[Account, AttoFil], ...] = ((FEES, gas), (PAYOUT_WALLET, -gas))
    return Draft(
        key=f"fee:{lookup.message}",
        kind=EntryKind.FEE,
        epoch=Epoch(lookup.height),
        postings=tuple(Posting(account, amount) for account, amount in postings),
        refs=(message_ref(lookup.message),),
        memo=f"gas of payout {payout.id}",
    )
