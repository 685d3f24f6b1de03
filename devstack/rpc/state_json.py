"""Actors' states as `StateReadState` shows them: Lotus' field names in Lotus' order (go-state-types `builtin/v18`)."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from devstack.chain import states
from devstack.chain.code_cids import MANIFEST_DATA
from devstack.chain.evm_state import EvmState, bytecode_cid
from devstack.chain.market_state import MarketState
from devstack.rpc.encode import address_json, cid_json, list_json
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
def _system(_state: states.SystemState) -> Json:
    return {"BuiltinActors": cid_json(MANIFEST_DATA.cid)}


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
        "Signers": list_json(state.signers, _id),
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
        "CumsumBaseline": str(state.cumsum_baseline),
        "CumsumRealized": str(state.cumsum_realized),
        "EffectiveNetworkTime": state.effective_network_time,
        "EffectiveBaselinePower": str(state.effective_baseline_power),
        "ThisEpochReward": str(state.this_epoch_reward),
        "ThisEpochRewardSmoothed": _estimate(state.reward_position, state.reward_velocity),
        "ThisEpochBaselinePower": str(state.this_epoch_baseline_power),
        "Epoch": state.epoch,
        "TotalStoragePowerReward": str(state.total_storage_power_reward),
        "SimpleTotal": str(state.simple_total),
        "BaselineTotal": str(state.baseline_total),
    }


@actor_state_json.register
def _power(state: states.PowerState) -> Json:
    return {
        "TotalRawBytePower": str(state.total_raw),
        "TotalBytesCommitted": str(state.total_raw),
        "TotalQualityAdjPower": str(state.total_qap),
        "TotalQABytesCommitted": str(state.total_qap),
        "TotalPledgeCollateral": str(state.total_pledge),
        "ThisEpochRawBytePower": str(state.this_epoch_raw),
        "ThisEpochQualityAdjPower": str(state.this_epoch_qap),
        "ThisEpochPledgeCollateral": str(state.this_epoch_pledge),
        "ThisEpochQAPowerSmoothed": _estimate(state.power_position, state.power_velocity),
        "MinerCount": len(state.claims),
        "MinerAboveMinPowerCount": state.above_minimum,
        "RampStartEpoch": state.ramp_start,
        "RampDurationEpochs": state.ramp_duration,
        "CronEventQueue": cid_json(state.cron_queue.cid),
        "FirstCronEpoch": state.first_cron_epoch,
        "Claims": cid_json(state.claims.cid),
        "ProofValidationBatch": None,
    }


@actor_state_json.register
def _market(state: MarketState) -> Json:
    return {
        "Proposals": cid_json(state.proposals.cid),
        "States": cid_json(state.states.cid),
        "PendingProposals": cid_json(state.pending_proposals.cid),
        "EscrowTable": cid_json(state.escrow_table.cid),
        "LockedTable": cid_json(state.locked_table.cid),
        "NextID": state.next_id,
        "DealOpsByEpoch": cid_json(state.deal_ops_by_epoch.cid),
        "LastCron": state.last_cron,
        "TotalClientLockedCollateral": str(state.total_client_locked_collateral),
        "TotalProviderLockedCollateral": str(state.total_provider_locked_collateral),
        "TotalClientStorageFee": str(state.total_client_storage_fee),
        "PendingDealAllocationIds": cid_json(state.pending_deal_allocation_ids.cid),
        "ProviderSectors": cid_json(state.provider_sectors.cid),
    }


@actor_state_json.register
def _verified_registry(state: states.VerifregState) -> Json:
    return {
        "RootKey": _id(state.root_key),
        "Verifiers": cid_json(state.verifiers.cid),
        "RemoveDataCapProposalIDs": cid_json(state.remove_data_cap_proposal_ids.cid),
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
            "Allowances": cid_json(state.allowances.cid),
            "HamtBitWidth": 5,
        },
    }


@actor_state_json.register
def _miner(state: states.MinerState) -> Json:
    return {
        "Info": cid_json(state.details.cid),
        "PreCommitDeposits": str(state.pre_commit_deposits),
        "LockedFunds": str(state.locked_funds),
        "VestingFunds": _vesting(state),
        "FeeDebt": str(state.fee_debt),
        "InitialPledge": str(state.initial_pledge),
        "PreCommittedSectors": cid_json(state.pre_committed.cid),
        "PreCommittedSectorsCleanUp": cid_json(state.clean_ups.cid),
        "AllocatedSectors": cid_json(state.allocated.cid),
        "Sectors": cid_json(state.sectors.cid),
        "ProvingPeriodStart": state.proving_period_start,
        "CurrentDeadline": state.current_deadline,
        "Deadlines": cid_json(state.deadlines.cid),
        "EarlyTerminations": [0],
        "DeadlineCronActive": state.deadline_cron_active,
    }


def _vesting(state: states.MinerState) -> Json | None:
    tail = state.vesting.tail(state.proving_period_start)
    if not tail:
        return None
    epoch, amount = state.vesting.entries(state.proving_period_start)[0]
    return {"Head": {"Epoch": epoch, "Amount": str(amount)}, "Tail": cid_json(tail[0].cid)}


@actor_state_json.register
def _evm(state: EvmState) -> Json:
    ended = state.tombstone
    return {
        "Bytecode": cid_json(bytecode_cid(state.bytecode)),
        "BytecodeHash": list(state.code_hash),
        "ContractState": cid_json(state.storage.cid),
        "TransientData": None if state.transient is None else state.transient.to_json(),
        "Nonce": state.nonce,
        "Tombstone": None if ended is None else {"Origin": ended[0], "Nonce": ended[1]},
    }
