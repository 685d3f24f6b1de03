"""When credited rewards become withdrawable: 25 % at once, 75 % in daily steps over 180 days.

Source: builtin-actors `actors/miner/src/{monies.rs,vesting_state.rs,policy.rs}`, `runtime/src/util/quantize.rs`.
"""

from __future__ import annotations

from typing import Final

from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch

__all__ = ["locked_part", "released", "vesting_entries"]

_VEST_PERIOD: Final = 180 * EPOCHS_PER_DAY
_STEP: Final = EPOCHS_PER_DAY
_QUANTISATION: Final = EPOCHS_PER_DAY // 2


def locked_part(credited: AttoFil) -> AttoFil:
    """The part of a credited reward that is locked and vests: floor(3/4)."""
    return AttoFil(credited.value * 3 // 4)


def vesting_entries(
    amount: AttoFil, credited_at: Epoch, proving_period_start: Epoch
) -> tuple[tuple[Epoch, AttoFil], ...]:
    """The vesting table of a *locked* `amount`: (epoch, part) ascending, parts above 0, adding up to `amount`.

    A part can be spent from the epoch *after* its entry's. Steps are daily, rounded up to 12 hours counted from the miner's
    proving period start; cumulative sums round down, so the last entry takes the remainder.

    Raises:
        ValueError: a negative amount.
    """
    if amount.value < 0:
        raise ValueError(f"a locked amount is not negative, got {amount}")
    entries: list[tuple[Epoch, AttoFil]] = []
    vested, epoch = 0, int(credited_at)
    while vested < amount.value:
        epoch += _STEP
        vest_at = _quantise_up(epoch, proving_period_start)
        elapsed = vest_at - credited_at
        target = amount.value
        if elapsed < _VEST_PERIOD:
            target = amount.value * elapsed // _VEST_PERIOD
        if target > vested:
            entries.append((Epoch(vest_at), AttoFil(target - vested)))
        vested = target
    return tuple(entries)


def released(
    credited: AttoFil, credited_at: Epoch, now: Epoch, proving_period_start: Epoch
) -> AttoFil:
    """How much of `credited` is no longer locked at `now`; 0 before `credited_at`.

    This is the schedule alone: fee debt and penalties, which the miner actor takes first, are not in it.
    """
    if now < credited_at:
        return AttoFil(0)
    locked = locked_part(credited).value
    return AttoFil(
        credited.value - locked + _vested(locked, credited_at, now, proving_period_start)
    )


def _vested(locked: int, credited_at: Epoch, now: Epoch, proving_period_start: Epoch) -> int:
    """The sum of all `vesting_entries` before `now`, without making them: the steps are daily from the first on."""
    first = _quantise_up(credited_at + _STEP, proving_period_start)
    # entries unlock when their epoch has passed (vesting_state.rs `unlock_vested_funds`)
    steps = (now - 1 - first) // _STEP
    if steps < 0:
        return 0
    elapsed = first + steps * _STEP - credited_at
    return min(locked, locked * elapsed // _VEST_PERIOD)


def _quantise_up(epoch: int, offset: int) -> int:
    start = offset % _QUANTISATION
    return -((start - epoch) // _QUANTISATION) * _QUANTISATION + start
