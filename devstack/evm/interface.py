"""What a contract's run is given, what it may ask for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

__all__ = ["CallKind", "CallResult", "EvmExit", "Frame", "Host", "Outcome"]


class CallKind(IntEnum):
    """The call instructions by their opcodes. CALLCODE does not exist in the FEVM."""

    CALL = 0xF1
    DELEGATE = 0xF4
    STATIC = 0xFA


class EvmExit(IntEnum):
    """Exit codes of contracts (builtin-actors `actors/evm/src/lib.rs`), and those of the system a frame can end with."""

    OK = 0
    OUT_OF_GAS = 7
    READ_ONLY = 25
    REVERTED = 33
    INVALID_INSTRUCTION = 34
    UNDEFINED_INSTRUCTION = 35
    STACK_UNDERFLOW = 36
    STACK_OVERFLOW = 37
    ILLEGAL_MEMORY_ACCESS = 38
    BAD_JUMP = 39


@dataclass(frozen=True, slots=True)
class Frame:
    """One call of one contract. Addresses are 20 bytes, amounts attoFIL, gas Filecoin gas."""

    code: bytes
    data: bytes
    address: bytes
    caller: bytes
    origin: bytes
    value: int
    gas: int
    gas_price: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a frame ended: its exit code (0 is success), what it returned or reverted with, the gas it took."""

    exit_code: int
    output: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class CallResult:
    """What came of a call or creation; `output` of a creation that succeeded is the new address."""

    success: bool
    output: bytes
    gas_used: int


class Host(Protocol):
    """The chain as a running contract sees it; storage is the contract's own."""

    @property
    def epoch(self) -> int:
        """The block number."""

    @property
    def timestamp(self) -> int:
        """Unix seconds."""

    @property
    def chain_id(self) -> int:
        """The network's EIP-155 id."""

    @property
    def base_fee(self) -> int:
        """AttoFIL per gas."""

    @property
    def block_gas_limit(self) -> int:
        """The most gas that a block holds."""

    def random(self) -> bytes:
        """32 bytes for PREVRANDAO."""

    def block_hash(self, epoch: int) -> bytes:
        """The hash of an ancestor among the last 256 epochs, else 32 zero bytes."""

    def storage(self, slot: int) -> int:
        """A storage word; 0 when never set."""

    def set_storage(self, slot: int, value: int) -> None:
        """Change a storage word."""

    def transient(self, slot: int) -> bytes:
        """A word that lives as long as the message (EIP-1153)."""

    def set_transient(self, slot: int, value: bytes) -> None:
        """Change such a word."""

    def balance(self, address: bytes) -> int:
        """An address' balance; 0 for an unknown one."""

    def code(self, address: bytes) -> bytes:
        """An address' bytecode; empty for accounts, 0xfe for native actors."""

    def exists(self, address: bytes) -> bool:
        """Whether there is an actor."""

    def log(self, topics: tuple[bytes, ...], data: bytes) -> None:
        """Emit a log."""

    def call(
        self, kind: CallKind, frame: Frame, target: bytes, value: int, data: bytes, *, gas: int
    ) -> CallResult:
        """Call an address with at most that gas; a failure changes nothing and is in the result."""

    def create(self, initcode: bytes, value: int, salt: bytes | None, gas: int) -> CallResult:
        """Make a contract (CREATE2 with `salt`)."""

    def destroy(self, beneficiary: bytes) -> None:
        """Give the balance away and end with this message."""
