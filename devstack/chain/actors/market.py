"""Storage market f05: its methods by number, balances, and what anyone may ask of a deal (actors.md §6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devstack.chain.actors import dispatch, market_activation, market_publishing, market_settling
from devstack.chain.actors.dispatch import Action, call_method, plain, taking
from devstack.chain.actors.market_deals import DEAL_NOT_ACTIVATED, proposal_of
from devstack.chain.actors.market_money import add_escrow, free_balance
from devstack.chain.actors.market_publishing import control_addresses
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.market_state import UNDEFINED, MarketState
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.market import (
    DealProposal,
    MarketBalance,
    MarketWithdrawParams,
    PublishStorageDealsParams,
)
from lotus_client.actors.market_sectors import (
    BatchActivateDealsParams,
    OnMinerSectorsTerminateParams,
    SectorContentChangedParams,
    VerifyDealsForActivationParams,
)
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.address import Address
from lotus_client.types import AttoFil

__all__ = ["invoke"]


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f05's methods."""
    return call_method(runtime, _METHODS, method, params)


def _party(runtime: Runtime, address: Address) -> tuple[int, int, tuple[int, ...]]:
    """Whose escrow an address names, who is paid on withdrawal, and who may withdraw."""
    nominal = runtime.resolve_id(address)
    if runtime.code_of(nominal) == "storageminer":
        owner, worker, _ = control_addresses(runtime, nominal)
        return nominal, owner, (owner, worker)
    return nominal, nominal, (nominal,)


def _add_balance(runtime: Runtime, address: Address) -> bytes:
    runtime.require(runtime.value > 0, Exit.ILLEGAL_ARGUMENT, "the added balance is positive")
    nominal, _, _ = _party(runtime, address)
    runtime.set_state(add_escrow(runtime.state, nominal, runtime.value))
    return b""


def _withdraw_balance(runtime: Runtime, params: MarketWithdrawParams) -> bytes:
    """What is free of it goes to the client or the miner's owner; the return is the amount."""
    asked = params.amount.value
    runtime.require(asked >= 0, Exit.ILLEGAL_ARGUMENT, "negative amount")
    nominal, recipient, callers = _party(runtime, params.provider_or_client)
    runtime.require_caller(*callers)
    state: MarketState = runtime.state
    amount = max(min(asked, free_balance(state, nominal)), 0)
    runtime.set_state(add_escrow(state, nominal, -amount))
    runtime.must_send(Address.of_id(recipient), 0, value=amount)
    return cbor.encode(wire.big_bytes(amount))


def _get_balance(runtime: Runtime, address: Address) -> bytes:
    nominal, _, _ = _party(runtime, address)
    state: MarketState = runtime.state
    escrow, locked = state.escrow_table.get(nominal, 0), state.locked_table.get(nominal, 0)
    return MarketBalance(AttoFil(escrow), AttoFil(locked)).to_cbor()


def _of_deal(show: Callable[[DealProposal], object]) -> Action:
    """A getter of a proposal, there until the deal is settled or terminated."""

    def get(runtime: Runtime, deal_id: int) -> bytes:
        return cbor.encode(show(proposal_of(runtime.state, deal_id)))

    return taking(dispatch.unsigned, get)


def _get_activation(runtime: Runtime, deal_id: int) -> bytes:
    """When the deal was activated and terminated; -1 for what did not happen."""
    state: MarketState = runtime.state
    activated = state.states.get(deal_id)
    if activated is None:
        proposal_of(state, deal_id)
        return cbor.encode([UNDEFINED, UNDEFINED])
    return cbor.encode([activated.sector_start_epoch, activated.slash_epoch])


def _get_sector(runtime: Runtime, deal_id: int) -> bytes:
    state: MarketState = runtime.state
    activated = state.states.get(deal_id)
    if activated is None:
        proposal_of(state, deal_id)
        raise Abort(DEAL_NOT_ACTIVATED, f"deal {deal_id} is not activated yet")
    return cbor.encode(activated.sector_number)


_add = taking(dispatch.address, _add_balance)
_withdraw = taking(MarketWithdrawParams.from_cbor, _withdraw_balance)
_publish = taking(PublishStorageDealsParams.from_cbor, market_publishing.publish)

_METHODS: Final[dict[int, Action]] = {
    Method.ADD_BALANCE: _add,
    Method.ADD_BALANCE_EXPORTED: _add,
    Method.WITHDRAW_BALANCE: _withdraw,
    Method.WITHDRAW_BALANCE_EXPORTED: _withdraw,
    Method.PUBLISH_STORAGE_DEALS: _publish,
    Method.PUBLISH_STORAGE_DEALS_EXPORTED: _publish,
    Method.VERIFY_DEALS_FOR_ACTIVATION: taking(
        VerifyDealsForActivationParams.from_cbor, market_activation.verify
    ),
    Method.BATCH_ACTIVATE_DEALS: taking(
        BatchActivateDealsParams.from_cbor, market_activation.activate_batch
    ),
    Method.SECTOR_CONTENT_CHANGED: taking(
        SectorContentChangedParams.from_cbor, market_activation.content_changed
    ),
    Method.ON_MINER_SECTORS_TERMINATE: taking(
        OnMinerSectorsTerminateParams.from_cbor, market_settling.sectors_terminated
    ),
    Method.CRON_TICK: plain(market_settling.cron_tick),
    Method.SETTLE_DEAL_PAYMENTS: taking(dispatch.bitfield, market_settling.settle_payments),
    Method.GET_BALANCE: taking(dispatch.address, _get_balance),
    Method.GET_DEAL_DATA_COMMITMENT: _of_deal(lambda deal: [deal.piece_cid, deal.piece_size]),
    Method.GET_DEAL_CLIENT: _of_deal(lambda deal: deal.client.actor_id),
    Method.GET_DEAL_PROVIDER: _of_deal(lambda deal: deal.provider.actor_id),
    Method.GET_DEAL_LABEL: _of_deal(lambda deal: deal.label),
    Method.GET_DEAL_TERM: _of_deal(lambda deal: [deal.start_epoch, deal.duration]),
    Method.GET_DEAL_TOTAL_PRICE: _of_deal(lambda deal: wire.big_bytes(deal.total_storage_fee)),
    Method.GET_DEAL_CLIENT_COLLATERAL: _of_deal(
        lambda deal: wire.big_bytes(deal.client_collateral)
    ),
    Method.GET_DEAL_PROVIDER_COLLATERAL: _of_deal(
        lambda deal: wire.big_bytes(deal.provider_collateral)
    ),
    Method.GET_DEAL_VERIFIED: _of_deal(lambda deal: deal.verified_deal),
    Method.GET_DEAL_ACTIVATION: taking(dispatch.unsigned, _get_activation),
    Method.GET_DEAL_SECTOR: taking(dispatch.unsigned, _get_sector),
}
