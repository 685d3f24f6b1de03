"""What is a block of its own, and what may stand inside one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from lotus_client.cid import Cid

__all__ = ["Linked"]


class Linked(Protocol):
    """A block: its CID, its dag-cbor bytes, and the blocks whose CIDs stand in it."""

    @property
    def cid(self) -> Cid:
        """The CID of the block."""
        ...

    @property
    def block(self) -> bytes:
        """The block's bytes."""
        ...

    def links(self) -> Iterable[Linked]:
        """The blocks linked from this one, as far as they are part of the state."""
        ...
