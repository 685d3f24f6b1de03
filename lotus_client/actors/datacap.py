"""DataCap token f07 (FRC-46). Source: builtin-actors `actors/datacap/src/types.rs`, FRC-0046.

Token amounts are DataCap bytes times `DATACAP_PRECISION`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lotus_client.actors import wire
from lotus_client.actors.methods import FRC46_TOKEN
from lotus_client.actors.wire import ParamsError, Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.cbor import decode as decode_cbor
from lotus_client.cbor import encode as encode_cbor

__all__ = [
    "DATACAP_PRECISION",
    "INFINITE_ALLOWANCE",
    "AllowanceChange",
    "AllowanceQuery",
    "BurnFromParams",
    "BurnFromReturn",
    "BurnParams",
    "MintParams",
    "MintReturn",
    "ReceiverParams",
    "RevokeAllowanceParams",
    "TransferFromParams",
    "TransferFromReturn",
    "TransferParams",
    "TransferReturn",
]

DATACAP_PRECISION: Final = 10**18
INFINITE_ALLOWANCE: Final = (
    10**21 * DATACAP_PRECISION
)  # an ordinary number; spending subtracts from it


@dataclass(frozen=True, slots=True)
class TransferParams(Wire):
    """Send tokens; to f06 with `AllocationRequests` as operator data this makes allocations."""

    to: Address
    amount: int
    operator_data: bytes = b""

    def to_value(self) -> object:
        return [self.to.to_bytes(), wire.big_bytes(self.amount), self.operator_data]

    @classmethod
    def from_value(cls, value: CborValue) -> TransferParams:
        to, amount, data = wire.fields(value, 3, "Transfer")
        return cls(wire.address(to), wire.big(amount), wire.octets(data))


@dataclass(frozen=True, slots=True)
class TransferReturn(Wire):
    """The balances after it, and what the receiver answered (`AllocationsResponse` from f06)."""

    from_balance: int
    to_balance: int
    recipient_data: bytes

    def to_value(self) -> object:
        balances = [wire.big_bytes(self.from_balance), wire.big_bytes(self.to_balance)]
        return [*balances, self.recipient_data]

    @classmethod
    def from_value(cls, value: CborValue) -> TransferReturn:
        sender, receiver, data = wire.fields(value, 3, "Transfer return")
        return cls(wire.big(sender), wire.big(receiver), wire.octets(data))


@dataclass(frozen=True, slots=True)
class MintParams(Wire):
    """New tokens for `to`, with operators that may spend them; only f06 may call."""

    to: Address
    amount: int
    operators: tuple[Address, ...] = ()

    def to_value(self) -> object:
        operators = [operator.to_bytes() for operator in self.operators]
        return [self.to.to_bytes(), wire.big_bytes(self.amount), operators]

    @classmethod
    def from_value(cls, value: CborValue) -> MintParams:
        to, amount, operators = wire.fields(value, 3, "Mint")
        return cls(
            wire.address(to), wire.big(amount), wire.items(operators, wire.address, "operators")
        )


@dataclass(frozen=True, slots=True)
class MintReturn(Wire):
    """The receiver's balance, the token's supply, and what the receiver answered."""

    balance: int
    supply: int
    recipient_data: bytes

    def to_value(self) -> object:
        return [wire.big_bytes(self.balance), wire.big_bytes(self.supply), self.recipient_data]

    @classmethod
    def from_value(cls, value: CborValue) -> MintReturn:
        balance, supply, data = wire.fields(value, 3, "Mint return")
        return cls(wire.big(balance), wire.big(supply), wire.octets(data))


@dataclass(frozen=True, slots=True)
class BurnParams(Wire):
    """Destroy the caller's own tokens; also the shape of its one-field return."""

    amount: int

    def to_value(self) -> object:
        return [wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> BurnParams:
        (amount,) = wire.fields(value, 1, "Burn")
        return cls(wire.big(amount))


@dataclass(frozen=True, slots=True)
class TransferFromParams(Wire):
    """Send another holder's tokens, as far as it allowed the caller."""

    from_: Address
    to: Address
    amount: int
    operator_data: bytes = b""

    def to_value(self) -> object:
        who = [self.from_.to_bytes(), self.to.to_bytes()]
        return [*who, wire.big_bytes(self.amount), self.operator_data]

    @classmethod
    def from_value(cls, value: CborValue) -> TransferFromParams:
        source, to, amount, data = wire.fields(value, 4, "TransferFrom")
        return cls(wire.address(source), wire.address(to), wire.big(amount), wire.octets(data))


@dataclass(frozen=True, slots=True)
class TransferFromReturn(Wire):
    """The balances after it, what is left of the allowance, and what the receiver answered."""

    from_balance: int
    to_balance: int
    allowance: int
    recipient_data: bytes

    def to_value(self) -> object:
        amounts = (self.from_balance, self.to_balance, self.allowance)
        return [*map(wire.big_bytes, amounts), self.recipient_data]

    @classmethod
    def from_value(cls, value: CborValue) -> TransferFromReturn:
        sender, receiver, allowance, data = wire.fields(value, 4, "TransferFrom return")
        return cls(wire.big(sender), wire.big(receiver), wire.big(allowance), wire.octets(data))


@dataclass(frozen=True, slots=True)
class AllowanceQuery(Wire):
    """Params of Allowance: what `operator` may spend of `owner`'s tokens."""

    owner: Address
    operator: Address

    def to_value(self) -> object:
        return [self.owner.to_bytes(), self.operator.to_bytes()]

    @classmethod
    def from_value(cls, value: CborValue) -> AllowanceQuery:
        owner, operator = wire.fields(value, 2, "Allowance")
        return cls(wire.address(owner), wire.address(operator))


@dataclass(frozen=True, slots=True)
class AllowanceChange(Wire):
    """Params of IncreaseAllowance and DecreaseAllowance, of the caller's tokens."""

    operator: Address
    amount: int

    def to_value(self) -> object:
        return [self.operator.to_bytes(), wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> AllowanceChange:
        operator, amount = wire.fields(value, 2, "IncreaseAllowance or DecreaseAllowance")
        return cls(wire.address(operator), wire.big(amount))


@dataclass(frozen=True, slots=True)
class RevokeAllowanceParams(Wire):
    """Whose allowance ends."""

    operator: Address

    def to_value(self) -> object:
        return [self.operator.to_bytes()]

    @classmethod
    def from_value(cls, value: CborValue) -> RevokeAllowanceParams:
        (operator,) = wire.fields(value, 1, "RevokeAllowance")
        return cls(wire.address(operator))


@dataclass(frozen=True, slots=True)
class BurnFromParams(Wire):
    """Params of BurnFrom (within an allowance) and of Destroy (by f06)."""

    owner: Address
    amount: int

    def to_value(self) -> object:
        return [self.owner.to_bytes(), wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> BurnFromParams:
        owner, amount = wire.fields(value, 2, "BurnFrom or Destroy")
        return cls(wire.address(owner), wire.big(amount))


@dataclass(frozen=True, slots=True)
class BurnFromReturn(Wire):
    """The owner's balance and what is left of the allowance."""

    balance: int
    allowance: int

    def to_value(self) -> object:
        return [wire.big_bytes(self.balance), wire.big_bytes(self.allowance)]

    @classmethod
    def from_value(cls, value: CborValue) -> BurnFromReturn:
        balance, allowance = wire.fields(value, 2, "BurnFrom return")
        return cls(wire.big(balance), wire.big(allowance))


@dataclass(frozen=True, slots=True)
class ReceiverParams(Wire):
    """What f07 tells a receiver of tokens: the FRC-46 payload in its typed envelope."""

    from_: int
    to: int
    operator: int
    amount: int
    operator_data: bytes
    token_data: bytes = b""

    def to_value(self) -> object:
        payload = [
            self.from_, self.to, self.operator, wire.big_bytes(self.amount),
            self.operator_data, self.token_data,
        ]  # fmt: skip
        return [FRC46_TOKEN, encode_cbor(payload)]

    @classmethod
    def from_value(cls, value: CborValue) -> ReceiverParams:
        kind, payload = wire.fields(value, 2, "Receive")
        if kind != FRC46_TOKEN:
            raise ParamsError(f"token type {kind} is not FRC-46")
        source, to, operator, amount, operator_data, token_data = wire.fields(
            decode_cbor(wire.octets(payload)), 6, "FRC-46 token received"
        )
        return cls(
            wire.unsigned(source),
            wire.unsigned(to),
            wire.unsigned(operator),
            wire.big(amount),
            wire.octets(operator_data),
            wire.octets(token_data),
        )
