"""What verified data costs the provider beyond plain capacity, and netting a payee's share against it per period.

Ten times the power needs ten times the pledge and the daily fee, so most of the extra reward is return on extra locked
capital. Costs round up and earnings down: no attoFIL is ever paid out of a rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fil_plus.power import EXTRA_MULTIPLIER
from fil_plus.terms import WHOLE_BPS
from lotus_client.types import EPOCHS_PER_DAY, AttoFil

__all__ = [
    "EPOCHS_PER_YEAR",
    "NetPeriod",
    "capital_cost",
    "daily_fee_cost",
    "net_period",
    "payee_cost",
]

EPOCHS_PER_YEAR: Final = 365 * EPOCHS_PER_DAY


def capital_cost(
    initial_pledge: AttoFil, verified: int, sector_qap: int, *, apr_bps: int, epochs: int
) -> AttoFil:
    """Cost of the pledge that `verified` bytes of a sector tie up over `epochs`, rounded up.

    InitialPledge · 9w / QAP_sector · apr · epochs / year. `apr_bps` is the operator's `capital_cost_apr` in basis points.
    """
    share = initial_pledge.value * EXTRA_MULTIPLIER * verified * apr_bps * epochs
    return AttoFil(-(-share // (sector_qap * WHOLE_BPS * EPOCHS_PER_YEAR)))


def daily_fee_cost(daily_fee: AttoFil, verified: int, sector_qap: int, *, epochs: int) -> AttoFil:
    """The part of a sector's daily proof fee that `verified` bytes cause over `epochs`, rounded up.

    DailyFee · 9w / QAP_sector · epochs / day (FIP-0100: the fee is proportional to power).
    """
    share = daily_fee.value * EXTRA_MULTIPLIER * verified * epochs
    return AttoFil(-(-share // (sector_qap * EPOCHS_PER_DAY)))


def payee_cost(cost: AttoFil, *, share_bps: int, counted_bytes: int, padded_size: int) -> AttoFil:
    """The part of a piece's cost that a payee bears: the same share of the cost as of the earnings, rounded up."""
    return AttoFil(-(-cost.value * share_bps * counted_bytes // (WHOLE_BPS * padded_size)))


@dataclass(frozen=True, slots=True)
class NetPeriod:
    """A period's result for one payee and piece: `net` is owed, `deficit` (at most 0) goes to the next period."""

    net: AttoFil
    deficit: AttoFil


def net_period(gross: AttoFil, cost: AttoFil, carried: AttoFil) -> NetPeriod:
    """What is owed after costs and the deficit carried from earlier periods.

    `net + deficit == gross - cost + carried`, always, and one of the two is 0.

    Raises:
        ValueError: a negative gross or cost, or a positive carried deficit.
    """
    if gross.value < 0 or cost.value < 0 or carried.value > 0:
        raise ValueError("gross and cost are not negative, a carried deficit is not positive")
    balance = gross.value - cost.value + carried.value
    return NetPeriod(AttoFil(max(balance, 0)), AttoFil(min(balance, 0)))
