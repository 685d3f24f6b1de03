"""The names of the ledger's accounts. The package docstring says what each one means."""

from __future__ import annotations

from typing import Final, NewType

from lotus_client.address import Address

__all__ = [
    "FEES",
    "MINER_AVAILABLE",
    "MINER_LOCKED",
    "PAYOUT_WALLET",
    "PROVIDER",
    "Account",
    "accrued",
    "is_account",
    "payable",
    "payee_of",
]

Account = NewType("Account", str)

MINER_LOCKED: Final = Account("miner_locked")
MINER_AVAILABLE: Final = Account("miner_available")
PAYOUT_WALLET: Final = Account("payout_wallet")
FEES: Final = Account("fees")
PROVIDER: Final = Account("provider")

_FIXED: Final = frozenset({MINER_LOCKED, MINER_AVAILABLE, PAYOUT_WALLET, FEES, PROVIDER})
_ACCRUED: Final = "accrued:"
_PAYABLE: Final = "payable:"


def accrued(payee: Address) -> Account:
    """The account of what `payee` has earned and vesting has not released yet; negative is owed."""
    return Account(_ACCRUED + payee.to_text("t"))


def payable(payee: Address) -> Account:
    """The account of what is due to `payee` now; negative is owed, positive is a deficit carried forward."""
    return Account(_PAYABLE + payee.to_text("t"))


def payee_of(account: Account) -> Address | None:
    """The payee of an `accrued:` or `payable:` account, `None` for the others."""
    for prefix in (_ACCRUED, _PAYABLE):
        if account.startswith(prefix):
            return Address.parse(account.removeprefix(prefix))
    return None


def is_account(name: str) -> bool:
    """Whether `name` is one of the ledger's accounts in its one spelling."""
    if name in _FIXED:
        return True
    kind, colon, payee = name.partition(":")
    if not colon or kind + colon not in {_ACCRUED, _PAYABLE}:
        return False
    try:
        return Address.parse(payee).to_text("t") == payee
    except ValueError:
        return False
