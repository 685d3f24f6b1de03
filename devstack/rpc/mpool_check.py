"""`MpoolCheck*`: would the mempool and the chain take these messages? Source: Lotus `chain/messagepool/check.go`.

Each message is answered by one list of checks in Lotus' order; the tools stop when one of them is not `OK`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.gas import BASE_FEE, BLOCK_GAS_LIMIT, gas_used
from devstack.node import FullNode
from devstack.rpc.encode import cid_json, list_json
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    ADDRESS,
    MESSAGES,
    decode_bool,
    decode_list,
    decode_message,
    decode_object,
)
from devstack.rpc.resolve import defined
from lotus_client.address import Address
from lotus_client.messages import Message

__all__ = ["METHODS"]

Json = dict[str, Any]

_MAX_SIZE: Final = 32 * 1024 - 128  # Lotus leaves 128 bytes for the signature here
_LOWER_FACTOR, _UPPER_FACTOR = 10, 10  # of the base fee: what it may shrink and grow to


class Check(IntEnum):
    """Lotus `api/types.go` CheckStatusCode."""

    SERIALIZE = 1
    SIZE = 2
    VALIDITY = 3
    MIN_GAS = 4
    MIN_BASE_FEE = 5
    BASE_FEE = 6
    BASE_FEE_LOWER_BOUND = 7
    BASE_FEE_UPPER_BOUND = 8
    STATE_NONCE = 9
    NONCE = 10
    STATE_BALANCE = 11
    BALANCE = 12


@dataclass(slots=True)
class _Sender:
    """What the messages checked so far leave of a sender."""

    next_nonce: int
    required: int
    balance: int


@dataclass(frozen=True, slots=True)
class _Prototype:
    """A message to be; its nonce counts only when it is said to be valid."""

    message: Message
    valid_nonce: bool = True


def _check_messages(node: FullNode, prototypes: list[_Prototype]) -> list[Any] | None:
    return _checked(node, prototypes, with_pending=True)


def _check_pending(node: FullNode, sender: Address | None) -> list[Any] | None:
    waiting = node.network.mpool.of_sender(defined(sender))
    prototypes = [_Prototype(signed.message) for signed in waiting]
    return _checked(node, prototypes, with_pending=False)


def _check_replace(node: FullNode, messages: list[Message]) -> list[Any] | None:
    """Each named sender's waiting messages with the given ones in place of those of the same nonce."""
    by_sender: dict[Address, dict[int, Message]] = {}
    for message in messages:
        if message.from_ not in by_sender:
            waiting = node.network.mpool.of_sender(message.from_)
            by_sender[message.from_] = {one.message.nonce: one.message for one in waiting}
        by_sender[message.from_][message.nonce] = message
    prototypes = [
        _Prototype(found[nonce]) for found in by_sender.values() for nonce in sorted(found)
    ]
    return _checked(node, prototypes, with_pending=False)


def _checked(
    node: FullNode, prototypes: Sequence[_Prototype], *, with_pending: bool
) -> list[Any] | None:
    checker = _Checker(node, with_pending=with_pending)
    return list_json(prototypes, checker.check)


class _Checker:
    """The checks of one call; messages of one sender follow on each other."""

    def __init__(self, node: FullNode, *, with_pending: bool) -> None:
        self._pool = node.network.mpool
        self._state: StateView = node.network.pending_state()
        self._with_pending = with_pending
        self._senders: dict[Address, _Sender] = {}

    def check(self, prototype: _Prototype) -> list[Json]:
        """All checks of a message, up to one that makes the rest pointless."""
        message = prototype.message
        told: list[Json] = []

        def tell(
            code: Check, error: str = "", hint: Json | None = None, *, ok: bool = False
        ) -> bool:
            good = ok or not error
            told.append(
                {"Cid": cid_json(message.cid), "Code": code, "OK": good, "Err": error, "Hint": hint}
            )
            return good

        sender = self._sender(message.from_)
        if sender is None:
            tell(Check.STATE_NONCE, "error retrieving state nonce: actor not found")
            return told
        tell(Check.STATE_NONCE, hint={"nonce": sender.next_nonce})
        tell(Check.STATE_BALANCE, hint={"balance": str(sender.balance)})
        if _check_form(message, tell):
            _check_fees(message, tell)
            self._check_sender(prototype, sender, tell)
        return told

    def _sender(self, address: Address) -> _Sender | None:
        if address not in self._senders:
            actor_id = self._state.actor_id(address)
            if actor_id is None:
                return None
            nonce, required = self._state.actor(address).nonce, 0
            if self._with_pending:
                waiting = self._pool.of_sender(address)
                nonce = self._pool.next_nonce(address) if waiting else nonce
                required = sum(one.message.required_funds.value for one in waiting)
            balance = self._state.balance(address).value
            self._senders[address] = _Sender(nonce, required, balance)
        return self._senders[address]

    @staticmethod
    def _check_sender(prototype: _Prototype, sender: _Sender, tell: Callable[..., bool]) -> None:
        hint = {"nextNonce": sender.next_nonce}
        if prototype.valid_nonce and prototype.message.nonce != sender.next_nonce:
            error = f"message nonce doesn't match next nonce ({sender.next_nonce})"
            tell(Check.NONCE, error, hint)
        else:
            tell(Check.NONCE, hint=hint)
            sender.next_nonce += 1
        sender.required += prototype.message.required_funds.value
        short = sender.balance < sender.required
        error = "insufficient balance" if short else ""
        tell(Check.BALANCE, error, {"requiredFunds": str(sender.required)})


def _check_form(message: Message, tell: Callable[..., bool]) -> bool:
    size = len(message.to_cbor())
    tell(Check.SERIALIZE)
    tell(Check.SIZE, "message too big" if size > _MAX_SIZE else "")
    problem = _syntax_problem(message)
    return tell(Check.VALIDITY, problem and f"syntactically invalid message: {problem}")


def _syntax_problem(message: Message) -> str:
    """Why no block may include the message, in the words of Lotus' `Message.ValidForBlockInclusion`."""
    for bad, why in (
        (message.version != 0, "'Version' unsupported"),
        (message.value.value < 0, "'Value' field cannot be negative"),
        (message.gas_fee_cap.value < 0, "'GasFeeCap' field cannot be negative"),
        (message.gas_premium.value < 0, "'GasPremium' field cannot be negative"),
        (
            message.gas_premium.value > message.gas_fee_cap.value,
            "'GasFeeCap' less than 'GasPremium'",
        ),
        (
            message.gas_limit > BLOCK_GAS_LIMIT,
            "'GasLimit' field cannot be greater than a block's gas limit",
        ),
        (message.gas_limit <= 0, f"'GasLimit' field {message.gas_limit} must be positive"),
    ):
        if bad:
            return why
    return ""


def _check_fees(message: Message, tell: Callable[..., bool]) -> None:
    """The gas checks; a fee cap below the chain's floor or the lower bound ends them."""
    least = gas_used(message, len(message.to_cbor()))
    too_low = "GasLimit less than epoch minimum gas" if message.gas_limit < least else ""
    tell(Check.MIN_GAS, too_low, {"minGas": {"Name": "OnChainMessage", "tg": least}})
    cap = message.gas_fee_cap.value
    if not tell(
        Check.MIN_BASE_FEE, "GasFeeCap less than minimum base fee" if cap < BASE_FEE else ""
    ):
        return
    hint = {"baseFee": str(BASE_FEE)}
    tell(Check.BASE_FEE, hint=hint)  # the devnet's base fee stays at its minimum
    lower = max(BASE_FEE // _LOWER_FACTOR, BASE_FEE)
    tell(Check.BASE_FEE_LOWER_BOUND, hint=hint | {"baseFeeLowerBound": str(lower)})
    upper = BASE_FEE * _UPPER_FACTOR
    warning = "GasFeeCap less than base fee upper bound for inclusion in next 20 epochs"
    tell(
        Check.BASE_FEE_UPPER_BOUND,
        warning if cap < upper else "",
        hint | {"baseFeeUpperBound": str(upper)},
        ok=True,  # on purpose: Lotus means it as a warning
    )


def _decode_prototype(value: Any) -> _Prototype:
    body = decode_object(value)
    return _Prototype(decode_message(body.get("Message")), decode_bool(body.get("ValidNonce")))


_READ = Permission.READ
_PROTOTYPES = Param("[]*api.MessagePrototype", lambda value: decode_list(value, _decode_prototype))

METHODS: tuple[Method[FullNode], ...] = (
    Method("MpoolCheckMessages", _READ, (_PROTOTYPES,), _check_messages),
    Method("MpoolCheckPendingMessages", _READ, (ADDRESS,), _check_pending),
    Method("MpoolCheckReplaceMessages", _READ, (MESSAGES,), _check_replace),
)
