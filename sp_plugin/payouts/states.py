"""The states of a payout and the only ways between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.types import AttoFil, Epoch

__all__ = [
    "TERMINAL",
    "TRANSITIONS",
    "UNDECIDED",
    "IllegalTransition",
    "Payout",
    "PayoutState",
    "check_transition",
]


class PayoutState(StrEnum):
    """Where a payout stands."""

    PLANNED = "planned"  # in a plan that nobody has approved yet
    HELD = "held"  # due, but not to be paid now; `reason` says why
    APPROVED = "approved"  # part of an approved batch
    SIGNED = "signed"  # signed bytes are in the store; perhaps pushed, perhaps not
    SENT = "sent"  # a node took the bytes
    INCLUDED = "included"  # executed in a tipset that is not final yet
    FINAL = "final"  # executed with exit code 0 in a final tipset: paid
    FAILED = "failed"  # executed with another exit code in a final tipset, or never to be executed: not paid


_S = PayoutState
TRANSITIONS: Final[Mapping[PayoutState, frozenset[PayoutState]]] = {
    _S.PLANNED: frozenset({_S.PLANNED, _S.APPROVED, _S.HELD}),
    _S.HELD: frozenset({_S.HELD, _S.PLANNED}),
    _S.APPROVED: frozenset({_S.SIGNED, _S.HELD}),
    # a crash may hide the push, never the bytes; `failed` only once another message has used the nonce up for good
    _S.SIGNED: frozenset({_S.SENT, _S.INCLUDED, _S.FAILED}),
    _S.SENT: frozenset({_S.SENT, _S.INCLUDED, _S.FAILED}),
    _S.INCLUDED: frozenset({_S.SENT, _S.INCLUDED, _S.FINAL, _S.FAILED}),
    _S.FINAL: frozenset(),
    _S.FAILED: frozenset(),
}
# A nonce is taken and its fate is open: no other message may be made for the payout.
UNDECIDED: Final = frozenset({_S.SIGNED, _S.SENT, _S.INCLUDED})
TERMINAL: Final = frozenset({_S.FINAL, _S.FAILED})


class IllegalTransition(Exception):
    """A step that the state machine does not have; nothing was changed."""


def check_transition(before: PayoutState, after: PayoutState) -> None:
    """Return if a payout may go from `before` to `after`.

    Raises:
        IllegalTransition: it may not.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a payout cannot go from {before} to {after}")


@dataclass(frozen=True, slots=True)
class Payout:
    """One transfer to one payee. `amount` never changes once it is approved.

    `nonce` is set with the signed bytes; `message`, `height` and `tipset` say where it was executed.
    """

    id: str
    payee: Address
    amount: AttoFil
    state: PayoutState
    batch: str | None = None
    reason: str = ""
    wallet: Address | None = None
    nonce: int | None = None
    message: Cid | None = None
    height: Epoch | None = None
    tipset: TipSetKey | None = None
    exit_code: int | None = None
    gas_cost: AttoFil | None = None
