"""EAM f010 and EVM contracts: method numbers, params and returns.

Source: builtin-actors v18 `actors/eam/src/lib.rs`, `actors/evm/src/{lib,types}.rs`; go-state-types `builtin/v18/eam`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.wire import ParamsError, Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid
from lotus_client.state import EventEntry

__all__ = [
    "EAM",
    "REVERTED",
    "ConstructorParams",
    "Create2Params",
    "CreateParams",
    "CreateReturn",
    "DelegateCallParams",
    "EamMethod",
    "EvmMethod",
    "RawBytes",
    "cbor_bytes",
    "log_entries",
    "log_of",
    "optional_bytes",
]

EAM: Final = Address.of_id(10)
REVERTED: Final = 33  # the exit code of a contract's REVERT
_RAW: Final = 0x55
_INDEXED: Final = 3


class EamMethod(IntEnum):
    """f010."""

    CREATE = 2
    CREATE2 = 3
    CREATE_EXTERNAL = 4


class EvmMethod(IntEnum):
    """Any contract."""

    CONSTRUCTOR = 1
    RESURRECT = 2
    GET_BYTECODE = 3
    GET_BYTECODE_HASH = 4
    GET_STORAGE_AT = 5
    INVOKE_CONTRACT_DELEGATE = 6
    INVOKE_CONTRACT = 3844450837  # FRC-42 of "InvokeEVM"


@dataclass(frozen=True, slots=True)
class RawBytes(Wire):
    """Calldata, return data, initcode of CreateExternal: one bare byte string."""

    data: bytes

    def to_value(self) -> object:
        return self.data

    @classmethod
    def from_value(cls, value: CborValue) -> RawBytes:
        return cls(wire.octets(value))


@dataclass(frozen=True, slots=True)
class CreateParams(Wire):
    """f010 method 2, by contracts: initcode and the creator's nonce."""

    initcode: bytes
    nonce: int

    def to_value(self) -> object:
        return [self.initcode, self.nonce]

    @classmethod
    def from_value(cls, value: CborValue) -> CreateParams:
        initcode, nonce = wire.fields(value, 2, "Create")
        return cls(wire.octets(initcode), wire.unsigned(nonce))


@dataclass(frozen=True, slots=True)
class Create2Params(Wire):
    """f010 method 3, by contracts: initcode and 32 bytes of salt."""

    initcode: bytes
    salt: bytes

    def to_value(self) -> object:
        return [self.initcode, self.salt]

    @classmethod
    def from_value(cls, value: CborValue) -> Create2Params:
        initcode, salt = wire.fields(value, 2, "Create2")
        return cls(wire.octets(initcode), _sized(salt, 32, "a salt"))


@dataclass(frozen=True, slots=True)
class CreateReturn(Wire):
    """Return of all three: the new contract by id, f2 (None when it was resurrected) and Ethereum address."""

    actor_id: int
    robust_address: Address | None
    eth_address: bytes

    def to_value(self) -> object:
        robust = None if self.robust_address is None else self.robust_address.to_bytes()
        return [self.actor_id, robust, self.eth_address]

    @classmethod
    def from_value(cls, value: CborValue) -> CreateReturn:
        actor_id, robust, eth = wire.fields(value, 3, "created contract")
        return cls(
            wire.unsigned(actor_id),
            wire.optional(robust, wire.address),
            _sized(eth, 20, "an Ethereum address"),
        )


@dataclass(frozen=True, slots=True)
class ConstructorParams(Wire):
    """EVM method 1: who creates the contract, and its initcode."""

    creator: bytes
    initcode: bytes

    def to_value(self) -> object:
        return [self.creator, self.initcode]

    @classmethod
    def from_value(cls, value: CborValue) -> ConstructorParams:
        creator, initcode = wire.fields(value, 2, "EVM constructor")
        return cls(_sized(creator, 20, "an Ethereum address"), wire.octets(initcode))


@dataclass(frozen=True, slots=True)
class DelegateCallParams(Wire):
    """EVM method 6, of a contract to itself: the code to run, calldata, and the caller and value it shall see."""

    code: Cid
    data: bytes
    caller: bytes
    value: int

    def to_value(self) -> object:
        return [self.code, self.data, self.caller, wire.big_bytes(self.value)]

    @classmethod
    def from_value(cls, value: CborValue) -> DelegateCallParams:
        code, data, caller, amount = wire.fields(value, 4, "InvokeContractDelegate")
        return cls(
            wire.link(code),
            wire.octets(data),
            _sized(caller, 20, "an Ethereum address"),
            wire.big(amount),
        )


def _sized(value: CborValue, size: int, what: str) -> bytes:
    raw = wire.octets(value)
    if len(raw) != size:
        raise ParamsError(f"{what} is {size} bytes, got {len(raw)}")
    return raw


def log_entries(topics: tuple[bytes, ...], data: bytes) -> tuple[EventEntry, ...]:
    """A contract's LOG as an actor event: raw values under t1..t4, then d unless it is empty (FIP-0054)."""
    keyed = [(f"t{index}", topic) for index, topic in enumerate(topics, 1)]
    if data:
        keyed.append(("d", data))
    return tuple(EventEntry(_INDEXED, key, _RAW, value) for key, value in keyed)


def log_of(entries: tuple[EventEntry, ...]) -> tuple[tuple[bytes, ...], bytes] | None:
    """Topics and data of an actor event that is an Ethereum log; None when it is none.

    It is one when all entries are raw, topics are 32 bytes under t1..t4 without gap or repeat, and data comes at most
    once (Lotus `chain/types/ethtypes` EthLogFromEvent).
    """
    topics: dict[str, bytes] = {}
    data: bytes | None = None
    for entry in entries:
        if entry.codec != _RAW:
            return None
        if entry.key in ("t1", "t2", "t3", "t4"):
            if len(entry.value) != 32 or entry.key in topics:
                return None
            topics[entry.key] = entry.value
        elif entry.key == "d":
            if data is not None:
                return None
            data = entry.value
    if sorted(topics) != [f"t{index}" for index in range(1, len(topics) + 1)]:
        return None
    return tuple(topics[key] for key in sorted(topics)), data or b""


def optional_bytes(raw: bytes) -> bytes:
    """The byte string that params hold; empty params hold an empty one.

    Raises:
        ParamsError: not one byte string.
    """
    if not raw:
        return b""
    return RawBytes.from_cbor(raw).data


def cbor_bytes(data: bytes) -> bytes:
    """The CBOR of one byte string."""
    return cbor.encode(data)
