"""A contract's state, in the blocks of builtin-actors v18 (`actors/evm/src/state.rs`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from devstack.chain.table import State
from devstack.ipld import Kamt, Linked, word
from lotus_client.cid import Cid
from lotus_client.crypto import keccak256

__all__ = ["EvmState", "Transient", "bytecode_cid"]

_RAW_BLOCK = bytes.fromhex("0155a0e40220")  # CIDv1, raw, blake2b-256


def bytecode_cid(code: bytes) -> Cid:
    """The CID that a contract's code is named by: a raw block under blake2b-256."""
    return Cid(_RAW_BLOCK + hashlib.blake2b(code, digest_size=32).digest())


class _Bytecode:
    """A contract's code as the block that its state links to."""

    def __init__(self, code: bytes) -> None:
        self.block = code
        self.cid = bytecode_cid(code)

    def links(self) -> Iterable[Linked]:
        return ()


@dataclass(frozen=True)
class Transient(State):
    """Words that live for one message: its origin's id and nonce, and the words by slot (EIP-1153).

    No block of its own: it is a part of the contract's.
    """

    origin: int
    nonce: int
    words: Kamt[bytes] = Kamt(word)

    def to_value(self) -> object:
        return [self.words.cid, [self.origin, self.nonce]]

    def to_json(self) -> dict[str, Any]:
        """As StateReadState shows it (go-state-types `builtin/v18/evm`)."""
        lifespan = {"Origin": self.origin, "Nonce": self.nonce}
        return {
            "TransientDataState": {"/": str(self.words.cid)},
            "TransientDataLifespan": lifespan,
        }


@dataclass(frozen=True)
class EvmState(State):
    """Code, storage words by slot (32 bytes each, zero words absent), and how many contracts it has made, plus 1.

    `tombstone` is (origin's id, nonce) of the message in which the contract destroyed itself.
    """

    bytecode: bytes = b""
    bytecode_hash: bytes = b""
    storage: Kamt[bytes] = Kamt(word)
    transient: Transient | None = None
    nonce: int = 1
    tombstone: tuple[int, int] | None = None

    def to_value(self) -> object:
        return [
            bytecode_cid(self.bytecode),
            self.code_hash,
            self.storage.cid,
            None if self.transient is None else self.transient.to_value(),
            self.nonce,
            None if self.tombstone is None else list(self.tombstone),
        ]

    def links(self) -> Iterable[Linked]:
        """The code and the maps of storage."""
        yield _Bytecode(self.bytecode)
        yield self.storage
        if self.transient is not None:
            yield self.transient.words

    def is_dead(self, origin: int, nonce: int) -> bool:
        """Whether the contract ended in another message than this one."""
        return self.tombstone is not None and self.tombstone != (origin, nonce)

    @property
    def code_hash(self) -> bytes:
        """Keccak of the code; of a contract that has none yet, of nothing."""
        return self.bytecode_hash or keccak256(b"")
