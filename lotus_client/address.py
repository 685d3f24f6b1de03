"""Filecoin addresses f0–f4, and their Ethereum form.

The value is the byte form (protocol, payload); the network prefix (`f` on mainnet, `t` elsewhere) is
only how it is printed, so one address compares equal however it was written.
Source: https://spec.filecoin.io/appendix/address/ and FIP-0048 (f4).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from lotus_client.types import ActorId
from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = ["Address", "AddressError", "NetworkPrefix"]

NetworkPrefix = Literal["f", "t"]

_PAYLOAD_LENGTHS: Final = {1: 20, 2: 20, 3: 48}
_MAX_SUBADDRESS: Final = 54  # FIP-0048
_MAX_TEXT: Final = 128  # the longest f4: prefix, 19 digits, `f`, 93 base32 characters
_PLAIN_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}")
_ETH_HEX: Final = re.compile("[0-9a-fA-F]{40}")
_EAM_NAMESPACE: Final = 10  # the Ethereum address manager f010
_MASKED_ID_PREFIX: Final = b"\xff" + bytes(11)  # 0xff + 11 zero bytes + 8-byte id is f0<id>


class AddressError(ValueError):
    """Text or bytes that are not a Filecoin address; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A Filecoin address by protocol (0..4) and payload. Prints with `t`; use `to_text("f")` for mainnet."""

    protocol: int
    payload: bytes

    def __post_init__(self) -> None:
        _check(self.protocol, self.payload)

    @classmethod
    def of_id(cls, actor_id: ActorId | int) -> Address:
        """The f0 address of an actor id."""
        if not 0 <= actor_id < 1 << 63:
            raise AddressError(f"an actor id is 0..2**63-1, got {actor_id}")
        return cls(0, encode_uvarint(actor_id))

    @classmethod
    def of_secp256k1_key(cls, public_key: bytes) -> Address:
        """The f1 address of an uncompressed secp256k1 public key (65 bytes)."""
        if len(public_key) != 65:
            raise AddressError(
                f"a secp256k1 public key is 65 bytes uncompressed, got {len(public_key)}"
            )
        return cls(1, hashlib.blake2b(public_key, digest_size=20).digest())

    @classmethod
    def of_actor_data(cls, data: bytes) -> Address:
        """The f2 address that the init actor derives from `data`."""
        return cls(2, hashlib.blake2b(data, digest_size=20).digest())

    @classmethod
    def of_bls_key(cls, public_key: bytes) -> Address:
        """The f3 address of a BLS public key (48 bytes)."""
        return cls(3, public_key)

    @classmethod
    def of_eth(cls, eth_address: bytes) -> Address:
        """The address an Ethereum address stands for: f410, or f0 for a masked id (0xff00…)."""
        if len(eth_address) != 20:
            raise AddressError(f"an Ethereum address is 20 bytes, got {len(eth_address)}")
        if eth_address.startswith(_MASKED_ID_PREFIX):
            return cls.of_id(int.from_bytes(eth_address[12:], "big"))
        return cls(4, encode_uvarint(_EAM_NAMESPACE) + eth_address)

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address written in `text`: `f…`, `t…` or `0x…` (mixed case is a checksum, EIP-55).

        Raises:
            AddressError: wrong form, wrong length or wrong checksum.
        """
        if len(text) > _MAX_TEXT:
            raise AddressError(f"{text[:100]!r}… is longer than any address")
        if text[:2] in ("0x", "0X"):
            return cls.of_eth(_decode_eth(text))
        if len(text) < 3 or text[0] not in "ft" or text[1] not in "01234":
            raise AddressError(f"{text[:100]!r} is not a Filecoin address (f0…f4 or 0x…)")
        protocol, body = int(text[1]), text[2:]
        if protocol == 0:
            if not _PLAIN_NUMBER.fullmatch(body):
                raise AddressError(f"{text[:100]!r} has no plain decimal actor id up to 2**63-1")
            return cls.of_id(int(body))
        namespace = b""
        if protocol == 4:
            number, separator, body = body.partition("f")
            if not separator or not _PLAIN_NUMBER.fullmatch(number):
                raise AddressError(f"{text[:100]!r} is not of the form f4<namespace>f<subaddress>")
            namespace = encode_uvarint(int(number))
        raw = _decode_base32(body, text)
        if len(raw) < 4:
            raise AddressError(f"{text[:100]!r} is too short for a checksum")
        payload, checksum = namespace + raw[:-4], raw[-4:]
        if _checksum(protocol, payload) != checksum:
            raise AddressError(f"{text[:100]!r} has a wrong checksum: is it mistyped?")
        return cls(protocol, payload)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Address:
        """The address of its byte form (protocol byte, payload), as it stands in messages and state."""
        if not raw:
            raise AddressError("an address has at least one byte")
        return cls(raw[0], raw[1:])

    def to_bytes(self) -> bytes:
        """Protocol byte and payload, as it stands in messages and state."""
        return bytes((self.protocol,)) + self.payload

    def to_text(self, prefix: NetworkPrefix = "t") -> str:
        """The printed form with the network's prefix."""
        if self.protocol == 0:
            return f"{prefix}0{self.actor_id}"
        checksum = _checksum(self.protocol, self.payload)
        if self.protocol == 4:
            namespace, offset = decode_uvarint(self.payload)
            return f"{prefix}4{namespace}f{_encode_base32(self.payload[offset:] + checksum)}"
        return f"{prefix}{self.protocol}{_encode_base32(self.payload + checksum)}"

    @property
    def actor_id(self) -> ActorId:
        """The id of an f0 address.

        Raises:
            AddressError: this is no f0 address; the chain must be asked for its id.
        """
        if self.protocol != 0:
            raise AddressError(f"{self} is not an id address")
        return ActorId(decode_uvarint(self.payload)[0])

    @property
    def eth_address(self) -> bytes | None:
        """The 20 bytes of the Ethereum form (f410 or masked id), or None where there is none."""
        if self.protocol == 0:
            return _MASKED_ID_PREFIX + self.actor_id.to_bytes(8, "big")
        if self.protocol == 4 and self.payload[0] == _EAM_NAMESPACE and len(self.payload) == 21:
            return self.payload[1:]
        return None

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"Address({self.to_text()!r})"


def _check(protocol: int, payload: bytes) -> None:
    if protocol in _PAYLOAD_LENGTHS:
        if len(payload) != _PAYLOAD_LENGTHS[protocol]:
            raise AddressError(
                f"an f{protocol} payload is {_PAYLOAD_LENGTHS[protocol]} bytes, got {len(payload)}"
            )
        return
    if protocol not in (0, 4):
        raise AddressError(f"address protocol {protocol} is not 0..4")
    try:
        number, end = decode_uvarint(payload)
    except VarintError as error:
        raise AddressError(f"an f{protocol} address begins with a number: {error}") from error
    if number >= 1 << 63:
        raise AddressError(f"an f{protocol} address holds numbers up to 2**63-1")
    if protocol == 0 and end != len(payload):
        raise AddressError("bytes follow the id of an f0 address")
    if protocol == 4 and len(payload) - end > _MAX_SUBADDRESS:
        raise AddressError(f"an f4 subaddress is at most {_MAX_SUBADDRESS} bytes")


def _checksum(protocol: int, payload: bytes) -> bytes:
    return hashlib.blake2b(bytes((protocol,)) + payload, digest_size=4).digest()


def _decode_eth(text: str) -> bytes:
    body = text[2:]
    if not _ETH_HEX.fullmatch(body):
        raise AddressError(f"{text[:100]!r} is not an Ethereum address (0x and 40 hex digits)")
    if body not in (body.lower(), body.upper()):
        from eth_utils.address import (
            is_checksum_address,  # keccak is not in hashlib; slow to import
        )

        if not is_checksum_address("0x" + body):
            raise AddressError(f"{text!r} has a wrong checksum (its mixed case): is it mistyped?")
    return bytes.fromhex(body)


def _encode_base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _decode_base32(body: str, whole: str) -> bytes:
    try:
        raw = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except ValueError as error:
        raise AddressError(f"{whole[:100]!r} has characters outside base32") from error
    if _encode_base32(raw) != body:  # also catches upper case and stray bits
        raise AddressError(f"{whole[:100]!r} is not in its one valid base32 form")
    return raw
