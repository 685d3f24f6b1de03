"""Who owes whom, as a double-entry ledger that only grows and can be checked by anybody.

Design notes
------------
* An entry is a set of postings whose amounts add up to zero. Assets are positive, what is owed is negative.
* `miner_locked` is what the provider's awards brought and vesting still holds; `miner_available` what vesting has
  released, less penalties burnt and less what was moved on to the payout wallet (below zero: the operator put in
  other money). `payout_wallet` equals the wallet's balance on chain. `fees` is gas that our payouts cost. `provider` is the
  provider's own result. `accrued:<payee>` is a share earned but still vesting; `payable:<payee>` is released and due.
* Every entry has a key. Appending the same key with the same content again changes nothing, so that a crashed step
  is simply done again; the same key with other content is an error.
* Every entry's hash covers its canonical bytes and the hash before it, so that no entry can be changed, dropped or
  reordered without being seen. The bytes are RFC 8785 JSON with amounts as decimal text.
* This package does no I/O: the entries are kept by `sp_plugin.store.ledger`.
"""

from __future__ import annotations

from sp_plugin.ledger.accounts import (
    FEES,
    MINER_AVAILABLE,
    MINER_LOCKED,
    PAYOUT_WALLET,
    PROVIDER,
    Account,
    accrued,
    payable,
    payee_of,
)
from sp_plugin.ledger.check import LedgerReport, Problem, WalletOnChain, check_ledger
from sp_plugin.ledger.entries import (
    GENESIS_HASH,
    Draft,
    Entry,
    EntryKind,
    LedgerError,
    Posting,
    Ref,
    RefKind,
    balances_of,
    chain_entry,
    message_ref,
    tipset_ref,
)

__all__ = [
    "FEES",
    "GENESIS_HASH",
    "MINER_AVAILABLE",
    "MINER_LOCKED",
    "PAYOUT_WALLET",
    "PROVIDER",
    "Account",
    "Draft",
    "Entry",
    "EntryKind",
    "LedgerError",
    "LedgerReport",
    "Posting",
    "Problem",
    "Ref",
    "RefKind",
    "WalletOnChain",
    "accrued",
    "balances_of",
    "chain_entry",
    "check_ledger",
    "message_ref",
    "payable",
    "payee_of",
    "tipset_ref",
]
