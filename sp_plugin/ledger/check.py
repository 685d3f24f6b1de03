"""Whether a ledger holds: balance, hash chain, where every amount comes from, and the wallet on chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger.accounts import FEES, PAYOUT_WALLET, Account
from sp_plugin.ledger.entries import GENESIS_HASH, Draft, Entry, EntryKind, RefKind

__all__ = ["LedgerReport", "Problem", "WalletOnChain", "check_ledger"]

_FROM_TIPSETS: Final = frozenset(
    {
        EntryKind.AWARD,
        EntryKind.PENALTY,
        EntryKind.VESTING,
        EntryKind.ACCRUAL,
        EntryKind.OPENING,
    }
)
_FROM_MESSAGES: Final = frozenset(
    {EntryKind.FUNDING, EntryKind.PAYOUT, EntryKind.WITHDRAWAL, EntryKind.FEE}
)
_FROM_ENTRIES: Final = frozenset({EntryKind.RELEASE, EntryKind.REVERSAL})
_MAY_ACCRUE: Final = frozenset({EntryKind.ACCRUAL})
_MAY_RELEASE: Final = frozenset({EntryKind.RELEASE})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold, and where."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class WalletOnChain:
    """The payout wallet's balance in the state of a *final* tipset at `epoch`."""

    epoch: Epoch
    balance: AttoFil


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """The balances and everything that does not hold."""

    entries: int
    head: bytes
    balances: dict[Account, AttoFil]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_ledger(entries: Iterable[Entry], wallet: WalletOnChain | None = None) -> LedgerReport:
    """The ledger's balances and problems; reads `entries` once, in order.

    With `wallet`, the ledger's `payout_wallet` of all entries up to that epoch is compared with the chain.
    """
    checker = _Checker(wallet)
    for entry in entries:
        checker.take(entry)
    return checker.report()


class _Checker:
    def __init__(self, wallet: WalletOnChain | None) -> None:
        self.wallet = wallet
        self.count = 0
        self.head = GENESIS_HASH
        self.balances: defaultdict[Account, int] = defaultdict(int)
        self.problems: list[Problem] = []
        self.kind_of_key: dict[str, EntryKind] = {}
        self.awarded: set[str] = set()
        self.messages_paid: set[str] = set()
        self.wallet_then = 0

    def take(self, entry: Entry) -> None:
        where = f"entry {entry.sequence} ({entry.draft.key})"
        for message in (*self._chain_problems(entry), *self._trace_problems(entry.draft)):
            self.problems.append(Problem(where, message))
        self.count += 1
        self.head = entry.hash
        self.kind_of_key[entry.draft.key] = entry.draft.kind
        for posting in entry.draft.postings:
            self.balances[posting.account] += posting.amount.value
            if (
                self.wallet
                and posting.account == PAYOUT_WALLET
                and entry.draft.epoch <= self.wallet.epoch
            ):
                self.wallet_then += posting.amount.value

    def _chain_problems(self, entry: Entry) -> Iterable[str]:
        if entry.sequence != self.count + 1:
            yield f"its number should be {self.count + 1}: an entry is missing or repeated"
        if entry.previous != self.head:
            yield "it is not chained to the entry before it"
        if entry.hash != entry.expected_hash():
            yield "its hash does not fit its content: it was changed after it was written"
        if entry.draft.key in self.kind_of_key:
            yield "its key was used before: the same event is booked twice"
        if sum(posting.amount.value for posting in entry.draft.postings):
            yield "its postings do not add up to zero"

    def _trace_problems(self, draft: Draft) -> Iterable[str]:
        tipsets = [ref.value for ref in draft.refs if ref.kind is RefKind.TIPSET]
        messages = [ref.value for ref in draft.refs if ref.kind is RefKind.MESSAGE]
        owed_more = [p.account for p in draft.postings if p.amount.value < 0]
        if draft.kind is EntryKind.AWARD:
            self.awarded.update(tipsets)
        if draft.kind in _FROM_TIPSETS and not tipsets:
            yield "it names no tipset"
        if draft.kind is EntryKind.ACCRUAL:
            for tipset in tipsets:
                if tipset not in self.awarded:
                    yield f"it names tipset {tipset}, whose award is not in the ledger"
        if draft.kind in _FROM_MESSAGES and len(messages) != 1:
            yield f"it names {len(messages)} messages; exactly one made it"
        for account in owed_more:
            if account.startswith("accrued:") and draft.kind not in _MAY_ACCRUE:
                yield f"{account} grows without an accrual"
            if account.startswith("payable:") and draft.kind not in _MAY_RELEASE:
                yield f"{account} grows without a release"
        if draft.kind in _FROM_ENTRIES:
            yield from self._origin_problems(draft)
        if draft.kind is EntryKind.PAYOUT:
            yield from self._payout_problems(draft, messages)

    def _origin_problems(self, draft: Draft) -> Iterable[str]:
        origins = [ref.value for ref in draft.refs if ref.kind is RefKind.ENTRY]
        if not origins:
            yield "it does not say which entry it comes from"
        for key in origins:
            if key not in self.kind_of_key:
                yield f"it comes from {key!r}, which is no earlier entry"
        if draft.kind is EntryKind.RELEASE:
            for posting in draft.postings:
                still = self.balances[posting.account] + posting.amount.value
                if posting.account.startswith("accrued:") and still > 0:
                    yield f"it releases {still} attoFIL more than {posting.account} had"

    def _payout_problems(self, draft: Draft, messages: list[str]) -> Iterable[str]:
        for cid in messages:
            if cid in self.messages_paid:
                yield f"message {cid} already stands for another payout"
            self.messages_paid.add(cid)
        for posting in draft.postings:
            after = self.balances[posting.account] + posting.amount.value
            if posting.account.startswith("payable:") and after > 0:
                yield f"it pays {after} attoFIL more than was due to {posting.account}"

    def report(self) -> LedgerReport:
        if sum(self.balances.values()):
            self.problems.append(Problem("ledger", "the accounts do not add up to zero"))
        if self.balances[FEES] < 0:
            self.problems.append(Problem("fees", "fees cannot be negative"))
        if self.wallet and self.wallet_then != self.wallet.balance.value:
            difference = AttoFil(self.wallet.balance.value - self.wallet_then)
            self.problems.append(
                Problem(
                    "payout_wallet",
                    f"the ledger says {self.wallet_then} attoFIL at epoch {self.wallet.epoch}, the chain "
                    f"{self.wallet.balance}: {difference} attoFIL moved without an entry",
                )
            )
        balances = {account: AttoFil(value) for account, value in self.balances.items()}
        return LedgerReport(self.count, self.head, balances, tuple(self.problems))
