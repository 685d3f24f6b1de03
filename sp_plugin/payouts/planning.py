"""Planning: observes ledger, wallet and miner, decides, and keeps the plan as a batch to approve. Sends nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.types import EPOCHS_PER_DAY, ActorId, AttoFil, Epoch
from sp_plugin.payouts.batch import Batch, BatchItem
from sp_plugin.payouts.decide import Decision, Limits, Plan, Purse, Spent, decide_payouts, dues_of
from sp_plugin.payouts.funding import withdraw_commands
from sp_plugin.payouts.ports import ActorReader, find_actor
from sp_plugin.payouts.states import UNDECIDED, Payout, PayoutState
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.payouts import PayoutRepository

__all__ = ["PlannedBatch", "Planner", "PlanningChain"]

_APPROVE_WITHIN: Final = (
    EPOCHS_PER_DAY  # a plan that nobody approved for a day is too old to approve
)


class PlanningChain(ActorReader, Protocol):
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

    async def plan(self, holds: Mapping[Address, str] | None = None) -> PlannedBatch:
        """Decide what to pay now and keep it; an older plan that nobody approved is superseded.

        `holds` are payees not to be paid now, with the reason they can see.
        """
        final = await self._chain.finalized_tipset()
        # In this order: a payout booked between the two reads is taken off twice; the other way round it would be taken
        # off not at all, and paid again.
        in_flight = await self._payouts.in_flight()
        entries = await self._ledger.entries()
        purse = await self._purse(final)
        plan = decide_payouts(
            dues_of(entries, in_flight), self._limits, purse, await self._spent(final), holds
        )
        number = len([e for e in entries if e.draft.key.startswith("payout:")])
        taken = len(await self._payouts.payouts())
        made = [self._payout(d, f"{number}.{taken}") for d in plan.decisions]
        open_ = {p.payee: p.id for p in await self._payouts.payouts(*_OPEN)}
        payouts = [_renamed(payout, open_.get(payout.payee)) for payout in made]
        batch = self._batch(payouts, final.height)
        await self._payouts.save_plan(batch, payouts)
        assert purse.withdrawable is not None
        commands = withdraw_commands(Address.of_id(self._provider), self._wallet, plan.lacking)
        return PlannedBatch(batch, batch.digest(), plan, purse.float_, purse.withdrawable, commands)

    async def _purse(self, final: TipSet) -> Purse:
        actor = await find_actor(self._chain, self._wallet, final.key)
        float_ = 0 if actor is None else actor.balance.value
        # What is under way may not show in the final balance yet, so its whole cost is set aside.
        for payout in await self._payouts.payouts(PayoutState.APPROVED, *UNDECIDED):
            float_ -= payout.amount.value + self._limits.max_fee.value
        available = await self._chain.available_balance(self._provider, final.key)
        return Purse(AttoFil(float_), available)

    async def _spent(self, final: TipSet) -> Spent:
        recent = await self._payouts.approved_since(Epoch(final.height - EPOCHS_PER_DAY))
        by_payee: dict[Address, AttoFil] = {}
        for payout in recent:
            by_payee[payout.payee] = by_payee.get(payout.payee, AttoFil(0)) + payout.amount
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

    def _batch(self, payouts: list[Payout], at: Epoch) -> Batch:
        planned = [payout for payout in payouts if payout.state is PayoutState.PLANNED]
        items = tuple(BatchItem(p.id, p.payee, p.amount) for p in planned)
        total = AttoFil(sum(item.amount.value for item in items))
        return Batch(self._network, self._wallet, items, total, at, Epoch(at + _APPROVE_WITHIN))


_OPEN: Final = (PayoutState.PLANNED, PayoutState.HELD)


def _renamed(payout: Payout, open_id: str | None) -> Payout:
    """The payee's open payout, if it has one, is planned anew instead of making a second."""
    if open_id is None:
        return payout
    return Payout(open_id, payout.payee, payout.amount, payout.state, reason=payout.reason)
