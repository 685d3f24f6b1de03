"""Storage market f05: payments, deals that end or were never activated, and cron (actors.md §6)."""

from __future__ import annotations

from devstack.chain.actors.market_deals import (
    DEAL_EXPIRED,
    take_sector_deals,
    without_pending,
)
from devstack.chain.actors.market_money import settle, terminate, time_out
from devstack.chain.machine import Exit, Runtime
from devstack.chain.market_state import UNDEFINED, MarketState
from devstack.chain.table import replace
from lotus_client.actors import events
from lotus_client.actors.market import DealProposal
from lotus_client.actors.market_sectors import (
    DealSettlement,
    OnMinerSectorsTerminateParams,
    SettleDealPaymentsReturn,
)
from lotus_client.actors.methods import BURNT_FUNDS
from lotus_client.actors.wire import BatchReturn
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil

__all__ = ["cron_tick", "sectors_terminated", "settle_payments"]

_MOST_DEALS = 25_000  # as many as any of the actors' bitfields in a message may name


def _burn(runtime: Runtime, amount: int) -> None:
    if amount:
        runtime.must_send(BURNT_FUNDS, 0, value=amount)


def _emit(runtime: Runtime, kind: str, deal_id: int, deal: DealProposal) -> None:
    client, provider = deal.client.actor_id, deal.provider.actor_id
    runtime.emit(events.deal_event(kind, deal_id, client, provider))


def settle_payments(runtime: Runtime, deals: BitField) -> bytes:
    """Anyone may have deals paid up to now; complete ones go. A deal that is not there is code 32 of the batch."""
    runtime.require(deals.count <= _MOST_DEALS, Exit.ILLEGAL_ARGUMENT, "too many deals")
    state: MarketState = runtime.state
    codes: list[int] = []
    settlements: list[DealSettlement] = []
    burnt = 0
    for deal_id in deals:
        deal = state.proposals.get(deal_id)
        if deal is None:
            codes.append(DEAL_EXPIRED)
        elif deal_id in state.states:
            state, payment, completed = settle(state, deal_id, runtime.epoch)
            settlements.append(DealSettlement(AttoFil(payment), completed))
            codes.append(Exit.OK)
            if completed:
                _emit(runtime, "deal-completed", deal_id, deal)
        elif runtime.epoch < deal.start_epoch:
            settlements.append(DealSettlement(AttoFil(0), completed=False))
            codes.append(Exit.OK)
        else:
            state, slashed = time_out(state, deal_id)
            burnt += slashed
            codes.append(DEAL_EXPIRED)
    runtime.set_state(state)
    _burn(runtime, burnt)
    results = BatchReturn.of_codes([int(code) for code in codes])
    return SettleDealPaymentsReturn(results, tuple(settlements)).to_cbor()


def sectors_terminated(runtime: Runtime, params: OnMinerSectorsTerminateParams) -> bytes:
    """The deals of terminated sectors end: clients get back what was not earned, the collateral burns."""
    is_miner = runtime.code_of(runtime.caller) == "storageminer"
    runtime.require(is_miner, Exit.FORBIDDEN, "only miners may")
    state, deal_ids = take_sector_deals(runtime.state, runtime.caller, list(params.sectors))
    state, ended, burnt = terminate(state, deal_ids, params.epoch)
    runtime.set_state(state)
    for deal_id, deal in ended:
        _emit(runtime, "deal-terminated", deal_id, deal)
    _burn(runtime, burnt)
    return b""


def cron_tick(runtime: Runtime) -> bytes:
    """Look once at each deal that is due: one never activated is over, an active one is no longer pending."""
    runtime.require_caller(3)
    state: MarketState = runtime.state
    due = sorted(epoch for epoch in state.deal_ops_by_epoch if epoch <= runtime.epoch)
    burnt = 0
    for epoch in due:
        for deal_id in state.deal_ops_by_epoch[epoch]:
            deal = state.proposals.get(deal_id)
            if deal is None:  # settled or terminated before cron came to it
                continue
            activated = state.states.get(deal_id)
            if activated is None:
                state, slashed = time_out(state, deal_id)
                burnt += slashed
            elif activated.last_updated_epoch == UNDEFINED:
                state = without_pending(state, deal)
    runtime.set_state(
        replace(
            state,
            deal_ops_by_epoch=state.deal_ops_by_epoch.without(due),
            last_cron=runtime.epoch,
        )
    )
    _burn(runtime, burnt)
    return b""
