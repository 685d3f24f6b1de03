"""The params and returns of the DataCap token f07 and the market f05, whose money and deals move by them.

Source: go-state-types `builtin/v16/datacap/datacap_types.go`, `builtin/v16/market/{methods,market_types}.go`. Exported
numbers are the FRC-42 hashes of the methods' names.
"""

from __future__ import annotations

from typing import Any, Final

from devstack.rpc.go_types import (
    ADDRESS,
    BIG,
    BITFIELD,
    BOOL,
    BYTES,
    CID,
    EMPTY,
    INT,
    SIGNATURE,
    TEXT,
    UINT,
    GoType,
    MethodTypes,
    maybe,
    slice_of,
    struct,
)
from devstack.rpc.miner_method_types import BATCH
from devstack.rpc.params import decode_string
from lotus_client.actors.methods import DatacapMethod, MarketMethod, frc42_method
from lotus_client.actors.wire import ParamsError

__all__ = ["DATACAP_METHODS", "MARKET_METHODS"]

_ALLOWANCE: Final = BIG
_BALANCE: Final = struct(Balance=BIG)

DATACAP_METHODS: Final[dict[int, MethodTypes]] = {
    DatacapMethod.NAME: (EMPTY, TEXT),
    DatacapMethod.SYMBOL: (EMPTY, TEXT),
    DatacapMethod.GRANULARITY: (EMPTY, UINT),
    DatacapMethod.TOTAL_SUPPLY: (EMPTY, BIG),
    DatacapMethod.BALANCE: (ADDRESS, BIG),
    DatacapMethod.TRANSFER: (
        struct(To=ADDRESS, Amount=BIG, OperatorData=BYTES),
        struct(FromBalance=BIG, ToBalance=BIG, RecipientData=BYTES),
    ),
    frc42_method("TransferFrom"): (
        struct(From=ADDRESS, To=ADDRESS, Amount=BIG, OperatorData=BYTES),
        struct(FromBalance=BIG, ToBalance=BIG, Allowance=BIG, RecipientData=BYTES),
    ),
    frc42_method("IncreaseAllowance"): (struct(Operator=ADDRESS, Increase=BIG), _ALLOWANCE),
    frc42_method("DecreaseAllowance"): (struct(Operator=ADDRESS, Decrease=BIG), _ALLOWANCE),
    frc42_method("RevokeAllowance"): (struct(Operator=ADDRESS), _ALLOWANCE),
    frc42_method("Allowance"): (struct(Owner=ADDRESS, Operator=ADDRESS), _ALLOWANCE),
    DatacapMethod.BURN: (struct(Amount=BIG), _BALANCE),
    frc42_method("BurnFrom"): (
        struct(Owner=ADDRESS, Amount=BIG),
        struct(Balance=BIG, Allowance=BIG),
    ),
    DatacapMethod.MINT: (
        struct(To=ADDRESS, Amount=BIG, Operators=slice_of(ADDRESS)),
        struct(Balance=BIG, Supply=BIG, RecipientData=BYTES),
    ),
    frc42_method("Destroy"): (struct(Owner=ADDRESS, Amount=BIG), _BALANCE),
}


def _label_to_json(value: Any) -> str:
    """A deal's label; one of bytes prints as nothing, as in Lotus."""
    if not isinstance(value, str | bytes):
        raise ParamsError("a deal's label is text or bytes")
    return value if isinstance(value, str) else ""


_LABEL: Final = GoType(_label_to_json, decode_string)
_PROPOSAL: Final = struct(
    PieceCID=CID,
    PieceSize=UINT,
    VerifiedDeal=BOOL,
    Client=ADDRESS,
    Provider=ADDRESS,
    Label=_LABEL,
    StartEpoch=INT,
    EndEpoch=INT,
    StoragePricePerEpoch=BIG,
    ProviderCollateral=BIG,
    ClientCollateral=BIG,
)
_ADD_BALANCE: Final = (ADDRESS, EMPTY)
_WITHDRAW: Final = (struct(ProviderOrClientAddress=ADDRESS, Amount=BIG), BIG)
_PUBLISH: Final = (
    struct(Deals=slice_of(struct(Proposal=_PROPOSAL, ClientSignature=SIGNATURE))),
    struct(IDs=slice_of(UINT), ValidDeals=BITFIELD),
)

_SECTOR_DEALS: Final = struct(
    SectorNumber=UINT, SectorType=INT, SectorExpiry=INT, DealIDs=slice_of(UINT)
)
_DEAL: Final = UINT  # what the exported getters take
_SETTLEMENT: Final = struct(Payment=BIG, Completed=BOOL)

MARKET_METHODS: Final[dict[int, MethodTypes]] = {
    MarketMethod.ADD_BALANCE: _ADD_BALANCE,
    MarketMethod.ADD_BALANCE_EXPORTED: _ADD_BALANCE,
    MarketMethod.WITHDRAW_BALANCE: _WITHDRAW,
    MarketMethod.WITHDRAW_BALANCE_EXPORTED: _WITHDRAW,
    MarketMethod.PUBLISH_STORAGE_DEALS: _PUBLISH,
    MarketMethod.PUBLISH_STORAGE_DEALS_EXPORTED: _PUBLISH,
    MarketMethod.VERIFY_DEALS_FOR_ACTIVATION: (
        struct(Sectors=slice_of(_SECTOR_DEALS)),
        struct(UnsealedCIDs=slice_of(maybe(CID))),
    ),
    # Lotus' registry has no return for it, though the actor gives one.
    MarketMethod.BATCH_ACTIVATE_DEALS: (
        struct(Sectors=slice_of(_SECTOR_DEALS), ComputeCid=BOOL),
        EMPTY,
    ),
    MarketMethod.CRON_TICK: (EMPTY, EMPTY),
    MarketMethod.GET_BALANCE: (ADDRESS, struct(Balance=BIG, Locked=BIG)),
    MarketMethod.GET_DEAL_DATA_COMMITMENT: (_DEAL, struct(Data=CID, Size=UINT)),
    MarketMethod.GET_DEAL_CLIENT: (_DEAL, UINT),
    MarketMethod.GET_DEAL_PROVIDER: (_DEAL, UINT),
    MarketMethod.GET_DEAL_LABEL: (_DEAL, _LABEL),
    MarketMethod.GET_DEAL_TERM: (_DEAL, struct(Start=INT, Duration=INT)),
    MarketMethod.GET_DEAL_TOTAL_PRICE: (_DEAL, BIG),
    MarketMethod.GET_DEAL_CLIENT_COLLATERAL: (_DEAL, BIG),
    MarketMethod.GET_DEAL_PROVIDER_COLLATERAL: (_DEAL, BIG),
    MarketMethod.GET_DEAL_VERIFIED: (_DEAL, BOOL),
    MarketMethod.GET_DEAL_ACTIVATION: (_DEAL, struct(Activated=INT, Terminated=INT)),
    MarketMethod.GET_DEAL_SECTOR: (_DEAL, UINT),
    MarketMethod.SETTLE_DEAL_PAYMENTS: (
        BITFIELD,
        struct(Results=BATCH, Settlements=slice_of(_SETTLEMENT)),
    ),
}
