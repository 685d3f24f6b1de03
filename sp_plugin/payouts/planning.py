"""Planning: observes ledger, wallet and miner, decides, and keeps the plan as a batch to approve. Sends nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.types import EPOCHS_PER_DAY, ActorId, AttoFil, Epoch
from sp_plugin.ledger import PAYOUT_WALLET, Entry, EntryKind
from sp_plugin.payouts.batch import Batch, BatchItem
from sp_plugin.payouts.decide import Decision, Limits, Plan, Purse, Spent, decide_payouts, dues_of
from sp_plugin.payouts.funding import withdraw_commands
from sp_plugin.payouts.ports import find_actor
from sp_plugin.payouts.recipients import RecipientReader, unpayable
from sp_plugin.payouts.states import UNDECIDED, Payout, PayoutState
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["PlannedBatch", "Planner", "PlanningChain"]

_APPROVE_WITHIN: Final = (
    EPOCHS_PER_DAY  # a plan that nobody approved for a day is too old to approve
)


class PlanningChain(RecipientReader, Protocol):
    """The reads that planning needs."""

    async def finalized_tipset(self) -> TipSet: ...
    async def available_balance(self, provider: ActorId, tsk: TipSetKey, /) -> AttoFil: ...


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A plan, the batch of its payments, and what the operator types if money lacks."""

    batch: Batch
    digest: str
    plan: Plan
    float_: AttoFil
    withdrawable: AttoFil
    commands: tuple[str, ...]


class Planner:
    """Makes batches for one wallet of one provider."""

    def __init__(
        self,
        chain: PlanningChain,
        ledger: LedgerRepository,
        payouts: PayoutRepository,
        *,
        network: str,
        provider: ActorId,
        wallet: Address,
        limits: Limits,
    ) -> None:
        self._chain = chain
        self._ledger = ledger
        self._payouts = payouts
        self._network = network
        self._provider = provider
        self._wallet = wallet
        self._limits = limits
        self._lock = asyncio.Lock()  # a person's plan and the periodic one

    async def plan(self, holds: Mapping[Address, str] | None = None) -> PlannedBatch:
        """Decide what to pay now and keep it; an older plan that nobody approved is superseded.

        `holds` are payees not to be paid now, with the reason they can see.

        Raises:
            IllegalTransition: a payout of it was approved meanwhile; nothing was changed, plan again.
        """
        async with self._lock:
            return await self._plan(holds or {})

    async def _plan(self, holds: Mapping[Address, str]) -> PlannedBatch:
        final = await self._chain.finalized_tipset()
        # The payouts are read before the ledger: one that is booked meanwhile is then taken off twice in this plan.
        # The other way round it would be taken off not at all, and paid again.
        known = await self._payouts.payouts()
        entries = await self._ledger.entries()
        under_way = [payout for payout in known if payout.state in _PROMISED]
        dues = dues_of(entries, _by_payee(under_way))
        refused = await unpayable(
            self._chain,
            [due.payee for due in dues],
            provider=self._provider,
            wallet=self._wallet,
            final=final.key,
        )
        purse = await self._purse(final, entries, under_way)
        plan = decide_payouts(
            dues, self._limits, purse, await self._spent(final), {**holds, **refused}
        )
        number = len([e for e in entries if e.draft.key.startswith("payout:")])
        made = [self._payout(d, f"{number}.{len(known)}") for d in plan.decisions]
        open_ = {p.payee: p.id for p in known if p.state in _OPEN}
        payouts = [_renamed(payout, open_.get(payout.payee)) for payout in made]
        batch = await self._batch(payouts, known, final.height)
        await self._payouts.save_plan(batch, payouts)
        assert purse.withdrawable is not None
        commands = withdraw_commands(Address.of_id(self._provider), self._wallet, plan.lacking)
        return PlannedBatch(batch, batch.digest(), plan, purse.float_, purse.withdrawable, commands)

    async def _purse(
        self, final: TipSet, entries: Sequence[Entry], under_way: Sequence[Payout]
    ) -> Purse:
        actor = await find_actor(self._chain, self._wallet, final.key)
        balance = 0 if actor is None else actor.balance.value
        # What is under way may not show in the final balance yet, so its whole cost is set aside.
        promised = sum(p.amount.value + self._limits.max_fee.value for p in under_way)
        withdrawn = sum(
            posting.amount.value
            for entry in entries
            if entry.draft.kind in _FROM_MINER
            for posting in entry.draft.postings
            if posting.account == PAYOUT_WALLET
        )
        available = await self._chain.available_balance(self._provider, final.key)
        return Purse(AttoFil(balance - promised), available, AttoFil(withdrawn - promised))

    async def _spent(self, final: TipSet) -> Spent:
        recent = await self._payouts.approved_since(Epoch(final.height - EPOCHS_PER_DAY))
        by_payee = _by_payee(recent)
        return Spent(AttoFil(sum(a.value for a in by_payee.values())), by_payee)

    def _payout(self, decision: Decision, place: str) -> Payout:
        name = f"{self._network}/{self._wallet}/{decision.payee}/{place}"
        return Payout(
            id=hashlib.sha256(name.encode()).hexdigest()[:32],
            payee=decision.payee,
            amount=decision.amount,
            state=PayoutState.HELD if decision.held else PayoutState.PLANNED,
            reason=decision.held,
        )

    def _same(self, batch: Batch, items: tuple[BatchItem, ...]) -> bool:
        here = (self._network, self._wallet, items)
        return (batch.network, batch.wallet, batch.items) == here

    async def _batch(self, payouts: list[Payout], known: list[Payout], at: Epoch) -> Batch:
        """The batch of the payments; the last one again if it pays the same, so that its digest stays good."""
        planned = [payout for payout in payouts if payout.state is PayoutState.PLANNED]
        items = tuple(BatchItem(p.id, p.payee, p.amount) for p in planned)
        for digest in {p.batch for p in known if p.state is PayoutState.PLANNED and p.batch}:
            last = await self._payouts.batch(digest)
            if last is not None and last.expires > at and self._same(last, items):
                return last
        total = AttoFil(sum(item.amount.value for item in items))
        return Batch(self._network, self._wallet, items, total, at, Epoch(at + _APPROVE_WITHIN))


_OPEN: Final = frozenset({PayoutState.PLANNED, PayoutState.HELD})
_PROMISED: Final = frozenset({PayoutState.APPROVED, *UNDECIDED})
# What came out of the miner into the wallet, and what was spent of it.
_FROM_MINER: Final = frozenset(
    {EntryKind.FUNDING, EntryKind.PAYOUT, EntryKind.WITHDRAWAL, EntryKind.FEE}
)


def _by_payee(payouts: Sequence[Payout]) -> dict[Address, AttoFil]:
    sums: dict[Address, AttoFil] = {}
    for payout in payouts:
        sums[payout.payee] = sums.get(payout.payee, AttoFil(0)) + payout.amount
    return sums


def _renamed(payout: Payout, open_id: str | None) -> Payout:
    """The payee's open payout, if it has one, is planned anew instead of making a second."""
    if open_id is None:
        return payout
    return replace(payout, id=open_id)
