"""A batch: the exact list of payments that a person approves, by its hash."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import rfc8785

from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch

__all__ = ["Batch", "BatchItem", "BatchRefused", "check_approval"]


class BatchRefused(Exception):
    """An approval that does not fit its batch; nothing was approved."""


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One payment of a batch."""

    payout: str
    payee: Address
    amount: AttoFil


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen plan. It may pay at most `cap` in all and be approved until `expires`."""

    network: str
    wallet: Address
    items: tuple[BatchItem, ...]
    cap: AttoFil
    created: Epoch
    expires: Epoch

    @property
    def total(self) -> AttoFil:
        """The sum of its payments, without fees."""
        return AttoFil(sum(item.amount.value for item in self.items))

    def to_json(self) -> dict[str, object]:
        """The batch as plain values; amounts are decimal text, addresses in their `t` form."""
        return {
            "network": self.network,
            "wallet": self.wallet.to_text("t"),
            "items": [[i.payout, i.payee.to_text("t"), str(i.amount)] for i in self.items],
            "cap": str(self.cap),
            "created": self.created,
            "expires": self.expires,
        }

    def digest(self) -> str:
        """The SHA-256 of its RFC 8785 JSON, hexadecimal: what the approver repeats."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()  # type: ignore[arg-type]


def check_approval(batch: Batch, digest: str, at_epoch: Epoch) -> None:
    """Return if `digest` approves `batch` at `at_epoch`.

    Raises:
        BatchRefused: another digest, expired, empty, above its cap, or a payee twice.
    """
    if not hmac.compare_digest(batch.digest(), digest.strip().lower()):
        raise BatchRefused("this digest is not the batch's: the plan has changed, look at it again")
    if not batch.items:
        raise BatchRefused("the batch pays nobody")
    if at_epoch > batch.expires:
        raise BatchRefused(
            f"the batch expired at epoch {batch.expires}, now is {at_epoch}: plan again"
        )
    if batch.total > batch.cap:
        raise BatchRefused(
            f"the batch pays {batch.total.to_fil()} FIL, its cap is {batch.cap.to_fil()} FIL"
        )
    if len({item.payee for item in batch.items}) != len(batch.items):
        raise BatchRefused("a payee is in the batch twice")
