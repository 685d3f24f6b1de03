"""Power f04: who has how much power, the miners' cron, and new miners."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import dispatch, reward
from devstack.chain.actors.dispatch import Action, call_method, plain, taking
from devstack.chain.actors.init import next_actor_address
from devstack.chain.actors.miner_state import new_miner
from devstack.chain.actors.power_calls import DEADLINE_PAYLOAD
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import NO_CRON_EVENTS, Actor, PowerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import REWARD, MinerMethod, RewardMethod
from lotus_client.actors.methods import PowerMethod as Method
from lotus_client.actors.system import CreatedActor, CreateMinerParams, UpdateClaimedPowerParams
from lotus_client.address import Address

__all__ = ["CONSENSUS_MINER_MIN_POWER", "invoke", "ticked"]

# Lotus build/buildconstants/params_2k.go
CONSENSUS_MINER_MIN_POWER: Final = 2 << 10


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f04's methods."""
    return call_method(runtime, _METHODS, method, params)


def _update_pledge(runtime: Runtime, delta: int) -> bytes:
    _require_miner(runtime)
    state: PowerState = runtime.state
    runtime.set_state(replace(state, total_pledge=state.total_pledge + delta))
    return b""


def _tick_end(runtime: Runtime) -> bytes:
    runtime.require_caller(3)
    return _tick(runtime)


def _require_miner(runtime: Runtime) -> None:
    runtime.require(
        runtime.code_of(runtime.caller) == "storageminer", Exit.FORBIDDEN, "only miners may"
    )


def _totals(runtime: Runtime) -> bytes:
    state: PowerState = runtime.state
    amounts = (state.this_epoch_raw, state.this_epoch_qap, state.this_epoch_pledge)
    estimate = [wire.big_bytes(state.power_position), wire.big_bytes(state.power_velocity)]
    return cbor.encode([*map(wire.big_bytes, amounts), estimate, 0, 0])


def _update_power(runtime: Runtime, change: UpdateClaimedPowerParams) -> bytes:
    _require_miner(runtime)
    state: PowerState = runtime.state
    before, qap = state.claims.get(runtime.caller, (0, 0))
    raw, qap = before + change.raw_delta, qap + change.qa_delta
    reached = raw >= CONSENSUS_MINER_MIN_POWER
    had = before >= CONSENSUS_MINER_MIN_POWER
    runtime.require(raw >= 0 and qap >= 0, Exit.ILLEGAL_STATE, "power below zero")
    runtime.set_state(
        replace(
            state,
            claims=state.claims.with_({runtime.caller: (raw, qap)}),
            total_raw=state.total_raw + change.raw_delta,
            total_qap=state.total_qap + change.qa_delta,
            above_minimum=state.above_minimum + reached - had,
        )
    )
    return b""


def _enroll(runtime: Runtime, epoch: int) -> bytes:
    _require_miner(runtime)
    runtime.require(epoch >= 0, Exit.ILLEGAL_ARGUMENT, "negative epoch")
    state: PowerState = runtime.state
    queued = state.cron_queue.get(epoch, NO_CRON_EVENTS).appended(runtime.caller)
    runtime.set_state(
        replace(
            state,
            cron_queue=state.cron_queue.with_({epoch: queued}),
            first_cron_epoch=min(state.first_cron_epoch, epoch),
        )
    )
    return b""


def _enrolled_epoch(raw: bytes) -> int:
    epoch, _ = wire.fields(cbor.decode(raw), 2, "EnrollCronEvent")
    return wire.integer(epoch)


def _tick(runtime: Runtime) -> bytes:
    """Run the due miner events, then fix this epoch's totals and tell f02 (actors.md §8)."""
    state: PowerState = runtime.state
    due = sorted(epoch for epoch in state.cron_queue if epoch <= runtime.epoch)
    if due:
        runtime.set_state(replace(state, cron_queue=state.cron_queue.without(due)))
        rewards = runtime.machine.actors[2].state
        estimates = [
            [wire.big_bytes(rewards.reward_position), wire.big_bytes(rewards.reward_velocity)],
            [wire.big_bytes(state.power_position), wire.big_bytes(state.power_velocity)],
        ]
        told = cbor.encode([DEADLINE_PAYLOAD, *estimates])
        for epoch in due:
            for miner in state.cron_queue[epoch].values():
                runtime.send(Address.of_id(miner), MinerMethod.ON_DEFERRED_CRON_EVENT, told)
    state = ticked(runtime.state, runtime.epoch)
    runtime.set_state(state)
    runtime.send(
        REWARD, RewardMethod.UPDATE_NETWORK_KPI, cbor.encode(wire.big_bytes(state.total_raw))
    )
    return b""


def ticked(state: PowerState, epoch: int) -> PowerState:
    """The state with the totals of `epoch` fixed; no miner event may be due any more."""
    position, velocity = reward.smooth(state.power_position, state.power_velocity, state.total_qap)
    return replace(
        state,
        this_epoch_raw=state.total_raw,
        this_epoch_qap=state.total_qap,
        this_epoch_pledge=state.total_pledge,
        power_position=position,
        power_velocity=velocity,
        first_cron_epoch=epoch + 1,
    )


def _create_miner(runtime: Runtime, params: CreateMinerParams) -> bytes:
    """A new miner actor. The create-miner deposit (FIP-0077) is left out: the devnet asks for none."""
    config = runtime.config
    runtime.require(
        params.window_post_proof_type == config.window_post_proof,
        Exit.ILLEGAL_ARGUMENT,
        f"this network's window PoSt type is {config.window_post_proof}",
    )
    owner, worker = runtime.resolve_id(params.owner), runtime.resolve_id(params.worker)
    runtime.require(
        runtime.code_of(worker) == "account", Exit.ILLEGAL_ARGUMENT, "the worker is no account"
    )
    machine = runtime.machine
    robust = next_actor_address(machine)
    actor_id = machine.new_id(robust)
    miner = new_miner(
        config,
        actor_id,
        owner,
        worker,
        runtime.epoch,
        peer_id=params.peer_id,
        multiaddrs=params.multiaddrs,
    )
    machine.set_actor(actor_id, Actor("storageminer", miner))
    state: PowerState = runtime.state
    runtime.set_state(replace(state, claims=state.claims.with_({actor_id: (0, 0)})))
    created = Address.of_id(actor_id)
    if runtime.value:
        runtime.must_send(created, 0, value=runtime.value)
    return CreatedActor(created, robust).to_cbor()


def _network_raw_power(runtime: Runtime) -> bytes:
    return cbor.encode(wire.big_bytes(runtime.state.total_raw))


def _claim_of(runtime: Runtime, miner: int) -> tuple[int, int]:
    state: PowerState = runtime.state
    if miner not in state.claims:
        raise Abort(Exit.NOT_FOUND, f"no power claim of f0{miner}")
    return state.claims[miner]


def _miner_raw_power(runtime: Runtime, miner: int) -> bytes:
    """The raw power, and whether it is enough to win blocks."""
    raw, _ = _claim_of(runtime, miner)
    return cbor.encode([wire.big_bytes(raw), raw >= CONSENSUS_MINER_MIN_POWER])


def _miner_power(runtime: Runtime, miner: int) -> bytes:
    return cbor.encode([wire.big_bytes(one) for one in _claim_of(runtime, miner)])


def _miner_count(runtime: Runtime) -> bytes:
    return cbor.encode(len(runtime.state.claims))


def _consensus_count(runtime: Runtime) -> bytes:
    state: PowerState = runtime.state
    return cbor.encode(sum(raw >= CONSENSUS_MINER_MIN_POWER for raw, _ in state.claims.values()))


_create = taking(CreateMinerParams.from_cbor, _create_miner)

_METHODS: Final[dict[int, Action]] = {
    Method.CREATE_MINER: _create,
    Method.CREATE_MINER_EXPORTED: _create,
    Method.UPDATE_CLAIMED_POWER: taking(UpdateClaimedPowerParams.from_cbor, _update_power),
    Method.ENROLL_CRON_EVENT: taking(_enrolled_epoch, _enroll),
    Method.UPDATE_PLEDGE_TOTAL: taking(dispatch.token, _update_pledge),
    Method.ON_EPOCH_TICK_END: plain(_tick_end),
    Method.CURRENT_TOTAL_POWER: plain(_totals),
    Method.NETWORK_RAW_POWER: plain(_network_raw_power),
    Method.MINER_RAW_POWER: taking(dispatch.unsigned, _miner_raw_power),
    Method.MINER_POWER: taking(dispatch.unsigned, _miner_power),
    Method.MINER_COUNT: plain(_miner_count),
    Method.MINER_CONSENSUS_COUNT: plain(_consensus_count),
}
