"""A contract's state.

The fields are those of builtin-actors `actors/evm/src/state.rs`, but storage is a plain table here and bytecode lies in
the state itself: the KAMT that the real actor keeps its storage in is not reproduced.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from devstack.chain.table import State, Table
from lotus_client.cid import Cid
from lotus_client.crypto import keccak256

__all__ = ["EvmState", "Transient", "bytecode_cid"]

_RAW_BLOCK = bytes.fromhex("0155a0e40220")  # CIDv1, raw, blake2b-256


def bytecode_cid(code: bytes) -> Cid:
    """The CID that GetBytecode names code by: a raw block under blake2b-256."""
    return Cid(_RAW_BLOCK + hashlib.blake2b(code, digest_size=32).digest())


@dataclass(frozen=True)
class Transient(State):
    """Words that live for one message: its origin's id and nonce, and the words by slot (EIP-1153)."""

    origin: int
    nonce: int
    words: Table[bytes, bytes] = field(default_factory=Table)


@dataclass(frozen=True)
class EvmState(State):
    """Code, storage words by slot (32 bytes each, zero words absent), and how many contracts it has made, plus 1.

    `tombstone` is (origin's id, nonce) of the message in which the contract destroyed itself.
    """

    bytecode: bytes = b""
    bytecode_hash: bytes = b""
    storage: Table[bytes, bytes] = field(default_factory=Table)
    transient: Transient | None = None
    nonce: int = 1
    tombstone: tuple[int, int] | None = None

    def is_dead(self, origin: int, nonce: int) -> bool:
        """Whether the contract ended in another message than this one."""
        return self.tombstone is not None and self.tombstone != (origin, nonce)

    @property
    def code_hash(self) -> bytes:
        """Keccak of the code; of a contract that has none yet, of nothing."""
        return self.bytecode_hash or keccak256(b"")
