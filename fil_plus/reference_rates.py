"""What so many verified bytes would earn on mainnet in a year, at fixed reference rates: an illustration, not a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fil_plus.costs import EPOCHS_PER_YEAR
from fil_plus.power import EXTRA_MULTIPLIER
from fil_plus.terms import WHOLE_BPS
from lotus_client.types import AttoFil

__all__ = ["REFERENCE_RATES", "ReferenceRates", "mainnet_equivalent"]


@dataclass(frozen=True, slots=True)
class ReferenceRates:
    """The network as it is assumed to be: reward for all winners of an epoch, and total quality-adjusted power."""

    epoch_reward: AttoFil
    network_qap: int
    label: str


REFERENCE_RATES: Final = ReferenceRates(
    epoch_reward=AttoFil(55 * 10**18),
    network_qap=14_760 << 50,
    label="55 FIL per epoch, 14 760 PiB network power, flat; illustrative",
)


def mainnet_equivalent(
    verified_bytes: int, rates: ReferenceRates = REFERENCE_RATES, *, share_bps: int = WHOLE_BPS
) -> AttoFil:
    """The expected yearly extra of `verified_bytes` at `rates`, in attoFIL, rounded down; `share_bps` of it if given.

    Extra is 9 bytes of power for each verified byte; costs are not taken off. Show it only with `rates.label`.
    """
    power = EXTRA_MULTIPLIER * verified_bytes
    reward = rates.epoch_reward.value * EPOCHS_PER_YEAR * power * share_bps
    return AttoFil(reward // (rates.network_qap * WHOLE_BPS))
