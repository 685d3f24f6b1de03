"""What became of signed payouts: executed, taken back by a reorg, or final and booked. Only the chain says."""

from __future__ import annotations

from typing import Final

from lotus_client.chain import TipSet
from lotus_client.state import MessageLookup
from lotus_client.types import AttoFil
from sp_plugin.ledger import Draft
from sp_plugin.payouts.booking import fee_draft, payment_draft
from sp_plugin.payouts.fees import gas_cost
from sp_plugin.payouts.passes import Alert, StepReport
from sp_plugin.payouts.ports import PayoutChain, find_actor
from sp_plugin.payouts.states import UNDECIDED, Payout, PayoutState
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["PayoutFollower"]

_FINALITY: Final = 900  # epochs; a reorg is never deeper (Lotus build/buildconstants)


class PayoutFollower:
    """Follows the messages of payouts on the chain."""

    def __init__(self, chain: PayoutChain, payouts: PayoutRepository, alert: Alert) -> None:
        self._chain = chain
        self._payouts = payouts
        self._alert = alert

    async def follow(self, head: TipSet, report: StepReport) -> None:
        """Record what was executed or taken back as of `head`, and book what is final."""
        undecided = await self._payouts.payouts(*UNDECIDED)
        if not undecided:
            return
        final = await self._chain.finalized_tipset()
        for payout in undecided:
            lookup = await self.execution_of(payout, head)
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

    async def execution_of(self, payout: Payout, head: TipSet) -> MessageLookup | None:
        """The execution of one of the payout's messages; None while there is none."""
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


def _payout_draft(payout: Payout, lookup: MessageLookup) -> Draft:
    return payment_draft(
        f"payout:{payout.id}",
        payout.payee,
        payout.amount,
        message=lookup.message,
        epoch=lookup.height,
        memo=f"batch {payout.batch}",
    )


def _fee_draft(payout: Payout, lookup: MessageLookup, gas: AttoFil) -> Draft:
    return fee_draft(lookup.message, lookup.height, gas, f"gas of payout {payout.id}")
