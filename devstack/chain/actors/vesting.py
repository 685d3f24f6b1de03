"""Vesting of locked rewards: 180 daily steps, each rounded up to half a day (actors.md §7)."""

from __future__ import annotations

from operator import sub
from typing import Final

from devstack.chain.states import MinerState, RecentAwards, VestingFunds, VestingSteps
from devstack.chain.table import replace
from lotus_client.types import EPOCHS_PER_DAY

__all__ = ["add_award", "all_steps", "schedule", "settled", "unlock_due", "unlock_unvested"]

_PERIOD: Final = 180 * EPOCHS_PER_DAY
_STEP: Final = EPOCHS_PER_DAY
_QUANTUM: Final = EPOCHS_PER_DAY // 2
_MAX_RECENT: Final = 256


def schedule(amount: int, start: int, offset: int) -> list[tuple[int, int]]:
    """The (epoch, amount) steps of an award of that locked amount; they sum to it exactly.

    `offset` is the miner's proving period start. Source: builtin-actors `actors/miner/src/vesting_state.rs`.
    """
    if amount <= 0:
        return []
    # a step is a whole number of quanta, so rounding up moves all of them by the same
    first = offset + -(-(start + _STEP - offset) // _QUANTUM) * _QUANTUM
    targets = [amount * elapsed // _PERIOD for elapsed in range(first - start, _PERIOD, _STEP)]
    targets.append(amount)
    parts = map(sub, targets, [0, *targets])
    return list(zip(range(first, first + _STEP * len(targets), _STEP), parts, strict=False))


def all_steps(state: MinerState) -> tuple[tuple[int, int], ...]:
    """Every step still locked, by epoch."""
    award = state.vesting.recent
    if award is None:
        return state.vesting.steps.entries
    merged = dict(state.vesting.steps.entries)
    while award is not None:
        for epoch, part in schedule(award.amount, award.epoch, state.proving_period_start):
            merged[epoch] = merged.get(epoch, 0) + part
        award = award.before
    return tuple(sorted(merged.items()))


def settled(state: MinerState) -> MinerState:
    """The state with recent awards turned into steps."""
    if state.vesting.recent is None:
        return state
    return replace(state, vesting=VestingFunds(VestingSteps(all_steps(state))))


def unlock_due(state: MinerState, now: int) -> MinerState:
    """The state after all steps before `now` were unlocked."""
    recent = state.vesting.recent
    if recent is not None and (recent.count >= _MAX_RECENT or now > recent.oldest + _STEP):
        state = settled(state)
    entries = state.vesting.steps.entries
    count = 0
    while count < len(entries) and entries[count][0] < now:
        count += 1
    if not count:
        return state
    freed = sum(amount for _, amount in entries[:count])
    vesting = replace(state.vesting, steps=VestingSteps(entries[count:]))
    return replace(state, vesting=vesting, locked_funds=state.locked_funds - freed)


def add_award(state: MinerState, now: int, amount: int) -> MinerState:
    """The state with an award's locked part added, and due steps unlocked."""
    state = unlock_due(state, now)
    if amount == 0:
        return state
    before = state.vesting.recent
    oldest, count = (before.oldest, before.count + 1) if before else (now, 1)
    recent = RecentAwards(now, amount, oldest, count, before)
    vesting = replace(state.vesting, recent=recent)
    return replace(state, vesting=vesting, locked_funds=state.locked_funds + amount)


def unlock_unvested(state: MinerState, target: int) -> tuple[MinerState, int]:
    """Take up to `target` out of the steps, earliest first, to pay a debt; the state and what was taken."""
    if target <= 0 or state.locked_funds == 0:
        return state, 0
    state = settled(state)
    taken, left = 0, list(state.vesting.steps.entries)
    while left and taken < target:
        epoch, amount = left.pop(0)
        part = min(amount, target - taken)
        taken += part
        if part < amount:
            left.insert(0, (epoch, amount - part))
    vesting = VestingFunds(VestingSteps(tuple(left)))
    return replace(state, vesting=vesting, locked_funds=state.locked_funds - taken), taken
