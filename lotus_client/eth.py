"""Ethereum transactions and Filecoin messages: one is the other.

A transaction is a message from its sender's f410 address with a delegated signature, which is the transaction's own
over keccak of its RLP. It calls InvokeContract of its recipient, or CreateExternal of the EAM when it has none. Nothing
is lost either way, so the transaction's hash can be had from the message again.
Accepted are EIP-1559 (without access list), EIP-155 and homestead transactions.
Source: Lotus `chain/types/ethtypes/eth_{transactions,1559_transactions,legacy_*}.go`; FIP-0055, FIP-0091.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import coincurve

from lotus_client import rlp
from lotus_client.actors.evm import EAM, EamMethod, EvmMethod, cbor_bytes, optional_bytes
from lotus_client.actors.wire import ParamsError
from lotus_client.address import Address
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.crypto import (
    Secp256k1Key,
    Signature,
    SignatureType,
    eth_address_of,
    keccak256,
)
from lotus_client.messages import Message, SignedMessage
from lotus_client.rlp import RlpError
from lotus_client.types import AttoFil

__all__ = [
    "EthTransaction",
    "EthTransactionError",
    "TransactionKind",
    "create2_address",
    "create_address",
    "hash_cid",
    "message_hash",
    "sign_delegated",
    "verify_delegated",
]

# The first byte of a legacy transaction's signature on chain (Lotus eth_legacy_*_transactions.go).
_HOMESTEAD_PREFIX: Final = 0x01
_EIP155_PREFIX: Final = 0x02
_MAX_INT64: Final = (1 << 63) - 1
_MAX_UINT256: Final = (1 << 256) - 1


class EthTransactionError(ValueError):
    """Bytes or a message that are no Ethereum transaction Filecoin takes; says why."""


class TransactionKind(Enum):
    """How a transaction is encoded and signed."""

    HOMESTEAD = "homestead"
    EIP155 = "EIP-155"
    EIP1559 = "EIP-1559"

    @property
    def type_byte(self) -> int:
        """The `type` that eth_* shows."""
        return 2 if self is TransactionKind.EIP1559 else 0


def create_address(creator: bytes, nonce: int) -> bytes:
    """The address of the contract that CREATE makes: the end of keccak(RLP[creator, nonce])."""
    return keccak256(rlp.encode([creator, rlp.of_integer(nonce)]))[12:]


def create2_address(creator: bytes, salt: bytes, initcode: bytes) -> bytes:
    """The address of the contract that CREATE2 makes (EIP-1014)."""
    return keccak256(b"\xff" + creator + salt + keccak256(initcode))[12:]


@dataclass(frozen=True, slots=True, kw_only=True)
class EthTransaction:
    """A transaction. Amounts are attoFIL, `fee_cap` and `premium` per gas (equal in legacy ones: the gas price).

    `v` is as the transaction writes it: 0 or 1, 27 or 28, or 35 and up with the chain id in it.
    """

    kind: TransactionKind
    chain_id: int
    nonce: int
    to: bytes | None
    value: int
    gas_limit: int
    fee_cap: int
    premium: int
    data: bytes
    v: int = 0
    r: int = 0
    s: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> EthTransaction:
        """The transaction of its raw signed bytes, as eth_sendRawTransaction takes it.

        Raises:
            EthTransactionError: of another type, or not canonical.
        """
        if not raw:
            raise EthTransactionError("empty data")
        try:
            if raw[0] > 0x7F:
                return _parse_legacy(raw)
            if raw[0] == 2:
                return _parse_1559(raw[1:])
        except RlpError as error:
            raise EthTransactionError(str(error)) from error
        if raw[0] == 1:
            raise EthTransactionError("EIP-2930 transaction is not supported")
        raise EthTransactionError("unsupported transaction type")

    @property
    def _fields(self) -> list[object]:
        to = b"" if self.to is None else self.to
        number = rlp.of_integer
        if self.kind is TransactionKind.EIP1559:
            return [
                number(self.chain_id), number(self.nonce), number(self.premium), number(self.fee_cap),
                number(self.gas_limit), to, number(self.value), self.data, [],
            ]  # fmt: skip
        return [
            number(self.nonce), number(self.fee_cap), number(self.gas_limit), to,
            number(self.value), self.data,
        ]  # fmt: skip

    def unsigned_bytes(self) -> bytes:
        """What is hashed and signed."""
        if self.kind is TransactionKind.EIP1559:
            return b"\x02" + rlp.encode(self._fields)
        if self.kind is TransactionKind.EIP155:
            return rlp.encode([*self._fields, rlp.of_integer(self.chain_id), b"", b""])
        return rlp.encode(self._fields)

    def raw_bytes(self) -> bytes:
        """The signed transaction, as it goes over the wire."""
        signature = [rlp.of_integer(part) for part in (self.v, self.r, self.s)]
        prefix = b"\x02" if self.kind is TransactionKind.EIP1559 else b""
        return prefix + rlp.encode([*self._fields, *signature])

    @property
    def hash(self) -> bytes:
        """The transaction's hash."""
        return keccak256(self.raw_bytes())

    @property
    def recovery_id(self) -> int:
        """0 or 1: which of two keys made the signature.

        Raises:
            EthTransactionError: `v` has another value.
        """
        base = {TransactionKind.EIP1559: 0, TransactionKind.HOMESTEAD: 27}.get(
            self.kind, 35 + 2 * self.chain_id
        )
        if self.v - base not in (0, 1):
            raise EthTransactionError(f"invalid 'v' value {self.v}")
        return self.v - base

    def sender(self) -> Address:
        """The f410 address whose key signed.

        Raises:
            EthTransactionError: the signature is malformed.
        """
        plain = self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big") + bytes((self.recovery_id,))
        digest = keccak256(self.unsigned_bytes())
        try:
            key = coincurve.PublicKey.from_signature_and_message(plain, digest, hasher=None)
        except Exception as error:  # coincurve raises ValueError and its own errors for bad points
            raise EthTransactionError(f"the signature is malformed: {error}") from error
        return Address.of_eth(eth_address_of(key.format(compressed=False)))

    def to_message(self, sender: Address) -> Message:
        """The unsigned message from that sender."""
        if self.to is None:
            if not self.data:
                raise EthTransactionError("cannot call CreateExternal without params")
            target, method = EAM, int(EamMethod.CREATE_EXTERNAL)
        else:
            target, method = Address.of_eth(self.to), int(EvmMethod.INVOKE_CONTRACT)
        return Message(
            to=target,
            from_=sender,
            nonce=self.nonce,
            value=AttoFil(self.value),
            gas_limit=self.gas_limit,
            gas_fee_cap=AttoFil(self.fee_cap),
            gas_premium=AttoFil(self.premium),
            method=method,
            params=cbor_bytes(self.data) if self.data else b"",
        )

    def to_signed_message(self, chain_id: int) -> SignedMessage:
        """The message that stands for this transaction on the chain of that id.

        Raises:
            EthTransactionError: of another chain, or its signature is malformed.
        """
        if self.kind is not TransactionKind.HOMESTEAD and self.chain_id != chain_id:
            raise EthTransactionError(f"invalid chain id, expected {chain_id}, got {self.chain_id}")
        return SignedMessage(self.to_message(self.sender()), self._signature())

    def _signature(self) -> Signature:
        plain = self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")
        v = rlp.of_integer(self.v) or b"\0"
        prefix = {
            TransactionKind.HOMESTEAD: bytes((_HOMESTEAD_PREFIX,)),
            TransactionKind.EIP155: bytes((_EIP155_PREFIX,)),
        }.get(self.kind, b"")
        return Signature(SignatureType.DELEGATED, prefix + plain + v)

    @classmethod
    def of_message(cls, signed: SignedMessage, chain_id: int) -> EthTransaction:
        """The transaction that a message with a delegated signature stands for.

        Raises:
            EthTransactionError: the message is none that a transaction can make.
        """
        if signed.signature.type is not SignatureType.DELEGATED:
            raise EthTransactionError("signature is not delegated type")
        kind, v, plain = _split(signed.signature.data)
        unsigned = _of_unsigned(signed.message, kind, chain_id)
        return replace(
            unsigned,
            v=v,
            r=int.from_bytes(plain[:32], "big"),
            s=int.from_bytes(plain[32:], "big"),
        )


def _split(data: bytes) -> tuple[TransactionKind, int, bytes]:
    """Kind, v and r||s of a delegated signature's bytes."""
    if len(data) == 65:
        return TransactionKind.EIP1559, data[64], data[:64]
    if len(data) == 66 and data[0] == _HOMESTEAD_PREFIX:
        return TransactionKind.HOMESTEAD, data[65], data[1:65]
    if len(data) >= 66 and data[0] == _EIP155_PREFIX:
        return TransactionKind.EIP155, int.from_bytes(data[65:], "big"), data[1:65]
    raise EthTransactionError(f"unsupported delegated signature of {len(data)} bytes")


def _of_unsigned(message: Message, kind: TransactionKind, chain_id: int) -> EthTransaction:
    if message.version != 0:
        raise EthTransactionError(f"unsupported msg version: {message.version}")
    to: bytes | None = None
    if message.to == EAM:
        if message.method != EamMethod.CREATE_EXTERNAL:
            raise EthTransactionError("unsupported EAM method")
    elif message.method != EvmMethod.INVOKE_CONTRACT:
        raise EthTransactionError(
            f"invalid methodnum {message.method}: only allowed method is "
            f"InvokeContract({int(EvmMethod.INVOKE_CONTRACT)})"
        )
    else:
        to = message.to.eth_address
        if to is None:
            raise EthTransactionError(f"{message.to} has no Ethereum address")
    try:
        data = optional_bytes(message.params)
    except ParamsError as error:
        raise EthTransactionError(f"failed to read params byte array: {error}") from error
    if not data and (message.params or to is None):
        raise EthTransactionError("empty params do not make the round trip")
    if kind is not TransactionKind.EIP1559 and message.gas_fee_cap != message.gas_premium:
        raise EthTransactionError("a legacy transaction has one gas price")
    return EthTransaction(
        kind=kind,
        chain_id=0 if kind is TransactionKind.HOMESTEAD else chain_id,
        nonce=message.nonce,
        to=to,
        value=message.value.value,
        gas_limit=message.gas_limit,
        fee_cap=message.gas_fee_cap.value,
        premium=message.gas_premium.value,
        data=data,
    )


def _parse_1559(body: bytes) -> EthTransaction:
    fields = rlp.decode(body)
    if not isinstance(fields, list) or len(fields) != 12:
        raise EthTransactionError(
            "not an EIP-1559 transaction: should have 12 elements in the rlp list"
        )
    if fields[8] != []:
        raise EthTransactionError("access list should be an empty list")
    v = _number(fields[9])
    if v not in (0, 1):
        raise EthTransactionError("EIP-1559 transactions only support 0 or 1 for v")
    return EthTransaction(
        kind=TransactionKind.EIP1559,
        chain_id=_number(fields[0], _MAX_INT64),
        nonce=_number(fields[1], _MAX_INT64),
        premium=_number(fields[2]),
        fee_cap=_number(fields[3]),
        gas_limit=_number(fields[4], _MAX_INT64),
        to=_recipient(fields[5]),
        value=_number(fields[6]),
        data=_octets(fields[7]),
        v=v,
        r=_number(fields[10]),
        s=_number(fields[11]),
    )


def _parse_legacy(raw: bytes) -> EthTransaction:
    fields = rlp.decode(raw)
    if not isinstance(fields, list) or len(fields) != 9:
        raise EthTransactionError(
            "not a Legacy transaction: should have 9 elements in the rlp list"
        )
    v = _number(fields[6])
    homestead = v in (27, 28)
    if not homestead and v < 35:
        raise EthTransactionError(f"legacy transactions only support 27 or 28 for v, got {v}")
    price = _number(fields[1])
    return EthTransaction(
        kind=TransactionKind.HOMESTEAD if homestead else TransactionKind.EIP155,
        chain_id=0 if homestead else (v - 35) // 2,
        nonce=_number(fields[0], _MAX_INT64),
        fee_cap=price,
        premium=price,
        gas_limit=_number(fields[2], _MAX_INT64),
        to=_recipient(fields[3]),
        value=_number(fields[4]),
        data=_octets(fields[5]),
        v=v,
        r=_number(fields[7]),
        s=_number(fields[8]),
    )


def _number(item: rlp.RlpItem, most: int = _MAX_UINT256) -> int:
    value = rlp.integer(item)
    if value > most:
        raise EthTransactionError(f"the number {value} is too large")
    return value


def _octets(item: rlp.RlpItem) -> bytes:
    if not isinstance(item, bytes):
        raise EthTransactionError("expected bytes, found a list")
    return item


def _recipient(item: rlp.RlpItem) -> bytes | None:
    raw = _octets(item)
    if len(raw) not in (0, 20):
        raise EthTransactionError(f"an address is 20 bytes, got {len(raw)}")
    return raw or None


def message_hash(signed: SignedMessage, chain_id: int) -> bytes:
    """The hash that eth_* knows a message by: the transaction's, or for a native message its CID's digest."""
    if signed.signature.type is SignatureType.DELEGATED:
        return EthTransaction.of_message(signed, chain_id).hash
    return signed.cid.digest


def hash_cid(digest: bytes) -> Cid:
    """The CID that a native message's or a tipset key's eth hash is the digest of."""
    return Cid(dag_cbor_cid(b"").raw[:-32] + digest)


def verify_delegated(signed: SignedMessage, chain_id: int) -> None:
    """Return if the delegated signature is that of the message's f410 sender on that chain.

    Raises:
        EthTransactionError: it is not.
    """
    transaction = EthTransaction.of_message(signed, chain_id)
    if transaction.sender() != signed.message.from_:
        raise EthTransactionError(f"the signature was not made by {signed.message.from_}")


def sign_delegated(message: Message, key: Secp256k1Key, chain_id: int) -> SignedMessage:
    """The message from the key's f410 address, signed as the EIP-1559 transaction it is.

    Raises:
        EthTransactionError: the message is none that a transaction can make, or of another sender.
    """
    if message.from_ != key.delegated_address:
        raise EthTransactionError(f"{message.from_} is not the key's f410 address")
    unsigned = _of_unsigned(message, TransactionKind.EIP1559, chain_id)
    data = key.sign_digest(keccak256(unsigned.unsigned_bytes()))
    return SignedMessage(message, Signature(SignatureType.DELEGATED, data))
