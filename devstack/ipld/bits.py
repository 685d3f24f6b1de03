"""Sets of numbers that are a block of their own: one RLE+ byte string (go-bitfield)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cached_property

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.bitfield import BitField
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["Bits", "bitfield"]


def bitfield(numbers: Iterable[int]) -> bytes:
    """The RLE+ bytes of a set of numbers."""
    return BitField.from_ints(numbers).encode()


class Bits(AbstractSet[int]):
    """An immutable set of numbers with its block."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._numbers = frozenset(numbers)

    def __contains__(self, number: object) -> bool:
        return number in self._numbers

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._numbers))

    def __len__(self) -> int:
        return len(self._numbers)

    def __hash__(self) -> int:
        return hash(self._numbers)

    def __repr__(self) -> str:
        return f"Bits({sorted(self._numbers)!r})"

    def with_(self, numbers: Iterable[int]) -> Bits:
        """The set with these numbers too."""
        return Bits(self._numbers.union(numbers))

    @cached_property
    def block(self) -> bytes:
        """The RLE+ bytes as a CBOR byte string."""
        return cbor.encode(bitfield(self._numbers))

    @cached_property
    def cid(self) -> Cid:
        """The CID of the block."""
        return dag_cbor_cid(self.block)

    def links(self) -> Iterable[Linked]:
        """Nothing is linked from a bitfield."""
        return ()
