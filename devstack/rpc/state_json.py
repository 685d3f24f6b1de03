"""Actors' states as `StateReadState` shows them: Lotus' field names for what the devnet keeps.

A field of Lotus' that the devnet does not model (f02's baseline, HAMT-only bookkeeping) is left out, never invented.
Field names: go-state-types `builtin/v18`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from devstack.chain import states
from devstack.chain.evm_state import EvmState, bytecode_cid
from devstack.rpc.encode import address_json, cid_json
from lotus_client.address import Address

__all__ = ["actor_state_json"]

Json = dict[str, Any]


@singledispatch
def actor_state_json(_state: Any) -> Json:
    """The `State` member of `StateReadState`; `{}` for actors without state of their own."""
    return {}


def _id(actor_id: int) -> str:
    return address_json(Address.of_id(actor_id))


def _estimate(position: int, velocity: int) -> Json:
    return {"PositionEstimate": str(position), "VelocityEstimate": str(velocity)}


@actor_state_json.register
def _account(state: states.AccountState) -> Json:
    return {"Address": address_json(state.address)}


@actor_state_json.register
def _init(state: states.InitState) -> Json:
    return {
        "AddressMap": cid_json(state.address_map.cid),
        "NextID": state.next_id,
        "NetworkName": state.network_name,
    }


@actor_state_json.register
def _cron(state: states.CronState) -> Json:
    return {
        "Entries": [
            {"Receiver": _id(receiver), "MethodNum": method} for receiver, method in state.entries
        ]
    }


@actor_state_json.register
def _multisig(state: states.MultisigState) -> Json:
    return {
        "Signers": [_id(signer) for signer in state.signers],
        "NumApprovalsThreshold": state.threshold,
        "NextTxnID": state.next_txn,
        "InitialBalance": str(state.initial_balance),
        "StartEpoch": state.start_epoch,
        "UnlockDuration": state.unlock_duration,
        "PendingTxns": cid_json(state.pending.cid),
    }


@actor_state_json.register
def _reward(state: states.RewardState) -> Json:
    return {
        "ThisEpochReward": str(state.this_epoch_reward),
        "ThisEpochRewardSmoothed": _estimate(state.reward_position, state.reward_velocity),
        "Epoch": state.epoch,
        "TotalStoragePowerReward": str(state.total_storage_power_reward),
    }


@actor_state_json.register
def _power(state: states.PowerState) -> Json:
    return {
        "TotalRawBytePower": str(state.total_raw),
        "TotalQualityAdjPower": str(state.total_qap),
        "TotalPledgeCollateral": str(state.total_pledge),
        "ThisEpochRawBytePower": str(state.this_epoch_raw),
        "ThisEpochQualityAdjPower": str(state.this_epoch_qap),
        "ThisEpochPledgeCollateral": str(state.this_epoch_pledge),
        "ThisEpochQAPowerSmoothed": _estimate(state.power_position, state.power_velocity),
        "MinerCount": len(state.claims),
        "CronEventQueue": cid_json(state.cron_queue.cid),
        "Claims": cid_json(state.claims.cid),
        "ProofValidationBatch": None,
    }


@actor_state_json.register
def _verified_registry(state: states.VerifregState) -> Json:
    return {
        "RootKey": _id(state.root_key),
        "Verifiers": cid_json(state.verifiers.cid),
        "Allocations": cid_json(state.allocations.cid),
        "NextAllocationId": state.next_allocation_id,
        "Claims": cid_json(state.claims.cid),
    }


@actor_state_json.register
def _datacap(state: states.DatacapState) -> Json:
    return {
        "Governor": _id(6),
        "Token": {
            "Supply": str(state.supply * 10**18),  # f07 counts in 10**-18 of a byte
            "Balances": cid_json(state.balances.cid),
        },
    }


@actor_state_json.register
def _miner(state: states.MinerState) -> Json:
    return {
        "Info": cid_json(state.details.cid),
        "PreCommitDeposits": str(state.pre_commit_deposits),
        "LockedFunds": str(state.locked_funds),
        "FeeDebt": str(state.fee_debt),
        "InitialPledge": str(state.initial_pledge),
        "PreCommittedSectors": cid_json(state.pre_committed.cid),
        "AllocatedSectors": cid_json(state.allocated.cid),
        "Sectors": cid_json(state.sectors.cid),
        "ProvingPeriodStart": state.proving_period_start,
        "CurrentDeadline": state.current_deadline,
        "Deadlines": cid_json(state.deadlines.cid),
        "EarlyTerminations": [0],
        "DeadlineCronActive": state.deadline_cron_active,
    }


@actor_state_json.register
def _evm(state: EvmState) -> Json:
    ended = state.tombstone
    return {
        "Bytecode": cid_json(bytecode_cid(state.bytecode)),
        "BytecodeHash": list(state.code_hash),
        "Nonce": state.nonce,
        "Tombstone": None if ended is None else {"Origin": ended[0], "Nonce": ended[1]},
    }
