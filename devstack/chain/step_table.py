"""The steps of a vesting table, kept in the form of their block so that one more award is one addition.

Every award adds to the same 180 or so of the steps, and every state has the block of all of them. The entries of that block are
kept as one long number in which each amount is a field of as many bytes as it takes: adding an award to all of them is
adding one number. Before a field could overflow, or when steps are added or go, the number is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import sub
from typing import Final

from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.types import EPOCHS_PER_DAY

__all__ = ["StepTable", "schedule"]

_STEP: Final = EPOCHS_PER_DAY
_DAYS: Final = 180
_PERIOD: Final = _DAYS * _STEP
_QUANTUM: Final = EPOCHS_PER_DAY // 2


def schedule(amount: int, start: int, offset: int) -> list[tuple[int, int]]:
    """The (epoch, amount) steps of an award of that locked amount; they sum to it exactly.

    `offset` is the miner's proving period start. Source: builtin-actors `actors/miner/src/vesting_state.rs`.
    """
    if amount <= 0:
        return []
    first = _first_step(start, offset)
    targets = [amount * elapsed // _PERIOD for elapsed in range(first - start, _PERIOD, _STEP)]
    targets.append(amount)
    amounts = [targets[0], *map(sub, targets[1:], targets)]
    return list(zip(_epochs(first, len(amounts)), amounts, strict=True))


def _first_step(start: int, offset: int) -> int:
    # a step is a whole number of quanta, so rounding up moves all of them by the same
    return offset + -(-(start + _STEP - offset) // _QUANTUM) * _QUANTUM


@lru_cache(maxsize=64)
def _epochs(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + _STEP * count, _STEP))


class _Layout:
    """Where the amounts are, of so many bytes each, in the entries of these epochs written one after another."""

    def __init__(self, epochs: Sequence[int], sizes: Sequence[int]) -> None:
        self.epochs = tuple(epochs)
        self.sizes = tuple(sizes)
        self.heads = [_head(epoch, size) for epoch, size in zip(epochs, sizes, strict=True)]
        lengths = [len(head) + size for head, size in zip(self.heads, sizes, strict=True)]
        self.ends = list(accumulate(lengths))
        self.length = self.ends[-1]
        self.index = {epoch: at for at, epoch in enumerate(epochs)}

    def packed(self, amounts: Sequence[int]) -> int:
        """The entries as one number."""
        parts = [
            head + amount.to_bytes(size, "big")
            for head, amount, size in zip(self.heads, amounts, self.sizes, strict=True)
        ]
        return int.from_bytes(b"".join(parts), "big")

    def unpacked(self, packed: int) -> tuple[int, ...]:
        """The amounts."""
        raw = packed.to_bytes(self.length, "big")
        places = zip(self.ends, self.sizes, strict=True)
        return tuple(int.from_bytes(raw[end - size : end], "big") for end, size in places)

    def shift(self, at: int) -> int:
        """How far an amount is from the number's end, in bits."""
        return 8 * (self.length - self.ends[at])


def _head(epoch: int, size: int) -> bytes:
    """What stands before a magnitude of that many bytes: the pair's head, the epoch, the amount's head and sign."""
    amount = cbor.encode(bytes(size + 1))[:-size] if size else cbor.encode(b"")
    return b"\x82" + cbor.encode(epoch) + amount


class _Award:
    """Where the steps of an award are in a layout that has all of them."""

    def __init__(self, layout: _Layout, places: Sequence[int]) -> None:
        self.first, self.last = layout.shift(places[0]), layout.shift(places[-1])
        self._length = layout.length
        ends = [layout.ends[at] - 1 for at in places[1:-1]]
        self.ones = sum(1 << layout.shift(at) for at in places[1:-1])
        self._runs = _runs(ends)

    def spread(self, small: bytes) -> int:
        """What adds so much to each step but the first and the last."""
        raw = bytearray(self._length)
        for numbers, places in self._runs:
            raw[places] = small[numbers]
        return int.from_bytes(raw, "big")


def _runs(places: Sequence[int]) -> list[tuple[slice, slice]]:
    """The places as slices of equal stride, each with the numbers it is for."""
    runs: list[tuple[slice, slice]] = []
    start = 0
    while start < len(places):
        stride = places[start + 1] - places[start] if start + 1 < len(places) else 1
        stop = start + 1
        while stop < len(places) and places[stop] - places[stop - 1] == stride:
            stop += 1
        runs.append((slice(start, stop), slice(places[start], places[stop - 1] + 1, stride)))
        start = stop
    return runs


@lru_cache(maxsize=16)
def _award(layout: _Layout, first: int, count: int) -> _Award | None:
    places = [layout.index.get(epoch) for epoch in _epochs(first, count)]
    known = [at for at in places if at is not None]
    return _Award(layout, known) if len(known) == count else None


@lru_cache(maxsize=16)
def _layout(epochs: tuple[int, ...], sizes: tuple[int, ...]) -> _Layout:
    return _Layout(epochs, sizes)


class StepTable:
    """Steps by epoch, never changed. `_largest` is by number of bytes: no amount of so many is more."""

    def __init__(self, layout: _Layout, packed: int, largest: Mapping[int, int]) -> None:
        self._layout = layout
        self._packed = packed
        self._largest = largest

    @classmethod
    def of(cls, steps: Mapping[int, int]) -> StepTable:
        """The table of these amounts by epoch; there is at least one."""
        epochs = tuple(sorted(steps))
        amounts = [steps[epoch] for epoch in epochs]
        sizes = tuple((amount.bit_length() + 7) >> 3 for amount in amounts)
        largest: dict[int, int] = {}
        for size, amount in zip(sizes, amounts, strict=True):
            largest[size] = max(largest.get(size, 0), amount)
        layout = _layout(epochs, sizes)
        return cls(layout, layout.packed(amounts), largest)

    @property
    def epochs(self) -> tuple[int, ...]:
        """When something vests, in order."""
        return self._layout.epochs

    @cached_property
    def amounts(self) -> tuple[int, ...]:
        """What vests then, in attoFIL."""
        return self._layout.unpacked(self._packed)

    @cached_property
    def _raw(self) -> bytes:
        return self._packed.to_bytes(self._layout.length, "big")

    @property
    def first(self) -> int:
        """What vests first."""
        end = self._layout.ends[0]
        return int.from_bytes(self._raw[end - self._layout.sizes[0] : end], "big")

    @property
    def tail(self) -> bytes:
        """The block of all other steps."""
        rest = self._raw[self._layout.ends[0] :]
        return b"\x81" + _list_head(len(self.epochs) - 1) + rest

    @cached_property
    def tail_cid(self) -> Cid:
        """The CID of that block."""
        return dag_cbor_cid(self.tail)

    def plus_award(self, amount: int, start: int, offset: int) -> StepTable | None:
        """The table with an award added; None if it has other steps, or if an amount may grow a byte longer."""
        first = _first_step(start, offset)
        elapsed = first - start
        count = len(range(elapsed, _PERIOD, _STEP)) + 1
        award = _award(self._layout, first, count) if amount > 0 and count > 1 else None
        if award is None:
            return None
        # each step is a 180th, and one more where the fractions carry
        share, left = divmod(amount, _DAYS)
        target, fraction = divmod(amount * elapsed, _PERIOD)
        wholes = [(fraction + at * left * _STEP) // _PERIOD for at in range(count - 1)]
        last = amount - (target + share * (count - 2) + wholes[-1])
        most = max(target, share + 1, last)
        largest = {size: bound + most for size, bound in self._largest.items()}
        if any(bound >> 8 * size for size, bound in largest.items()):
            return None
        carries = award.spread(bytes(map(sub, wholes[1:], wholes)))
        ends = (target << award.first) + (last << award.last)
        packed = self._packed + share * award.ones + carries + ends
        return StepTable(self._layout, packed, largest)


@lru_cache(maxsize=512)
def _list_head(count: int) -> bytes:
    return cbor.join_list([b""] * count)
