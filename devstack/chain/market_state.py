"""The storage market's state f05, in the blocks of builtin-actors v18 (`actors/market/src/state.rs`).

The devnet's market has no deals yet, so the maps are empty, but their kinds are the real ones. To add deals: set items in
these maps (`with_`, `without`), all of which take plain Python values: proposals and states by deal id, balances in attoFIL
by actor id (absent when 0). A proposal is any value whose `to_cbor()` is the deal proposal's dag-cbor. Sets of deals are maps
to None; nested maps are `Hamt`s of `DEAL_SET` and `SECTOR_DEALS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from devstack.chain.table import State, big, id_bytes, signed_varint
from devstack.ipld import Amt, AmtKind, Hamt, HamtKind
from lotus_client import cbor
from lotus_client.cid import Cid
from lotus_client.varint import encode_uvarint

__all__ = ["DEAL_SET", "SECTOR_DEALS", "UNDEFINED", "DealState", "MarketState"]

UNDEFINED: Final = -1  # an epoch that has not come


@dataclass(frozen=True, slots=True)
class DealState:
    """An activated deal. `last_updated_epoch` is when it was last paid for."""

    sector_number: int
    sector_start_epoch: int
    last_updated_epoch: int = UNDEFINED
    slash_epoch: int = UNDEFINED

    def encoded(self) -> bytes:
        """The dag-cbor of the entry."""
        epochs = (self.sector_start_epoch, self.last_updated_epoch, self.slash_epoch)
        return cbor.encode([self.sector_number, *epochs])


def _nothing(_value: None) -> bytes:
    return b"\xf6"


# Sets of deal ids, and deal ids by sector: the inner maps of the two nested ones.
DEAL_SET: Final[HamtKind[int, None]] = HamtKind(encode_uvarint, _nothing)
SECTOR_DEALS: Final[HamtKind[int, tuple[int, ...]]] = HamtKind(encode_uvarint, cbor.encode)

_PROPOSALS: Final[AmtKind[Any]] = AmtKind(5, lambda deal: deal.to_cbor())
_STATES: Final[AmtKind[DealState]] = AmtKind(6, DealState.encoded)
_PENDING: Final[HamtKind[Cid, None]] = HamtKind(lambda cid: cid.raw, _nothing)
_BALANCES: Final[HamtKind[int, int]] = HamtKind(id_bytes, lambda one: cbor.encode(big(one)))
_DEAL_OPS: Final[HamtKind[int, Hamt[int, None]]] = HamtKind(
    signed_varint, lambda one: cbor.encode(one.cid), lambda one: (one,)
)
_ALLOCATIONS: Final[HamtKind[int, int]] = HamtKind(encode_uvarint, cbor.encode)
_PROVIDERS: Final[HamtKind[int, Hamt[int, tuple[int, ...]]]] = HamtKind(
    encode_uvarint, lambda one: cbor.encode(one.cid), lambda one: (one,)
)


@dataclass(frozen=True)
class MarketState(State):
    """f05. A proposal is there from publishing to the deal's end, a state only from activation on.

    Allocation ids are those of verified deals not activated yet.
    """

    proposals: Amt[Any] = Amt(_PROPOSALS)
    states: Amt[DealState] = Amt(_STATES)
    pending_proposals: Hamt[Cid, None] = Hamt(_PENDING)
    escrow_table: Hamt[int, int] = Hamt(_BALANCES)
    locked_table: Hamt[int, int] = Hamt(_BALANCES)
    next_id: int = 0
    deal_ops_by_epoch: Hamt[int, Hamt[int, None]] = Hamt(_DEAL_OPS)
    last_cron: int = UNDEFINED
    total_client_locked_collateral: int = 0
    total_provider_locked_collateral: int = 0
    total_client_storage_fee: int = 0
    pending_deal_allocation_ids: Hamt[int, int] = Hamt(_ALLOCATIONS)
    provider_sectors: Hamt[int, Hamt[int, tuple[int, ...]]] = Hamt(_PROVIDERS)

    def to_value(self) -> object:
        return [
            self.proposals.cid,
            self.states.cid,
            self.pending_proposals.cid,
            self.escrow_table.cid,
            self.locked_table.cid,
            self.next_id,
            self.deal_ops_by_epoch.cid,
            self.last_cron,
            big(self.total_client_locked_collateral),
            big(self.total_provider_locked_collateral),
            big(self.total_client_storage_fee),
            self.pending_deal_allocation_ids.cid,
            self.provider_sectors.cid,
        ]
