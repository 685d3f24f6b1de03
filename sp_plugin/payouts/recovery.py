"""After a halt: what the wallet really did, booked from the chain, so that sending can go on without paying anybody again.

A database restored from a backup has forgotten payouts that were made; another program may have used the key. Every
message of the wallet that we do not know is found by its nonce in final states and booked: a transfer to a payee as a
payout, anything else as a withdrawal. Approved payouts are held, because the next plan must see these bookings first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import METHOD_SEND, Message
from lotus_client.state import ChainMessage, MessageLookup
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import (
    PAYOUT_WALLET,
    PROVIDER,
    Account,
    Draft,
    Entry,
    EntryKind,
    Posting,
    message_ref,
    payee_of,
)
from sp_plugin.payouts.booking import fee_draft, payment_draft
from sp_plugin.payouts.fees import gas_cost
from sp_plugin.payouts.ports import FundingChain, find_actor
from sp_plugin.payouts.states import UNDECIDED, Payout, PayoutState
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["Recovered", "Recovery", "RecoveryChain"]


class RecoveryChain(FundingChain, Protocol):
    """The reads that tell what a wallet sent."""

    async def messages_in_tipset(self, tsk: TipSetKey, /) -> Collection[ChainMessage]: ...
    async def search_msg(
        self, cid: Cid, /, *, limit: int = -1, allow_replaced: bool = False
    ) -> MessageLookup | None: ...


@dataclass(slots=True)
class Recovered:
    """What was found: message CIDs by what they were booked as, payout ids that were held or given up, what waits."""

    payouts: list[str] = field(default_factory=list)
    withdrawals: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    accepted_nonce: int = 0


_BEGINNINGS: Final = frozenset({EntryKind.RELEASE, EntryKind.OPENING, EntryKind.FUNDING})


@dataclass(frozen=True, slots=True)
class _Found:
    message: ChainMessage
    exit_code: int
    gas: AttoFil
    lookup: MessageLookup


class Recovery:
    """Recovers the history of one wallet."""

    def __init__(
        self,
        chain: RecoveryChain,
        payouts: PayoutRepository,
        ledger: LedgerRepository,
        wallet: Address,
    ) -> None:
        self._chain = chain
        self._payouts = payouts
        self._ledger = ledger
        self._wallet = wallet

    async def recover(self) -> Recovered:
        """Book what the wallet sent up to the newest final tipset, and let sending go on. Safe to repeat.

        What is not final yet stays as it is: the next pass of the sender halts again while it does not fit.
        """
        report = Recovered()
        final = await self._chain.finalized_tipset()
        actor = await find_actor(self._chain, self._wallet, final.key)
        used = 0 if actor is None else actor.nonce
        state = await self._payouts.open_wallet(self._wallet, used)
        entries = await self._ledger.entries()
        for payout in await self._payouts.payouts(PayoutState.APPROVED):
            await self._payouts.hold(payout.id, "reconciled: plan again")
            report.held.append(payout.id)
        known = {p.nonce: p for p in await self._payouts.payouts() if p.wallet == self._wallet}
        low = await self._start(entries, final)
        first = (
            0 if (at := await find_actor(self._chain, self._wallet, low.key)) is None else at.nonce
        )
        for nonce in range(first, used):
            mine = known.get(nonce)
            if mine is not None and mine.state not in UNDECIDED:
                continue
            found = await self._find(nonce, low, final)
            if mine is not None:
                await self._decide(mine, found, report)
                if report.settled[-1:] == [mine.id]:
                    continue
            await self._book(found, entries, nonce < state.base_nonce, report)
        report.accepted_nonce = max(used, state.base_nonce)
        await self._payouts.accept_nonce(self._wallet, report.accepted_nonce)
        return report

    async def _start(self, entries: list[Entry], final: TipSet) -> TipSet:
        """A tipset before everything that may have to be booked.

        Nobody can have been paid before anything was released, and what the wallet lost since it was first seen is not in its
        opening balance.
        """
        epochs = [e.draft.epoch for e in entries if e.draft.kind in _BEGINNINGS]
        seen = await self._payouts.funding_checkpoint(self._wallet)
        lowest = min([*epochs, *([] if seen is None else [seen[0]]), final.height])
        return await self._chain.tipset_by_height(Epoch(lowest), final.key)

    async def _find(self, nonce: int, low: TipSet, final: TipSet) -> _Found:
        """The message that used `nonce` up, by bisection: the nonce in final states only grows."""
        while final.parents != low.key:
            middle = Epoch((low.height + final.height) // 2)
            between = await self._chain.tipset_by_height(middle, final.key)
            if between.height <= low.height:
                between = await self._chain.tipset_after_height(Epoch(middle + 1), final.key)
            if between.height >= final.height:
                break
            actor = await find_actor(self._chain, self._wallet, between.key)
            if actor is not None and actor.nonce > nonce:
                final = between
            else:
                low = between
        inclusion = await self._chain.tipset(final.parents)
        messages = await self._chain.messages_in_tipset(inclusion.key)
        ours = (m for m in messages if m.message.nonce == nonce)
        found = next(m for m in ours if m.message.from_ == self._wallet)
        lookup = await self._chain.search_msg(found.cid, allow_replaced=False)
        if lookup is None:
            raise LookupError(f"the node does not find message {found.cid} that it included")
        base_fee = inclusion.blocks[0].parent_base_fee
        gas = gas_cost(found.message, lookup.receipt.gas_used, base_fee)
        return _Found(found, lookup.receipt.exit_code, gas, lookup)

    async def _decide(self, payout: Payout, found: _Found, report: Recovered) -> None:
        """The fate of a payout whose nonce is used up: by a replacement that we forgot, or by something else."""
        message = found.message.message
        if (message.to, message.value, message.method) == (
            payout.payee,
            payout.amount,
            METHOD_SEND,
        ):
            paid = found.exit_code == 0
            await self._payouts.record_included(payout.id, found.lookup)
            drafts = [_fee(found)] if found.gas else []
            if paid:
                drafts.append(_transfer(f"payout:{payout.id}", payout.payee, found, PAYOUT_WALLET))
            state = PayoutState.FINAL if paid else PayoutState.FAILED
            await self._payouts.settle(payout.id, state, found.gas, drafts)
            report.settled.append(payout.id)
            return
        await self._payouts.record_impossible(
            payout.id, f"its nonce was used by message {found.message.cid}"
        )
        report.failed.append(payout.id)

    async def _book(
        self, found: _Found, entries: list[Entry], before_us: bool, report: Recovered
    ) -> None:
        message, cid = found.message.message, str(found.message.cid)
        if await self._ledger.get(f"recovered:{cid}") is not None:
            return
        # What left before the wallet was first seen is not in its opening balance.
        source = PROVIDER if before_us else PAYOUT_WALLET
        drafts = [] if before_us or not found.gas else [_fee(found)]
        if found.exit_code == 0 and message.value:
            if message.method == METHOD_SEND and _is_payee(message, entries):
                drafts.append(_transfer(f"recovered:{cid}", message.to, found, source))
                report.payouts.append(cid)
            elif not before_us:
                drafts.append(_withdrawal(f"recovered:{cid}", found))
                report.withdrawals.append(cid)
        await self._ledger.append(drafts)


def _is_payee(message: Message, entries: list[Entry]) -> bool:
    accounts = {p.account for entry in entries for p in entry.draft.postings}
    return message.to in {payee_of(account) for account in accounts}


def _transfer(key: str, payee: Address, found: _Found, source: Account) -> Draft:
    return payment_draft(
        key,
        payee,
        found.message.message.value,
        source=source,
        message=found.message.cid,
        epoch=found.lookup.height,
        memo="found on chain by `payouts reconcile`",
    )


def _withdrawal(key: str, found: _Found) -> Draft:
    value = found.message.message.value
    return Draft(
        key=key,
        kind=EntryKind.WITHDRAWAL,
        epoch=found.lookup.height,
        postings=(Posting(PROVIDER, value), Posting(PAYOUT_WALLET, -value)),
        refs=(message_ref(found.message.cid),),
        memo=f"to {found.message.message.to}, by whoever else holds the key",
    )


def _fee(found: _Found) -> Draft:
    memo = "gas of a message found by `payouts reconcile`"
    return fee_draft(found.message.cid, found.lookup.height, found.gas, memo)
