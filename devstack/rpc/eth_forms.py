"""Ethereum's JSON forms: quantities, bytes, addresses, block parameters, calls. Source: Lotus `chain/types/ethtypes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from devstack.chain import StateView
from devstack.chain.gas import BLOCK_GAS_LIMIT
from devstack.rpc.methods import Param
from devstack.rpc.params import decode_bool, decode_list, decode_object, decode_string
from lotus_client.actors.evm import EAM, EamMethod, EvmMethod, cbor_bytes
from lotus_client.address import Address, AddressError
from lotus_client.messages import Message
from lotus_client.types import AttoFil

__all__ = [
    "BLOCK",
    "BLOCK_NUMBER",
    "ETH_ADDRESS",
    "ETH_BYTES",
    "ETH_CALL",
    "ETH_HASH",
    "ETH_UINT",
    "OPTIONAL_HASH",
    "BlockParam",
    "EthCall",
    "decode_address",
    "decode_block",
    "decode_call",
    "decode_hash",
    "decode_hex",
    "decode_quantity",
    "eth_address_of",
    "hex_bytes",
    "masked",
]

_TAGS: Final = ("earliest", "pending", "latest", "safe", "finalized")
_NOWHERE: Final = b"\xff" + bytes(11) + b"\xff" * 8  # a recipient that does not exist (any more)
_ZERO: Final = bytes(20)
_HEX: Final = re.compile("(0x)?[0-9a-fA-F]{1,64}")


def hex_bytes(data: bytes) -> str:
    """`0x` and hex digits."""
    return "0x" + data.hex()


def decode_hex(value: Any) -> bytes:
    """Bytes of hex text, with or without `0x`."""
    text = decode_string(value).removeprefix("0x")
    return bytes.fromhex("0" * (len(text) % 2) + text)


def decode_quantity(value: Any) -> int:
    """A number from 0 on in hex text, with or without `0x`."""
    text = decode_string(value)
    if not text:
        return 0
    if not _HEX.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no hex quantity")
    return int(text, 16)


def decode_hash(value: Any) -> bytes:
    """32 bytes."""
    raw = decode_hex(value)
    if len(raw) != 32:
        raise ValueError(f"invalid hash length: {len(raw)}")
    return raw


def decode_address(value: Any) -> bytes:
    """20 bytes."""
    raw = decode_hex(value)
    if len(raw) != 20:
        raise ValueError(
            f"cannot parse bytes into an EthAddress: incorrect input length {len(raw)}"
        )
    return raw


@dataclass(frozen=True, slots=True)
class BlockParam:
    """One of: a tag, a number, a hash."""

    tag: str | None = None
    number: int | None = None
    hash: bytes | None = None
    canonical: bool = False


def decode_block(value: Any) -> BlockParam:
    """A block parameter: text, or an object with blockNumber or blockHash (EIP-1898)."""
    if isinstance(value, dict):
        body = decode_object(value)
        number, digest = body.get("blockNumber"), body.get("blockHash")
        if (number is None) == (digest is None):
            raise ValueError("cannot specify both blockNumber and blockHash, or neither")
        if number is not None:
            return BlockParam(number=decode_quantity(number))
        return BlockParam(
            hash=decode_hash(digest), canonical=decode_bool(body.get("requireCanonical"))
        )
    text = decode_string(value)
    if text in _TAGS:
        return BlockParam(tag=text)
    if not text:
        raise ValueError("a block parameter is a tag, a number or an object")
    return BlockParam(number=decode_quantity(text))


def _decode_block_number(value: Any) -> BlockParam:
    """Text only: a tag, a hex number, or a decimal one."""
    text = decode_string(value)
    if text in _TAGS:
        return BlockParam(tag=text)
    if text.isascii() and text.isdigit():
        return BlockParam(number=int(text))
    return BlockParam(number=decode_quantity(text))


@dataclass(frozen=True, slots=True)
class EthCall:
    """The object of eth_call and eth_estimateGas; gas 0 is none given."""

    sender: bytes
    to: bytes | None
    value: int
    data: bytes
    gas: int

    def to_message(self) -> Message:
        """The message that makes this call (Lotus EthCall.ToFilecoinMessage)."""
        target = EAM if self.to is None else Address.of_eth(self.to)
        method = EamMethod.CREATE_EXTERNAL if self.to is None else EvmMethod.INVOKE_CONTRACT
        return Message(
            to=target,
            from_=Address.of_eth(self.sender),
            value=AttoFil(self.value),
            gas_limit=self.gas or BLOCK_GAS_LIMIT,
            method=int(method),
            params=cbor_bytes(self.data) if self.data or self.to is None else b"",
        )


def decode_call(value: Any) -> EthCall:
    """A call object; `input` goes before `data`, and no sender is the zero address."""
    body = decode_object(value)
    to, data = body.get("to"), body.get("input")
    return EthCall(
        sender=_ZERO if body.get("from") is None else decode_address(body["from"]),
        to=None if to is None or to == "" else decode_address(to),
        value=decode_quantity(body.get("value")),
        data=decode_hex(body.get("data") if data is None else data),
        gas=decode_quantity(body.get("gas")),
    )


def masked(actor_id: int) -> bytes:
    """The masked-id address of an actor."""
    raw = Address.of_id(actor_id).eth_address
    assert raw is not None
    return raw


def eth_address_of(address: Address, state: StateView) -> bytes | None:
    """The best Ethereum address: f410, else that of the actor, else its masked id; None for no actor.

    As Lotus' `lookupEthAddress`.
    """
    if address.protocol == 4:
        return address.eth_address
    try:
        actor_id = state.actor_id(address)
    except AddressError:
        actor_id = None
    if actor_id is None:
        return masked(address.actor_id) if address.protocol == 0 else None
    delegated = state.actor(address).delegated_address
    found = None if delegated is None else delegated.eth_address
    return masked(actor_id) if found is None else found


def recipient_of(address: Address, state: StateView) -> bytes:
    """As `eth_address_of`, and the address that stands for nobody when there is no actor."""
    return eth_address_of(address, state) or _NOWHERE


BLOCK: Final = Param("ethtypes.EthBlockNumberOrHash", decode_block)
BLOCK_NUMBER: Final = Param("string", _decode_block_number)
ETH_ADDRESS: Final = Param("ethtypes.EthAddress", decode_address)
ETH_BYTES: Final = Param("ethtypes.EthBytes", decode_hex)
ETH_CALL: Final = Param("ethtypes.EthCall", decode_call)
ETH_HASH: Final = Param("ethtypes.EthHash", decode_hash)
ETH_UINT: Final = Param("ethtypes.EthUint64", decode_quantity)
OPTIONAL_HASH: Final = Param(
    "*ethtypes.EthHash", lambda value: None if value is None else decode_hash(value)
)
ADDRESSES: Final = Param("[]ethtypes.EthAddress", lambda value: decode_list(value, decode_address))
