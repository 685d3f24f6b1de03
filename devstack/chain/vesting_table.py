"""The vesting table of a miner as value and as blocks (builtin-actors `actors/miner/src/vesting_state.rs`).

In the state it is null, or its first step and a link to the block of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, sub
from typing import Final

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.types import EPOCHS_PER_DAY

__all__ = ["RecentAwards", "VestingFunds", "VestingSteps", "schedule"]

_PERIOD: Final = 180 * EPOCHS_PER_DAY
_STEP: Final = EPOCHS_PER_DAY
_QUANTUM: Final = EPOCHS_PER_DAY // 2

_Steps = tuple[Sequence[int], Sequence[int]]  # epochs, amounts


def schedule(amount: int, start: int, offset: int) -> list[tuple[int, int]]:
    """The (epoch, amount) steps of an award of that locked amount; they sum to it exactly.

    `offset` is the miner's proving period start. Source: builtin-actors `actors/miner/src/vesting_state.rs`.
    """
    return list(zip(*_schedule(amount, start, offset), strict=True))


def _schedule(amount: int, start: int, offset: int) -> _Steps:
    if amount <= 0:
        return (), ()
    # a step is a whole number of quanta, so rounding up moves all of them by the same
    first = offset + -(-(start + _STEP - offset) // _QUANTUM) * _QUANTUM
    targets = [amount * elapsed // _PERIOD for elapsed in range(first - start, _PERIOD, _STEP)]
    targets.append(amount)
    epochs = _epochs(first, len(targets))
    return epochs, [targets[0], *map(sub, targets[1:], targets)]


@lru_cache(maxsize=64)
def _epochs(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + _STEP * count, _STEP))


@dataclass(frozen=True, eq=False)
class VestingSteps:
    """(epoch, amount) steps by epoch. Compared by identity, which is what the cache below needs."""

    entries: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class RecentAwards:
    """An award's locked amount and the awards before it; `oldest` is the epoch of the first."""

    epoch: int
    amount: int
    oldest: int
    count: int
    before: RecentAwards | None = None


@lru_cache(maxsize=64)
def _merged(steps: VestingSteps, recent: RecentAwards | None, offset: int) -> _Steps:
    """All steps together. While a chain grows, each award is added to what the one before gave."""
    if recent is None:
        entries = steps.entries
        return tuple(epoch for epoch, _ in entries), tuple(amount for _, amount in entries)
    epochs, amounts = _merged(steps, recent.before, offset)
    new_epochs, new_amounts = _schedule(recent.amount, recent.epoch, offset)
    if new_epochs == epochs:
        return epochs, tuple(map(add, amounts, new_amounts))
    together = dict(zip(epochs, amounts, strict=True))
    for epoch, amount in zip(new_epochs, new_amounts, strict=True):
        together[epoch] = together.get(epoch, 0) + amount
    ordered = sorted(together)
    return tuple(ordered), tuple(together[epoch] for epoch in ordered)


@lru_cache(maxsize=64)
def _heads(epochs: Sequence[int], size: int) -> tuple[bytes, ...]:
    """What stands before each magnitude of that many bytes: the pair's head, the epoch, the amount's head and sign."""
    amount = bytes((0x41 + size, 0))
    return tuple(b"\x82" + cbor.encode(epoch) + amount for epoch in epochs)


def _encoded(epochs: Sequence[int], amounts: Sequence[int]) -> list[bytes]:
    """The dag-cbor of the steps. Nearly all amounts take as many bytes as the largest, so those are done quickly."""
    size = (max(amounts, default=0).bit_length() + 7) >> 3
    if not 0 < size < 23:
        return [_step(*step) for step in zip(epochs, amounts, strict=True)]
    floor = 1 << (8 * (size - 1))
    return [
        head + amount.to_bytes(size, "big") if amount >= floor else _step(epoch, amount)
        for head, epoch, amount in zip(_heads(epochs, size), epochs, amounts, strict=True)
    ]


def _step(epoch: int, amount: int) -> bytes:
    return cbor.encode([epoch, cbor.encode_bigint(amount)])


class _Tail:
    """The block of all steps but the first."""

    def __init__(self, epochs: Sequence[int], amounts: Sequence[int]) -> None:
        self.block = b"\x81" + cbor.join_list(_encoded(epochs[1:], amounts[1:]))
        self.cid = dag_cbor_cid(self.block)

    def links(self) -> tuple[Linked, ...]:
        return ()


@lru_cache(maxsize=64)
def _tail_cid(steps: VestingSteps, recent: RecentAwards | None, offset: int) -> Cid:
    return _Tail(*_merged(steps, recent, offset)).cid


@dataclass(frozen=True)
class VestingFunds:
    """Locked rewards: (epoch, amount) steps, and awards not yet turned into steps.

    An award's 180 steps are kept as such only from the next deadline on: past states then share one table per hour of
    the chain instead of having one each. The blocks always have the whole table; `offset` is the proving period start.
    """

    steps: VestingSteps = VestingSteps()
    recent: RecentAwards | None = None

    def entries(self, offset: int) -> tuple[tuple[int, int], ...]:
        """Every (epoch, amount) still locked, by epoch."""
        if self.recent is None:
            return self.steps.entries
        return tuple(zip(*_merged(self.steps, self.recent, offset), strict=True))

    def to_value(self, offset: int) -> object:
        """The first step and the link to the others, None without any."""
        epochs, amounts = _merged(self.steps, self.recent, offset)
        if not epochs:
            return None
        first = [epochs[0], cbor.encode_bigint(amounts[0])]
        return [first, _tail_cid(self.steps, self.recent, offset)]

    def tail(self, offset: int) -> tuple[Linked, ...]:
        """The block of all steps but the first, if there are any steps."""
        epochs, amounts = _merged(self.steps, self.recent, offset)
        return (_Tail(epochs, amounts),) if epochs else ()
