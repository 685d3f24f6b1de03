"""The vesting table of a miner as value and as blocks (builtin-actors `actors/miner/src/vesting_state.rs`).

In the state it is null, or its first step and a link to the block of all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from devstack.chain.step_table import StepTable, schedule
from devstack.ipld.linked import Linked
from lotus_client import cbor

__all__ = ["RecentAwards", "VestingFunds", "VestingSteps", "schedule"]


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
def _merged(steps: VestingSteps, recent: RecentAwards | None, offset: int) -> StepTable | None:
    """All steps together, None for none. While a chain grows, each award is added to what the one before gave."""
    if recent is None:
        return StepTable.of(dict(steps.entries)) if steps.entries else None
    before = _merged(steps, recent.before, offset)
    quick = before and before.plus_award(recent.amount, recent.epoch, offset)
    if quick is not None:
        return quick
    together = dict(zip(before.epochs, before.amounts, strict=True)) if before else {}
    for epoch, amount in schedule(recent.amount, recent.epoch, offset):
        together[epoch] = together.get(epoch, 0) + amount
    return StepTable.of(together)


class _Tail:
    """The block of all steps but the first."""

    def __init__(self, table: StepTable) -> None:
        self.block = table.tail
        self.cid = table.tail_cid

    def links(self) -> tuple[Linked, ...]:
        return ()


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
        table = _merged(self.steps, self.recent, offset)
        return tuple(zip(table.epochs, table.amounts, strict=True)) if table else ()

    def to_value(self, offset: int) -> object:
        """The first step and the link to the others, None without any."""
        table = _merged(self.steps, self.recent, offset)
        if table is None:
            return None
        return [[table.epochs[0], cbor.encode_bigint(table.first)], table.tail_cid]

    def tail(self, offset: int) -> tuple[Linked, ...]:
        """The block of all steps but the first, if there are any steps."""
        table = _merged(self.steps, self.recent, offset)
        return (_Tail(table),) if table else ()
