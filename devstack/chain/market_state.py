"""The storage market's state (builtin-actors `actors/market/src/state.rs`), apart from `states` for its size.

Real shapes: `proposals` AMT of width 5 and `states` of width 6 by deal id; `pending_proposals` a set of deal CIDs;
`escrow_table` and `locked_table` by f0 address; `deal_ops_by_epoch` epoch -> set of deal ids; the last two maps by
uvarint keys, `provider_sectors` provider -> sector -> deal ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from devstack.chain.table import State, Table
from lotus_client.actors.market import DealProposal
from lotus_client.cid import Cid

__all__ = ["UNDEFINED", "DealState", "MarketState"]

UNDEFINED: Final = -1  # an epoch that has not come


@dataclass(frozen=True, slots=True)
class DealState:
    """An activated deal. `last_updated_epoch` is when it was last paid for."""

    sector_number: int
    sector_start_epoch: int
    last_updated_epoch: int = UNDEFINED
    slash_epoch: int = UNDEFINED


@dataclass(frozen=True)
class MarketState(State):
    """f05. A proposal is there from publishing to the deal's end, a state only from activation on.

    Balances are by actor id, an entry of 0 is absent; allocation ids are those of verified deals not activated yet.
    """

    proposals: Table[int, DealProposal] = field(default_factory=Table)
    states: Table[int, DealState] = field(default_factory=Table)
    pending_proposals: Table[Cid, bool] = field(default_factory=Table)
    escrow_table: Table[int, int] = field(default_factory=Table)
    locked_table: Table[int, int] = field(default_factory=Table)
    next_id: int = 0
    deal_ops_by_epoch: Table[int, tuple[int, ...]] = field(default_factory=Table)
    last_cron: int = UNDEFINED
    total_client_locked_collateral: int = 0
    total_provider_locked_collateral: int = 0
    total_client_storage_fee: int = 0
    pending_deal_allocation_ids: Table[int, int] = field(default_factory=Table)
    provider_sectors: Table[int, Table[int, tuple[int, ...]]] = field(default_factory=Table)
