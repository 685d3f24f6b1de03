"""Power f04: who has how much power, the miners' cron, and new miners."""

from __future__ import annotations

from devstack.chain.actors import reward
from devstack.chain.actors.basic import unhandled
from devstack.chain.actors.init import next_actor_address
from devstack.chain.actors.miner_state import new_miner
from devstack.chain.actors.power_calls import DEADLINE_PAYLOAD
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import NO_CRON_EVENTS, Actor, PowerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import REWARD, MinerMethod, PowerMethod, RewardMethod
from lotus_client.actors.system import CreatedActor, CreateMinerParams, UpdateClaimedPowerParams
from lotus_client.address import Address

__all__ = ["CONSENSUS_MINER_MIN_POWER", "invoke"]

# Lotus build/buildconstants/params_2k.go
CONSENSUS_MINER_MIN_POWER = 2 << 10


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f04's methods."""
    if method in (PowerMethod.CREATE_MINER, PowerMethod.CREATE_MINER_EXPORTED):
        return _create_miner(runtime, CreateMinerParams.from_cbor(params))
    if method == PowerMethod.UPDATE_CLAIMED_POWER:
        return _update_power(runtime, UpdateClaimedPowerParams.from_cbor(params))
    if method == PowerMethod.ENROLL_CRON_EVENT:
        return _enroll(runtime, params)
    if method == PowerMethod.UPDATE_PLEDGE_TOTAL:
        _require_miner(runtime)
        delta = wire.big(cbor.decode(params))
        state: PowerState = runtime.state
        runtime.set_state(replace(state, total_pledge=state.total_pledge + delta))
        return b""
    if method == PowerMethod.ON_EPOCH_TICK_END:
        runtime.require_caller(3)
        return _tick(runtime)
    if method == PowerMethod.CURRENT_TOTAL_POWER:
        return _totals(runtime)
    raise unhandled(method)


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


def _enroll(runtime: Runtime, params: bytes) -> bytes:
    _require_miner(runtime)
    epoch, _ = wire.fields(cbor.decode(params), 2, "EnrollCronEvent")
    runtime.require(wire.integer(epoch) >= 0, Exit.ILLEGAL_ARGUMENT, "negative epoch")
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
    state = runtime.state
    position, velocity = reward.smooth(state.power_position, state.power_velocity, state.total_qap)
    runtime.set_state(
        replace(
            state,
            this_epoch_raw=state.total_raw,
            this_epoch_qap=state.total_qap,
            this_epoch_pledge=state.total_pledge,
            power_position=position,
            power_velocity=velocity,
            first_cron_epoch=runtime.epoch + 1,
        )
    )
    runtime.send(
        REWARD, RewardMethod.UPDATE_NETWORK_KPI, cbor.encode(wire.big_bytes(state.total_raw))
    )
    return b""


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
