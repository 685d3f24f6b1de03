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
    slice_of,
    struct,
)
from devstack.rpc.params import decode_string
from lotus_client.actors.methods import DatacapMethod, frc42_method
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

MARKET_METHODS: Final[dict[int, MethodTypes]] = {
    2: _ADD_BALANCE,
    frc42_method("AddBalance"): _ADD_BALANCE,
    3: _WITHDRAW,
    frc42_method("WithdrawBalance"): _WITHDRAW,
    4: _PUBLISH,
    frc42_method("PublishStorageDeals"): _PUBLISH,
}
