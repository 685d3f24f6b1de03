"""Messages to a multisig actor, and what its answers mean.

Proposing, approving and cancelling are ordinary messages of one signer. The call that the multisig itself makes has its own
exit code, inside the return value: a receipt with exit code 0 does not say that the money moved.
Source: builtin-actors `actors/multisig/src/{lib,types}.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors.methods import MultisigMethod
from lotus_client.actors.multisig import (
    ApproveReturn,
    ProposeParams,
    ProposeReturn,
    TxnIdParams,
    proposal_hash,
)
from lotus_client.actors.wire import ParamsError
from lotus_client.address import Address
from lotus_client.messages import Message
from lotus_client.state import Receipt
from lotus_client.types import ActorId

__all__ = [
    "MultisigOutcome",
    "approve_message",
    "approve_outcome",
    "cancel_message",
    "propose_message",
    "propose_outcome",
]


@dataclass(frozen=True, slots=True)
class MultisigOutcome:
    """What became of a transaction of the multisig. `exit_code` is of its own call, None while that was not made.

    `transaction` is its number, None where the answer does not repeat it.
    """

    transaction: int | None
    applied: bool
    exit_code: int | None
    return_: bytes

    @property
    def moved_value(self) -> bool:
        """Whether the call was made and succeeded; nothing else moved any value."""
        return self.applied and self.exit_code == 0


def propose_message(multisig: Address, signer: Address, call: ProposeParams) -> Message:
    """The message by which `signer` proposes `call`; with a threshold of one it is made at once. Gas and nonce are open."""
    return _to(multisig, signer, MultisigMethod.PROPOSE, call.to_cbor())


def approve_message(
    multisig: Address, signer: Address, transaction: int, proposer: ActorId, call: ProposeParams
) -> Message:
    """The message by which `signer` approves a transaction, if it is `call` as `proposer` proposed it and nothing else.

    Numbers can name another transaction after a reorg, so the proposal's hash is always sent along.
    """
    params = TxnIdParams(transaction, proposal_hash(Address.of_id(proposer), call))
    return _to(multisig, signer, MultisigMethod.APPROVE, params.to_cbor())


def cancel_message(
    multisig: Address, signer: Address, transaction: int, proposer: ActorId, call: ProposeParams
) -> Message:
    """The message by which the proposer takes a transaction back; `signer` is the proposer's own key address."""
    params = TxnIdParams(transaction, proposal_hash(Address.of_id(proposer), call))
    return _to(multisig, signer, MultisigMethod.CANCEL, params.to_cbor())


def propose_outcome(receipt: Receipt) -> MultisigOutcome:
    """What a proposal gave.

    Raises:
        ParamsError: the message failed itself, or returned something else.
    """
    found = ProposeReturn.from_cbor(_return_of(receipt))
    code = found.exit_code if found.applied else None
    return MultisigOutcome(found.txn_id, found.applied, code, found.return_)


def approve_outcome(receipt: Receipt) -> MultisigOutcome:
    """What an approval gave: not applied means that more approvals are needed.

    Raises:
        ParamsError: the message failed itself, or returned something else.
    """
    found = ApproveReturn.from_cbor(_return_of(receipt))
    code = found.exit_code if found.applied else None
    return MultisigOutcome(None, found.applied, code, found.return_)


def _to(multisig: Address, signer: Address, method: MultisigMethod, params: bytes) -> Message:
    return Message(to=multisig, from_=signer, method=int(method), params=params)


def _return_of(receipt: Receipt) -> bytes:
    if receipt.exit_code != 0:
        raise ParamsError(f"the message to the multisig failed with exit code {receipt.exit_code}")
    return receipt.return_
