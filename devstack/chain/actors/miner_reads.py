"""What any actor may ask a miner (actors.md §0.3, builtin-actors `actors/miner/src/lib.rs`).

Left out, as their params are not known here: GenerateSectorLocation and ValidateSectorStatus; they exit 22.
"""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import dispatch, policy, vesting
from devstack.chain.actors.dispatch import Action, plain, taking
from devstack.chain.actors.miner_state import available_balance
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import MinerDetails, MinerState
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.miner_keys import (
    ActiveBeneficiary,
    GetBeneficiaryReturn,
    PendingBeneficiaryChange,
)
from lotus_client.address import Address
from lotus_client.types import AttoFil

__all__ = ["READ_METHODS"]


def _bytes(actor_id: int) -> bytes:
    return Address.of_id(actor_id).to_bytes()


def _control_addresses(runtime: Runtime) -> bytes:
    details: MinerDetails = runtime.state.details
    controls = [_bytes(one) for one in details.controls]
    return cbor.encode([_bytes(details.owner), _bytes(details.worker), controls])


def _owner(runtime: Runtime) -> bytes:
    details: MinerDetails = runtime.state.details
    proposed = details.pending_owner_address
    return cbor.encode([_bytes(details.owner), None if proposed is None else _bytes(proposed)])


def _is_controlling(runtime: Runtime, address: Address) -> bytes:
    details: MinerDetails = runtime.state.details
    asked = runtime.machine.resolve(address)
    return cbor.encode(asked in (details.owner, details.worker, *details.controls))


def _sector_size(runtime: Runtime) -> bytes:
    return cbor.encode(runtime.state.details.sector_size)


def _available(runtime: Runtime) -> bytes:
    """What is free now, without the vesting that is due."""
    return cbor.encode(wire.big_bytes(available_balance(runtime.state, runtime.balance)))


def _vesting_funds(runtime: Runtime) -> bytes:
    steps = [[epoch, wire.big_bytes(part)] for epoch, part in vesting.all_steps(runtime.state)]
    return cbor.encode([steps])


def _peer_id(runtime: Runtime) -> bytes:
    return cbor.encode([runtime.state.details.peer_id])


def _multiaddrs(runtime: Runtime) -> bytes:
    return cbor.encode([list(runtime.state.details.multi_address)])


def _beneficiary(runtime: Runtime) -> bytes:
    details: MinerDetails = runtime.state.details
    term, pending = details.beneficiary, details.pending_beneficiary_term
    active = ActiveBeneficiary(
        Address.of_id(term.address), AttoFil(term.quota), AttoFil(term.used_quota), term.expiration
    )
    proposed = (
        None
        if pending is None
        else PendingBeneficiaryChange(
            Address.of_id(pending.new_beneficiary),
            AttoFil(pending.new_quota),
            pending.new_expiration,
            pending.approved_by_beneficiary,
            pending.approved_by_nominee,
        )
    )
    return GetBeneficiaryReturn(active, proposed).to_cbor()


def _initial_pledge(runtime: Runtime) -> bytes:
    return cbor.encode(wire.big_bytes(runtime.state.initial_pledge))


def _power_and_pledge(raw: bytes) -> tuple[int, int]:
    power, pledge = wire.fields(cbor.decode(raw), 2, "MaxTerminationFee")
    return wire.big(power), wire.big(pledge)


def _max_termination_fee(runtime: Runtime, asked: tuple[int, int]) -> bytes:
    power, pledge = asked
    fee = policy.max_termination_fee(runtime.machine.actors, power, pledge)
    return cbor.encode(wire.big_bytes(fee))


def _sector_expiration(runtime: Runtime, number: int) -> bytes:
    state: MinerState = runtime.state
    if number not in state.sectors:
        raise Abort(Exit.NOT_FOUND, f"no sector {number}")
    return cbor.encode(state.sectors[number].expiration)


_get_beneficiary = plain(_beneficiary)

READ_METHODS: Final[dict[int, Action]] = {
    Method.CONTROL_ADDRESSES: plain(_control_addresses),
    Method.GET_BENEFICIARY: _get_beneficiary,
    Method.GET_BENEFICIARY_EXPORTED: _get_beneficiary,
    Method.GET_OWNER: plain(_owner),
    Method.IS_CONTROLLING_ADDRESS: taking(dispatch.address, _is_controlling),
    Method.GET_SECTOR_SIZE: plain(_sector_size),
    Method.GET_AVAILABLE_BALANCE: plain(_available),
    Method.GET_VESTING_FUNDS: plain(_vesting_funds),
    Method.GET_PEER_ID: plain(_peer_id),
    Method.GET_MULTIADDRS: plain(_multiaddrs),
    Method.INITIAL_PLEDGE: plain(_initial_pledge),
    Method.MAX_TERMINATION_FEE: taking(_power_and_pledge, _max_termination_fee),
    Method.GET_NOMINAL_SECTOR_EXPIRATION: taking(dispatch.unsigned, _sector_expiration),
}
