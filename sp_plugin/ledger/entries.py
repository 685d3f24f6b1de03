"""Postings and entries: balanced, canonically encoded, chained by hash."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import rfc8785

from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger.accounts import Account, is_account

__all__ = [
    "GENESIS_HASH",
    "Draft",
    "Entry",
    "EntryKind",
    "LedgerError",
    "Posting",
    "Ref",
    "RefKind",
    "balances_of",
    "chain_entry",
    "message_ref",
    "tipset_ref",
]

GENESIS_HASH: Final = bytes(32)  # what the first entry is chained to
_MAX_POSTINGS: Final = 100_000
_DOMAIN: Final = b"sp-plugin ledger entry v1\n"


class LedgerError(Exception):
    """An entry that cannot be part of the ledger; the message says why."""


class EntryKind(StrEnum):
    """What an entry records."""

    AWARD = "award"  # f02 credited the miner for won blocks: locked and available against provider
    PENALTY = "penalty"  # burnt out of the miner with an award
    VESTING = "vesting"  # miner_locked became miner_available
    ACCRUAL = "accrual"  # provider owes payees their shares of a closed period
    RELEASE = "release"  # accrued became payable
    OPENING = "opening"  # what was in the payout wallet when it was first seen
    FUNDING = "funding"  # a transfer arrived in the payout wallet
    PAYOUT = "payout"  # a payable was paid on chain
    WITHDRAWAL = "withdrawal"  # left the payout wallet by a message that is no payout of ours
    FEE = "fee"  # gas of one of our messages
    REVERSAL = "reversal"  # a recorded decision took back what an entry had accrued or released


class RefKind(StrEnum):
    """What a reference names."""

    TIPSET = "tipset"
    MESSAGE = "message"
    ENTRY = "entry"  # the key of an earlier entry
    ROOT = "root"  # the Merkle root of a period, hexadecimal
    VESTING = "vesting"  # the proving period start that an accrual's vesting counts from


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Where the reason of an entry can be found."""

    kind: RefKind
    value: str


def tipset_ref(key: TipSetKey) -> Ref:
    """A reference to a tipset by its key."""
    return Ref(RefKind.TIPSET, ",".join(map(str, key)))


def message_ref(cid: Cid) -> Ref:
    """A reference to a message on chain."""
    return Ref(RefKind.MESSAGE, str(cid))


@dataclass(frozen=True, slots=True)
class Posting:
    """A change of one account: assets up is positive, owed up is negative."""

    account: Account
    amount: AttoFil


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has its place. Balanced by construction.

    `key` says what event this is ("award:<tipset>", "payout:<id>") and makes appending idempotent.

    Raises:
        LedgerError: no postings, a sum that is not zero, an unknown account, an account posted twice.
    """

    key: str
    kind: EntryKind
    epoch: Epoch
    postings: tuple[Posting, ...]
    refs: tuple[Ref, ...] = ()
    memo: str = ""

    def __post_init__(self) -> None:
        problem = _problem_of(self)
        if problem:
            raise LedgerError(f"entry {self.key!r}: {problem}")

    def to_json(self) -> dict[str, object]:
        """The entry as plain values; amounts are decimal text."""
        return {
            "key": self.key,
            "kind": self.kind.value,
            "epoch": self.epoch,
            "postings": [[p.account, str(p.amount)] for p in self.postings],
            "refs": [[r.kind.value, r.value] for r in self.refs],
            "memo": self.memo,
        }

    def canonical_bytes(self) -> bytes:
        """The bytes that are hashed: RFC 8785 JSON, amounts as decimal text."""
        return rfc8785.dumps(self.to_json())  # type: ignore[arg-type]


def _problem_of(draft: Draft) -> str | None:
    if not draft.key:
        return "it has no key"
    if not 2 <= len(draft.postings) <= _MAX_POSTINGS:
        return f"it has {len(draft.postings)} postings; 2 to {_MAX_POSTINGS} are possible"
    total = sum(posting.amount.value for posting in draft.postings)
    if total:
        return f"its postings add up to {total} attoFIL, not to zero"
    accounts = [posting.account for posting in draft.postings]
    if len(set(accounts)) != len(accounts):
        return "an account is posted twice; add the amounts up"
    unknown = [account for account in accounts if not is_account(account)]
    if unknown:
        return f"unknown account {unknown[0]!r}"
    return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A draft in its place: its number from 1, the hash before it, and its own."""

    sequence: int
    draft: Draft
    previous: bytes
    hash: bytes

    def expected_hash(self) -> bytes:
        """The hash that its content and place demand."""
        return _hash(self.sequence, self.previous, self.draft)


def chain_entry(draft: Draft, last: Entry | None) -> Entry:
    """`draft` as the entry after `last` (`None`: the first)."""
    sequence = last.sequence + 1 if last else 1
    previous = last.hash if last else GENESIS_HASH
    return Entry(sequence, draft, previous, _hash(sequence, previous, draft))


def _hash(sequence: int, previous: bytes, draft: Draft) -> bytes:
    head = _DOMAIN + sequence.to_bytes(8, "big") + previous
    return hashlib.sha256(head + draft.canonical_bytes()).digest()


def balances_of(entries: Iterable[Entry], *, up_to: Epoch | None = None) -> dict[Account, AttoFil]:
    """The sum of all postings per account, of entries whose epoch is at most `up_to`."""
    sums: defaultdict[Account, int] = defaultdict(int)
    for entry in entries:
        if up_to is None or entry.draft.epoch <= up_to:
            for posting in entry.draft.postings:
                sums[posting.account] += posting.amount.value
    return {account: AttoFil(value) for account, value in sums.items()}
