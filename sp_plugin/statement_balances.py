"""What the ledger says of a payee, for the statement: what vests and when, what was paid, and what is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fil_plus.vesting import locked_part, vesting_entries
from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch
from sp_plugin.earnings.booking import accrual_key
from sp_plugin.ledger import Draft, Entry, EntryKind, RefKind, accrued, balances_of, payable
from sp_plugin.store.earnings_periods import StoredPeriod

__all__ = ["is_booked", "payments", "totals", "unvested", "vesting_of"]


def is_booked(stored: StoredPeriod, entries: Sequence[Entry]) -> bool:
    """Whether what the period owes stands in the ledger; closing and booking are two steps."""
    key = accrual_key(stored.closed.period, stored.closed.revision)
    return not stored.closed.owed() or any(entry.draft.key == key for entry in entries)


def vesting_of(stored: StoredPeriod, entries: Sequence[Entry]) -> dict[str, Any]:
    """By which schedule the period's accrual vests, and up to which epoch it has been released; None: not accrued."""
    key = accrual_key(stored.closed.period, stored.closed.revision)
    accrual = next((entry for entry in entries if entry.draft.key == key), None)
    if accrual is None:
        return {"vesting_start": None, "released_to": None}
    start = next(int(r.value) for r in accrual.draft.refs if r.kind is RefKind.VESTING)
    releases = [
        entry.draft.epoch
        for entry in entries[accrual.sequence :]
        if entry.draft.kind is EntryKind.RELEASE
    ]
    return {"vesting_start": start, "released_to": max(releases, default=None)}


def payments(entries: Sequence[Entry], payee: Address) -> list[dict[str, Any]]:
    """The payments to `payee`, oldest first."""
    return [_payment(entry.draft) for entry in entries if _pays(entry, payee)]


def totals(
    periods: Iterable[dict[str, Any]], entries: Sequence[Entry], payee: Address
) -> dict[str, Any]:
    """The sums of the periods, and the payee's balances."""
    sums = dict.fromkeys(("produced", "used", "fee_cost", "capital_cost", "net"), 0)
    for period in periods:
        for job in period["jobs"]:
            sums["produced"] += int(job["produced"])
            sums["used"] += int(job["used"])
        for net in period["nets"]:
            for name in ("fee_cost", "capital_cost", "net"):
                sums[name] += int(net[name])
    balances = balances_of(entries)
    nothing = AttoFil(0)
    paid = sum(int(_payment(e.draft)["amount"]) for e in entries if _pays(e, payee))
    due = -balances.get(payable(payee), nothing)
    return {
        "accrued_by_source": {"produced": str(sums["produced"]), "used": str(sums["used"])},
        "costs": {"daily_fee": str(sums["fee_cost"]), "capital": str(sums["capital_cost"])},
        "net_accrued": str(sums["net"]),
        "vesting": str(-balances.get(accrued(payee), nothing)),
        "released": str(due.value + paid),
        "paid": str(paid),
        "due": str(due),
    }


def unvested(entries: Sequence[Entry], payee: Address, now: Epoch) -> list[list[Any]]:
    """[epoch, amount] still to be released, by the schedule of each accrual."""
    parts: dict[Epoch, int] = {}
    for entry in entries:
        if entry.draft.kind is not EntryKind.ACCRUAL:
            continue
        start = next(int(r.value) for r in entry.draft.refs if r.kind is RefKind.VESTING)
        for posting in entry.draft.postings:
            if posting.account != accrued(payee):
                continue
            locked = locked_part(-posting.amount)
            for epoch, amount in vesting_entries(locked, entry.draft.epoch, Epoch(start)):
                if epoch >= now:
                    parts[epoch] = parts.get(epoch, 0) + amount.value
    return [[epoch, str(amount)] for epoch, amount in sorted(parts.items())]


def _pays(entry: Entry, payee: Address) -> bool:
    account = payable(payee)
    return entry.draft.kind is EntryKind.PAYOUT and any(
        posting.account == account for posting in entry.draft.postings
    )


def _payment(draft: Draft) -> dict[str, Any]:
    amount = next(p.amount for p in draft.postings if p.account.startswith("payable:"))
    message = next(ref.value for ref in draft.refs if ref.kind is RefKind.MESSAGE)
    return {"message": message, "amount": str(amount), "executed_at": draft.epoch}
