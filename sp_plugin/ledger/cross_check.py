"""What the ledger and the other tables must say of each other: an entry cut off at the end of the chain shows here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil
from sp_plugin.ledger.accounts import accrued, payable
from sp_plugin.ledger.check import Problem
from sp_plugin.ledger.entries import Draft, Entry, EntryKind, RefKind

__all__ = ["BookedPayout", "Expected", "cross_check"]


@dataclass(frozen=True, slots=True)
class BookedPayout:
    """A payout that was executed in a final tipset; `paid` says with exit code 0."""

    id: str
    payee: Address
    amount: AttoFil
    message: Cid | None
    gas: AttoFil
    paid: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ledger must have: awards by key with what was credited, accruals by key with what each payee is owed."""

    awards: Mapping[str, AttoFil]
    accruals: Mapping[str, Mapping[Address, AttoFil]]
    payouts: Sequence[BookedPayout]


def cross_check(entries: Iterable[Entry], expected: Expected) -> tuple[Problem, ...]:
    """Every award, closed period and payout has its entry with its amounts, and every such entry has one of these."""
    booked = {entry.draft.key: entry.draft for entry in entries}
    problems = []
    for key, credited in expected.awards.items():
        if _brought(booked.get(key)) != credited.value:
            problems.append(Problem(key, f"a win credited {credited} attoFIL, the ledger differs"))
    for key, owed in expected.accruals.items():
        said = {accrued(payee): -amount.value for payee, amount in owed.items()}
        if said and _amounts(booked.get(key), "accrued:") != said:
            problems.append(Problem(key, "a closed period owes other amounts than the ledger"))
    for payout in expected.payouts:
        problems += _payout_problems(payout, booked)
    named = {*expected.awards, *expected.accruals, *(f"payout:{p.id}" for p in expected.payouts)}
    problems += [
        Problem(key, "nothing but the ledger knows of it")
        for key in booked
        if key.startswith(("award:", "accrual:", "payout:")) and key not in named
    ]
    return tuple(problems)


def _payout_problems(payout: BookedPayout, booked: Mapping[str, Draft]) -> list[Problem]:
    key, problems = f"payout:{payout.id}", []
    paid = {payable(payout.payee): payout.amount.value} if payout.paid else {}
    if _amounts(booked.get(key), "payable:") != paid:
        problems.append(
            Problem(key, "the payout and its entry are not of the same amount and payee")
        )
    if payout.paid and str(payout.message) not in _messages(booked.get(key)):
        problems.append(Problem(key, "its entry names another message"))
    fee = booked.get(f"fee:{payout.message}")
    if payout.gas and _amounts(fee, "fees") != {"fees": payout.gas.value}:
        problems.append(Problem(key, "its gas is not booked as it was"))
    return problems


def _amounts(draft: Draft | None, prefix: str) -> dict[str, int]:
    if draft is None:
        return {}
    return {p.account: p.amount.value for p in draft.postings if p.account.startswith(prefix)}


def _messages(draft: Draft | None) -> set[str]:
    return set() if draft is None else {r.value for r in draft.refs if r.kind is RefKind.MESSAGE}


def _brought(draft: Draft | None) -> int:
    if draft is None or draft.kind is not EntryKind.AWARD:
        return 0
    return sum(p.amount.value for p in draft.postings if p.amount.value > 0)
