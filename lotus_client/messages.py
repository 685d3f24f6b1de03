"""Chain messages: their CBOR, their CIDs, and signing them offline.

Source: Lotus `chain/types/message.go`, `signedmessage.go`; checked against published vectors in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from lotus_client import cbor
from lotus_client.address import Address, AddressError
from lotus_client.cbor import CborError, decode_bigint, encode_bigint
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.crypto import (
    Signature,
    SignatureError,
    SignatureType,
    SigningKey,
    verify_signature,
)
from lotus_client.types import AttoFil

__all__ = ["METHOD_SEND", "Message", "MessageError", "SendSpec", "SignedMessage"]

METHOD_SEND = 0  # a bare transfer of value: no actor code runs


class MessageError(ValueError):
    """Bytes that are no message; says which field is wrong."""


@dataclass(frozen=True, slots=True)
class SendSpec:
    """Wishes about fees and repetition for what a node sends or estimates.

    `max_fee` bounds gas limit times fee cap (None: the node's bound, 0.07 FIL by default); what it cuts may be too low to be
    mined. `uuid` names a message to this node: asked again, it answers with the one it sent. `maximize_fee_cap` raises the
    fee cap to what `max_fee` allows. Source: Lotus `api/types.go` (MessageSendSpec), `chain/messagepool`.
    """

    max_fee: AttoFil | None = None
    uuid: UUID | None = None
    maximize_fee_cap: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """An unsigned chain message. Fees are attoFIL per unit of gas."""

    to: Address
    from_: Address
    nonce: int = 0
    value: AttoFil = AttoFil(0)
    gas_limit: int = 0
    gas_fee_cap: AttoFil = AttoFil(0)
    gas_premium: AttoFil = AttoFil(0)
    method: int = METHOD_SEND
    params: bytes = b""
    version: int = 0

    def to_cbor(self) -> bytes:
        """The 10-array of the wire."""
        return cbor.encode(self._fields())

    def _fields(self) -> list[object]:
        return [
            self.version,
            self.to.to_bytes(),
            self.from_.to_bytes(),
            self.nonce,
            encode_bigint(self.value.value),
            self.gas_limit,
            encode_bigint(self.gas_fee_cap.value),
            encode_bigint(self.gas_premium.value),
            self.method,
            self.params,
        ]

    @classmethod
    def from_cbor(cls, raw: bytes) -> Message:
        """The message of its wire bytes.

        Raises:
            MessageError: not a message.
        """
        try:
            return cls._from_fields(cbor.decode(raw))
        except CborError as error:
            raise MessageError(f"not a message: {error}") from error

    @classmethod
    def _from_fields(cls, fields: cbor.CborValue) -> Message:
        match fields:
            case [
                int(version), bytes(to), bytes(from_), int(nonce), bytes(value), int(gas_limit),
                bytes(fee_cap), bytes(premium), int(method), bytes(params),
            ]:  # fmt: skip
                pass
            case _:
                raise MessageError("a message is an array of its ten fields")
        # `int` above also matches CBOR's true and false
        for name, number in (("version", version), ("nonce", nonce), ("method", method)):
            if isinstance(number, bool) or number < 0:
                raise MessageError(f"the {name} of a message is a whole number from 0")
        if isinstance(gas_limit, bool) or not 0 <= gas_limit < 1 << 63:
            raise MessageError("the gas limit of a message is from 0 to 2**63-1")
        try:
            return cls(
                version=version,
                to=Address.from_bytes(to),
                from_=Address.from_bytes(from_),
                nonce=nonce,
                value=AttoFil(decode_bigint(value)),
                gas_limit=gas_limit,
                gas_fee_cap=AttoFil(decode_bigint(fee_cap)),
                gas_premium=AttoFil(decode_bigint(premium)),
                method=method,
                params=params,
            )
        except (AddressError, CborError) as error:
            raise MessageError(f"a field of the message is wrong: {error}") from error

    @property
    def cid(self) -> Cid:
        """The CID of the unsigned message: what wallets sign, and a BLS message's name on chain."""
        return dag_cbor_cid(self.to_cbor())

    @property
    def required_funds(self) -> AttoFil:
        """The most the sender can lose: value plus gas limit times fee cap."""
        return AttoFil(self.value.value + self.gas_limit * self.gas_fee_cap.value)

    def with_fees(self, fee_cap: AttoFil, premium: AttoFil) -> Message:
        """The same call at other fees; nonce, recipient and amount stay."""
        return replace(self, gas_fee_cap=fee_cap, gas_premium=premium)

    def is_same_call(self, other: Message) -> bool:
        """Whether only the gas fields differ, i.e. one may replace the other in the mempool."""
        nothing = AttoFil(0)
        return replace(self, gas_limit=0, gas_fee_cap=nothing, gas_premium=nothing) == replace(
            other, gas_limit=0, gas_fee_cap=nothing, gas_premium=nothing
        )

    def signed_by(self, key: SigningKey) -> SignedMessage:
        """This message with the key's signature over its CID bytes."""
        return SignedMessage(self, key.sign(self.cid.raw))


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message and its signature, ready for `MpoolPush`."""

    message: Message
    signature: Signature

    def to_cbor(self) -> bytes:
        """The 2-array of the wire; these are the bytes to keep before a push."""
        return cbor.encode([self.message._fields(), self.signature.to_bytes()])

    @classmethod
    def from_cbor(cls, raw: bytes) -> SignedMessage:
        """The signed message of its wire bytes.

        Raises:
            MessageError: not a signed message.
        """
        try:
            fields = cbor.decode(raw)
        except CborError as error:
            raise MessageError(f"not a signed message: {error}") from error
        match fields:
            case [list(message), bytes(signature)]:
                pass
            case _:
                raise MessageError("a signed message is an array of message and signature")
        try:
            return cls(Message._from_fields(message), Signature.from_bytes(signature))
        except SignatureError as error:
            raise MessageError(str(error)) from error

    @property
    def cid(self) -> Cid:
        """The CID that `MpoolPush` returns: of the signed bytes, but of the bare message for BLS."""
        if self.signature.type is SignatureType.BLS:
            return self.message.cid
        return dag_cbor_cid(self.to_cbor())

    @property
    def chain_length(self) -> int:
        """The bytes that count for gas: of the signed form, but of the bare message for BLS."""
        is_bls = self.signature.type is SignatureType.BLS
        return len(self.message.to_cbor() if is_bls else self.to_cbor())

    def verify(self, signer: Address | None = None) -> None:
        """Return if the signature is the sender's. `signer` is its key address when the sender is an f0.

        A delegated signature is over an Ethereum transaction, which needs the chain's id: `lotus_client.eth` checks it.

        Raises:
            SignatureError: it is not, or it is a delegated one.
        """
        if self.signature.type is SignatureType.DELEGATED:
            raise SignatureError("a delegated signature is checked by lotus_client.eth")
        verify_signature(self.signature, signer or self.message.from_, self.message.cid.raw)
