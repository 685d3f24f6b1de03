"""Reward f02: pays the winners of each epoch.

The devnet mints by simple minting alone: 330 million FIL with a half-life of six years, an exponential decay per
epoch in integers; baseline minting is left out, its 770 million stay in f02.
"""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import dispatch
from devstack.chain.actors.dispatch import Action, call_method, plain, taking
from devstack.chain.config import FIL
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import RewardState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import BURNT_FUNDS, MinerMethod, RewardMethod
from lotus_client.actors.miner import ApplyRewardsParams
from lotus_client.actors.system import AwardBlockRewardParams
from lotus_client.types import AttoFil

__all__ = ["FIRST_REWARD", "awarded", "initial", "invoke", "next_epoch", "smooth"]

# ln 2 / (6 years of 365 days of 2880 epochs), in 2**-64; the constants are those of actors/reward/src/logic.rs
_DECAY_NUMERATOR: Final = 2_027_255_936_898
_DECAY_SHIFT: Final = 64
_SIMPLE_TOTAL: Final = 330_000_000 * FIL
FIRST_REWARD: Final = _SIMPLE_TOTAL * _DECAY_NUMERATOR >> _DECAY_SHIFT
_LEADERS: Final = 5  # expected per epoch
_PENALTY_MULTIPLIER: Final = 3
# FIP-0118: the miners' stream starts at 95 %. Its later ramp, and the other streams, are not modelled: they burn.
_W1_BPS_NV29: Final = 9_500
# alpha-beta filter, Q.128: builtin-actors runtime/src/util/smooth
_ALPHA: Final = 314_760_000_000_000_000_000_000_000_000_000_000
_BETA: Final = 96_640_100_000_000_000_000_000_000_000_000


# actors/reward/src/logic.rs: the baseline's growth per epoch in Q.128, and where it began, in bytes
_BASELINE_EXPONENT: Final = 340_282_591_298_641_078_465_964_189_926_313_473_653
_BASELINE_INITIAL: Final = 2_888_888_880_000_000_000
_BASELINE_FIRST: Final = (_BASELINE_INITIAL << 256) // _BASELINE_EXPONENT >> 128


def initial(power: int) -> RewardState:
    """The state at genesis, of a network with that much raw power in bytes."""
    before = RewardState(
        -1,
        FIRST_REWARD,
        FIRST_REWARD << 128,
        0,
        effective_baseline_power=_BASELINE_INITIAL,
        this_epoch_baseline_power=_BASELINE_FIRST,
    )
    return _with_baseline(before, 0, power)


def _with_baseline(state: RewardState, epoch: int, power: int) -> RewardState:
    """The next epoch's baseline and effective network time (State::update_to_next_epoch)."""
    baseline = state.this_epoch_baseline_power * _BASELINE_EXPONENT >> 128
    realized = state.cumsum_realized + min(baseline, power)
    cumsum, effective = state.cumsum_baseline, state.effective_baseline_power
    time = state.effective_network_time
    while realized > cumsum:
        time += 1
        effective = effective * _BASELINE_EXPONENT >> 128
        cumsum += effective
    return replace(
        state,
        epoch=epoch,
        this_epoch_baseline_power=baseline,
        cumsum_realized=realized,
        cumsum_baseline=cumsum,
        effective_baseline_power=effective,
        effective_network_time=time,
    )


def smooth(position: int, velocity: int, observed: int) -> tuple[int, int]:
    """The filter's next position and velocity after one epoch, all Q.128 but `observed`."""
    predicted = position + velocity
    residual = (observed << 128) - predicted
    return predicted + (_ALPHA * residual >> 128), velocity + (_BETA * residual >> 128)


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """AwardBlockReward (f00 only), UpdateNetworkKPI (f04 only), ThisEpochReward."""
    return call_method(runtime, _METHODS, method, params)


def _this_epoch_reward(runtime: Runtime) -> bytes:
    """The smoothed reward, and the baseline power, by which nothing is paid here."""
    state: RewardState = runtime.state
    estimate = [wire.big_bytes(state.reward_position), wire.big_bytes(state.reward_velocity)]
    return cbor.encode([estimate, wire.big_bytes(state.this_epoch_baseline_power)])


def awarded(
    state: RewardState, wins: int, gas: int, balance: int, network_version: int
) -> tuple[RewardState, int, int]:
    """The state after an award from that balance, what the miner gets with its tips, and what burns; attoFIL."""
    block_reward = state.this_epoch_reward * wins // _LEADERS
    burnt = 0
    if network_version >= 29:
        whole, block_reward = block_reward, block_reward * _W1_BPS_NV29 // 10_000
        burnt = whole - block_reward
    block_reward = max(min(block_reward, balance - gas), 0)
    burnt = min(burnt, balance - gas - block_reward)
    after = replace(
        state,
        total_storage_power_reward=state.total_storage_power_reward + block_reward,
        burnt_streams=state.burnt_streams + burnt,
    )
    return after, block_reward + gas, burnt


def _award(runtime: Runtime, award: AwardBlockRewardParams) -> bytes:
    runtime.require_caller(0)
    state: RewardState = runtime.state
    gas = award.gas_reward.value
    runtime.require(award.win_count > 0 and gas >= 0, Exit.ILLEGAL_ARGUMENT, "bad award")
    state, total, burnt = awarded(
        state, award.win_count, gas, runtime.balance, runtime.network_version
    )
    runtime.set_state(state)
    penalty = AttoFil(award.penalty.value * _PENALTY_MULTIPLIER)
    told = ApplyRewardsParams(AttoFil(total), penalty).to_cbor()
    if runtime.send(award.miner, MinerMethod.APPLY_REWARDS, told, total).exit_code:
        runtime.send(BURNT_FUNDS, 0, value=total)
    if burnt:
        runtime.send(BURNT_FUNDS, 0, value=burnt)
    return b""


def _next_epoch(runtime: Runtime, power: int) -> bytes:
    runtime.require_caller(4)
    runtime.set_state(next_epoch(runtime.state, runtime.epoch + 1, power))
    return b""


def next_epoch(state: RewardState, epoch: int, power: int) -> RewardState:
    """The state that begins `epoch`, of a network with that much raw power in bytes."""
    state = _with_baseline(state, epoch, power)
    reward = state.this_epoch_reward
    reward -= reward * _DECAY_NUMERATOR >> _DECAY_SHIFT
    position, velocity = smooth(state.reward_position, state.reward_velocity, reward)
    return replace(
        state, this_epoch_reward=reward, reward_position=position, reward_velocity=velocity
    )


_METHODS: Final[dict[int, Action]] = {
    RewardMethod.AWARD_BLOCK_REWARD: taking(AwardBlockRewardParams.from_cbor, _award),
    RewardMethod.THIS_EPOCH_REWARD: plain(_this_epoch_reward),
    RewardMethod.UPDATE_NETWORK_KPI: taking(dispatch.token, _next_epoch),
}
