"""Content-addressed blocks: where they come from, and the check that a block's bytes are what its CID says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from lotus_client.cid import BLAKE2B_256, IDENTITY, SHA2_256, Cid

__all__ = [
    "BadBlock",
    "BlockMismatch",
    "BlockStore",
    "MissingBlock",
    "UnknownHash",
    "check_block",
    "digest_of",
    "each_of",
]


class BadBlock(ValueError):
    """A block's bytes do not hash to its CID."""

    def __init__(self, cid: Cid, where: str = "") -> None:
        super().__init__(f"block {cid}{where}: its bytes do not hash to its CID")
        self.cid = cid


class BlockMismatch(BadBlock):
    """Where a block should lie, something else does; `where` says what and at which byte."""

    def __init__(self, cid: Cid, where: str) -> None:
        ValueError.__init__(self, f"block {cid}{where}")
        self.cid = cid


class UnknownHash(ValueError):
    """The CID uses a hash function that we do not check, so its block cannot be trusted."""

    def __init__(self, cid: Cid, where: str = "") -> None:
        super().__init__(
            f"block {cid}{where}: hash function 0x{cid.hash_code:x} is not one of "
            "sha2-256, blake2b-256, identity"
        )
        self.cid = cid


class MissingBlock(LookupError):
    """The block is not in this store."""

    def __init__(self, cid: Cid) -> None:
        super().__init__(f"block {cid} is not in this CAR")
        self.cid = cid


class BlockStore(Protocol):
    """Gives verified blocks by CID."""

    def get(self, cid: Cid) -> bytes:
        """The block's bytes, hashed against `cid` before they are returned.

        Raises:
            MissingBlock, BadBlock, UnknownHash: as their names say.
        """
        ...

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """The blocks of `cids` in their order, each as `get` gives it; a few may be read before they are asked for.

        Raises:
            MissingBlock, BadBlock, UnknownHash: behind the blocks before that one.
        """
        ...


def each_of(blocks: BlockStore, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
    """`get_many` for stores that have no faster way than one block after the other."""
    return ((cid, blocks.get(cid)) for cid in cids)


def digest_of(cid: Cid, data: bytes | memoryview) -> bytes:
    """The digest of `data` under the hash function of `cid`.

    Raises:
        UnknownHash: not sha2-256, blake2b-256 or identity.
    """
    code = cid.hash_code
    if code == SHA2_256:
        return hashlib.sha256(data).digest()
    if code == BLAKE2B_256:
        return hashlib.blake2b(data, digest_size=32).digest()
    if code == IDENTITY:
        return bytes(data)
    raise UnknownHash(cid)


def check_block(cid: Cid, data: bytes | memoryview, where: str = "") -> None:
    """Returns if `data` is the block of `cid`; `where` goes into the error's text.

    A truncated digest is not accepted, as it would prove less than it seems to.

    Raises:
        BadBlock: the hash differs.
        UnknownHash: the hash function is not one we check.
    """
    try:
        digest = digest_of(cid, data)
    except UnknownHash:
        raise UnknownHash(cid, where) from None
    if digest != cid.digest:
        raise BadBlock(cid, where)
