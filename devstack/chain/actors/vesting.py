"""Vesting of locked rewards: 180 daily steps, each rounded up to half a day (actors.md §7)."""

from __future__ import annotations

from typing import Final

from devstack.chain.states import MinerState, RecentAwards, VestingFunds, VestingSteps
from devstack.chain.table import replace
from devstack.chain.vesting_table import schedule
from lotus_client.types import EPOCHS_PER_DAY

__all__ = ["add_award", "all_steps", "schedule", "settled", "unlock_due", "unlock_unvested"]

_STEP: Final = EPOCHS_PER_DAY
_MAX_RECENT: Final = 256


def all_steps(state: MinerState) -> tuple[tuple[int, int], ...]:
    """Every step still locked, by epoch."""
    return state.vesting.entries(state.proving_period_start)


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
    vesting = VestingFunds(VestingSteps(entries[count:]), state.vesting.recent)
    return replace(state, vesting=vesting, locked_funds=state.locked_funds - freed)


def add_award(state: MinerState, now: int, amount: int) -> MinerState:
    """The state with an award's locked part added, and due steps unlocked."""
    state = unlock_due(state, now)
    if amount == 0:
        return state
    before = state.vesting.recent
    oldest, count = (before.oldest, before.count + 1) if before else (now, 1)
    recent = RecentAwards(now, amount, oldest, count, before)
    vesting = VestingFunds(state.vesting.steps, recent)
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
