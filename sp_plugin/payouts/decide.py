"""What to pay now: balances, limits and float in, decisions out. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import Entry, payable, payee_of

__all__ = [
    "Decision",
    "Due",
    "Limits",
    "Plan",
    "Purse",
    "Spent",
    "decide_payouts",
    "dues_of",
]


@dataclass(frozen=True, slots=True)
class Due:
    """What one payee may be paid now, and since when the oldest part of it waits."""

    payee: Address
    amount: AttoFil
    since: Epoch


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits. `max_fee` is the most that one message may cost in gas."""

    minimum: AttoFil
    max_fee: AttoFil
    per_payout: AttoFil | None = None
    per_day: AttoFil | None = None
    per_payee_per_day: AttoFil | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was approved or sent in the last 2,880 epochs, in all and by payee."""

    total: AttoFil = AttoFil(0)
    by_payee: Mapping[Address, AttoFil] | None = None

    def to(self, payee: Address) -> AttoFil:
        """What `payee` got of it."""
        return (self.by_payee or {}).get(payee, AttoFil(0))


@dataclass(frozen=True, slots=True)
class Purse:
    """The money there is.

    `float_` is the payout wallet's final balance minus what undecided payouts may still take.
    `withdrawable` is what owner or beneficiary could take out of the miner now, `withdrawn` what was brought from
    there and is neither spent nor promised: together the most that may be paid, for nobody is paid from rewards that
    the miner could not withdraw, whatever else lies in the wallet. `withdrawable` is None while unknown: no such cap.
    """

    float_: AttoFil
    withdrawable: AttoFil | None = None
    withdrawn: AttoFil = AttoFil(0)


@dataclass(frozen=True, slots=True)
class Decision:
    """Pay `amount` to `payee`, or do not and say why (`held` is empty for a payment)."""

    payee: Address
    amount: AttoFil
    held: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions, oldest debt first, and what the wallet lacks to pay the unfunded ones too."""

    decisions: tuple[Decision, ...]
    lacking: AttoFil

    @property
    def payments(self) -> tuple[Decision, ...]:
        """The decisions to pay."""
        return tuple(decision for decision in self.decisions if not decision.held)

    @property
    def total(self) -> AttoFil:
        """The sum of all payments, without fees."""
        return AttoFil(sum(decision.amount.value for decision in self.payments))


def dues_of(entries: Iterable[Entry], in_flight: Mapping[Address, AttoFil]) -> tuple[Due, ...]:
    """What is due to each payee: released minus paid minus `in_flight`, oldest first.

    A payment covers the oldest release first; a deficit counts like a payment. Balances of zero or less are left out.
    """
    open_: defaultdict[Address, deque[list[int]]] = defaultdict(deque)  # [epoch, amount]
    taken: defaultdict[Address, int] = defaultdict(int)
    for payee, under_way in in_flight.items():
        taken[payee] += under_way.value
    for entry in entries:
        for posting in entry.draft.postings:
            payee_here = payee_of(posting.account)
            if payee_here is None or posting.account != payable(payee_here):
                continue
            if posting.amount.value < 0:
                open_[payee_here].append([entry.draft.epoch, -posting.amount.value])
            else:
                taken[payee_here] += posting.amount.value
    dues = []
    for payee, parts in open_.items():
        left = taken[payee]
        while parts and left >= parts[0][1]:
            left -= parts.popleft()[1]
        if parts:
            total = sum(part[1] for part in parts) - left
            dues.append(Due(payee, AttoFil(total), Epoch(parts[0][0])))
    return tuple(sorted(dues, key=lambda due: (due.since, due.payee)))


def decide_payouts(
    dues: Sequence[Due],
    limits: Limits,
    purse: Purse,
    spent: Spent = Spent(),
    holds: Mapping[Address, str] | None = None,
) -> Plan:
    """Whom to pay how much: oldest first, within every limit, never more than the float holds with fees.

    Once the float does not reach for one payee, all younger debts are held too, so that a large old debt is never
    overtaken. What a limit cuts off stays due for another day. Nothing below the minimum is paid or forfeited.
    """
    decider = _Decider(limits, purse, spent, holds or {})
    decisions = tuple(
        decider.decide(due) for due in sorted(dues, key=lambda due: (due.since, due.payee))
    )
    return Plan(decisions, AttoFil(max(0, decider.wanted - purse.float_.value)))


class _Decider:
    def __init__(
        self, limits: Limits, purse: Purse, spent: Spent, holds: Mapping[Address, str]
    ) -> None:
        self.limits = limits
        self.spent = spent
        self.holds = holds
        self.float_ = purse.float_.value
        self.day_left = None if limits.per_day is None else limits.per_day.value - spent.total.value
        self.released = (
            None
            if purse.withdrawable is None
            else max(0, purse.withdrawable.value) + max(0, purse.withdrawn.value)
        )
        self.unfunded = False
        self.wanted = 0

    def decide(self, due: Due) -> Decision:
        if reason := self._barred(due):
            return Decision(due.payee, due.amount, reason)
        amount, limit = self._within_limits(due)
        if amount < self.limits.minimum.value or amount <= 0:
            return Decision(due.payee, due.amount, f"limit: {limit}")
        need = amount + self.limits.max_fee.value
        self.wanted += need
        if self.unfunded or need > self.float_:
            self.unfunded = True
            return Decision(due.payee, AttoFil(amount), "unfunded")
        self.float_ -= need
        if self.day_left is not None:
            self.day_left -= amount
        if self.released is not None:
            self.released -= amount
        return Decision(due.payee, AttoFil(amount))

    def _barred(self, due: Due) -> str | None:
        if due.payee in self.holds:
            return self.holds[due.payee]
        if due.amount < self.limits.minimum:
            return f"dust: below the minimum of {self.limits.minimum.to_fil()} FIL"
        return None

    def _within_limits(self, due: Due) -> tuple[int, str]:
        amounts = [(due.amount.value, "minimum")]
        if self.limits.per_payout is not None:
            amounts.append((self.limits.per_payout.value, "per payout"))
        if self.limits.per_payee_per_day is not None:
            left = self.limits.per_payee_per_day.value - self.spent.to(due.payee).value
            amounts.append((left, "per payee and day"))
        if self.day_left is not None:
            amounts.append((self.day_left, "per day"))
        if self.released is not None:
            amounts.append((self.released, "what the miner can withdraw now"))
        return min(amounts)
