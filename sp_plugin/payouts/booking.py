"""The ledger's entries of a payout whose message was executed. Pure."""

from __future__ import annotations

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch
from sp_plugin.ledger import (
    FEES,
    PAYOUT_WALLET,
    Account,
    Draft,
    EntryKind,
    Posting,
    message_ref,
    payable,
)

__all__ = ["fee_draft", "payment_draft"]


def payment_draft(
    key: str,
    payee: Address,
    amount: AttoFil,
    *,
    source: Account = PAYOUT_WALLET,
    message: Cid,
    epoch: Epoch,
    memo: str,
) -> Draft:
    """What `payee` was paid by `message`, executed at `epoch`."""
    return Draft(
        key=key,
        kind=EntryKind.PAYOUT,
        epoch=epoch,
        postings=(Posting(payable(payee), amount), Posting(source, -amount)),
        refs=(message_ref(message),),
        memo=memo,
    )


def fee_draft(message: Cid, epoch: Epoch, gas: AttoFil, memo: str) -> Draft:
    """What the wallet paid for the gas of `message`, executed at `epoch`."""
    return Draft(
        key=f"fee:{message}",
        kind=EntryKind.FEE,
        epoch=epoch,
        postings=(Posting(FEES, gas), Posting(PAYOUT_WALLET, -gas)),
        refs=(message_ref(message),),
        memo=memo,
    )
