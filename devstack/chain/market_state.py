"""The storage market's state f05, in the blocks of builtin-actors v18 (`actors/market/src/state.rs`).

Keys and values of the maps are plain Python values: proposals and states by deal id, balances in attoFIL by actor id (absent when
0), epochs to tuples of deal ids, and provider to sector to deal ids in any mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from devstack.chain.table import State, big, id_bytes, signed_varint
from devstack.ipld import Amt, AmtKind, Hamt, HamtKind, nested
from lotus_client import cbor
from lotus_client.actors.market import DealProposal
from lotus_client.cid import Cid
from lotus_client.varint import encode_uvarint

__all__ = ["UNDEFINED", "DealState", "MarketState"]

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


def _nothing(_value: object) -> bytes:
    return b"\xf6"


# Sets are maps to null.
_DEAL_SET: Final[HamtKind[int, object]] = HamtKind(encode_uvarint, _nothing)


def _deal_set(deals: Iterable[int]) -> Hamt[int, object]:
    return Hamt(_DEAL_SET, dict.fromkeys(deals))


_PROPOSALS: Final[AmtKind[DealProposal]] = AmtKind(5, DealProposal.to_cbor)
_STATES: Final[AmtKind[DealState]] = AmtKind(6, DealState.encoded)
_PENDING: Final[HamtKind[Cid, object]] = HamtKind(lambda cid: cid.raw, _nothing)
_BALANCES: Final[HamtKind[int, int]] = HamtKind(id_bytes, lambda one: cbor.encode(big(one)))
_DEAL_OPS: Final[HamtKind[int, tuple[int, ...]]] = HamtKind(
    signed_varint,
    lambda deals: cbor.encode(_deal_set(deals).cid),
    lambda deals: (_deal_set(deals),),
)
_ALLOCATIONS: Final[HamtKind[int, int]] = HamtKind(encode_uvarint, cbor.encode)
_SECTORS: Final[HamtKind[int, tuple[int, ...]]] = HamtKind(encode_uvarint, cbor.encode)
_PROVIDERS: Final = nested(encode_uvarint, _SECTORS)


@dataclass(frozen=True)
class MarketState(State):
    """f05. A proposal is there from publishing to the deal's end, a state only from activation on.

    Allocation ids are those of verified deals not activated yet.
    """

    proposals: Amt[DealProposal] = Amt(_PROPOSALS)
    states: Amt[DealState] = Amt(_STATES)
    pending_proposals: Hamt[Cid, object] = Hamt(_PENDING)
    escrow_table: Hamt[int, int] = Hamt(_BALANCES)
    locked_table: Hamt[int, int] = Hamt(_BALANCES)
    next_id: int = 0
    deal_ops_by_epoch: Hamt[int, tuple[int, ...]] = Hamt(_DEAL_OPS)
    last_cron: int = UNDEFINED
    total_client_locked_collateral: int = 0
    total_provider_locked_collateral: int = 0
    total_client_storage_fee: int = 0
    pending_deal_allocation_ids: Hamt[int, int] = Hamt(_ALLOCATIONS)
    provider_sectors: Hamt[int, Mapping[int, tuple[int, ...]]] = Hamt(_PROVIDERS)

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
