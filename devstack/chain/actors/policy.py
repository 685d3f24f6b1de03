"""The miner's constants and money formulas.

Simplified, and said here: projections use the smoothed reward and power without their velocities (the chain's
BR(t) also extrapolates them), and the pre-commit deposit is the initial pledge of a sector at 10x power instead of 20
days of its expected reward, which on a network of a few sectors would be most of the supply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from devstack.chain.config import FIL
from devstack.chain.states import Actor
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import EPOCHS_PER_DAY

__all__ = [
    "CHALLENGE_LOOKBACK",
    "CHALLENGE_WINDOW",
    "DEADLINES",
    "FAULT_CUTOFF",
    "FULL_QA_POWER",
    "PROVING_PERIOD",
    "SIMPLE_QA_POWER",
    "circulating_supply",
    "daily_fee",
    "expected_reward",
    "fault_fee",
    "initial_pledge",
    "max_termination_fee",
    "qa_power",
    "sector_power",
    "termination_fee",
]

# builtin-actors runtime/src/runtime/policy.rs
PROVING_PERIOD: Final = EPOCHS_PER_DAY
DEADLINES: Final = 48
CHALLENGE_WINDOW: Final = PROVING_PERIOD // DEADLINES
CHALLENGE_LOOKBACK: Final = 20
FAULT_CUTOFF: Final = CHALLENGE_LOOKBACK + 50
MAX_POST_PARTITIONS: Final = 3
FAULT_MAX_AGE: Final = 42 * EPOCHS_PER_DAY
MIN_SECTOR_LIFE: Final = 180 * EPOCHS_PER_DAY
MAX_SECTOR_EXTENSION: Final = 1278 * EPOCHS_PER_DAY
MAX_SECTOR_LIFE: Final = 5 * 365 * EPOCHS_PER_DAY
PRE_COMMIT_CHALLENGE_DELAY: Final = 10  # 150 on mainnet; Lotus build/buildconstants/params_2k.go
MAX_PROVE_COMMIT: Final = 30 * EPOCHS_PER_DAY + PRE_COMMIT_CHALLENGE_DELAY
PRE_COMMIT_CLEAN_UP_DELAY: Final = 8 * 120
MAX_SEAL_RANDOMNESS_AGE: Final = EPOCHS_PER_DAY + 900
AGGREGATE_SECTORS: Final = range(4, 820)

SIMPLE_QA_POWER: Final = 0x1  # sector flag of every sector since FIP-0045
FULL_QA_POWER: Final = 0x2  # sector flag of network version 29; builtin-actors pull request 1782
_VERIFIED_QUALITY: Final = 100
_BASE_QUALITY: Final = 10
_PRECISION: Final = 20  # bits

# actors/miner/src/monies.rs; the fault fee is 3.51 days of expected reward
_FAULT_EPOCHS: Final = EPOCHS_PER_DAY * 351 // 100
_PLEDGE_CAP_PER_QAP: Final = (FIL, 32 << 30)  # at most 1 FIL for 32 GiB of QAP
_PLEDGE_EPOCHS: Final = 20 * EPOCHS_PER_DAY
_DAILY_FEE: Final = (161_817, 10**30)
TOTAL_SUPPLY: Final = 2_000_000_000 * FIL


def qa_power(size: int, duration: int, verified_weight: int) -> int:
    """Quality-adjusted power in bytes, rounded down as the actors do (actors/miner/src/policy.rs)."""
    if duration <= 0:
        return size
    whole = size * duration
    weighted = (whole - verified_weight) * _BASE_QUALITY + verified_weight * _VERIFIED_QUALITY
    quality = (weighted << _PRECISION) // whole // _BASE_QUALITY
    return size * quality >> _PRECISION


def sector_power(sector: SectorOnChainInfo, size: int) -> tuple[int, int]:
    """Raw and quality-adjusted power of a sector when it is active."""
    if sector.flags & FULL_QA_POWER:
        return size, size * _VERIFIED_QUALITY // _BASE_QUALITY
    duration = sector.expiration - sector.power_base_epoch
    return size, qa_power(size, duration, sector.verified_deal_weight)


def expected_reward(actors: Mapping[int, Actor], qap: int, epochs: int) -> int:
    """What that power may expect to earn in so many epochs, in attoFIL."""
    power: int = actors[4].state.power_position
    if power <= 0:
        return 0
    reward: int = actors[2].state.reward_position
    return max(reward, 0) * qap * epochs // power


def circulating_supply(actors: Mapping[int, Actor]) -> int:
    """All FIL except what is unminted (f02), reserved (f090), burnt (f099) or pledged, in attoFIL."""
    held: int = sum(actors[actor_id].balance for actor_id in (2, 90, 99))
    pledged: int = actors[4].state.total_pledge
    return TOTAL_SUPPLY - held - pledged


def initial_pledge(actors: Mapping[int, Actor], qap: int) -> int:
    """min(1 FIL per 32 GiB of QAP, 20 days of expected reward + 30 % of supply by share of power), in attoFIL."""
    cap, per = _PLEDGE_CAP_PER_QAP
    base = max(expected_reward(actors, qap, _PLEDGE_EPOCHS), 1)
    network: int = max(actors[4].state.total_qap, qap, 1)
    additional = circulating_supply(actors) * 3 * qap // (10 * network)
    return max(min(cap * qap // per, base + additional), 1)


def fault_fee(actors: dict[int, Actor], qap: int) -> int:
    """The fee for one proving period of faulty power, in attoFIL."""
    return expected_reward(actors, qap, _FAULT_EPOCHS)


def daily_fee(actors: dict[int, Actor], qap: int) -> int:
    """A sector's daily fee, fixed when it is made (FIP-0100), in attoFIL."""
    multiplier, divisor = _DAILY_FEE
    return multiplier * circulating_supply(actors) * qap // divisor


def max_termination_fee(actors: dict[int, Actor], qap: int, pledge: int) -> int:
    """The most that ending a sector of that power and pledge can cost (FIP-0098), in attoFIL."""
    return max(pledge * 85 // 1000, fault_fee(actors, qap) * 105 // 100)


def termination_fee(actors: dict[int, Actor], sector: SectorOnChainInfo, qap: int, now: int) -> int:
    """What ending a sector early costs (FIP-0098), in attoFIL."""
    pledge = sector.initial_pledge.value
    full_age = 140 * EPOCHS_PER_DAY
    age = min(max(now - sector.activation, 0), full_age)
    by_age = pledge * 85 * age // (1000 * full_age)
    return max(by_age, pledge * 2 // 100, fault_fee(actors, qap) * 105 // 100)
