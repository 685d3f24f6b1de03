"""Which params a method of an actor takes and what it returns, by Go type.

Source: go-state-types `builtin/v16..v18/*/{methods,*_types}.go`. Methods whose types are not here are unknown to
`StateDecodeParams`, `StateEncodeParams` and `StateWaitMsg`, as methods outside its registry are to Lotus.
"""

from __future__ import annotations

from typing import Final

from devstack.rpc.go_types import (
    ADDRESS,
    BIG,
    BOOL,
    BYTES,
    CID,
    EMPTY,
    INT,
    SIGNATURE,
    UINT,
    GoType,
    MethodTypes,
    maybe,
    slice_of,
    struct,
)
from devstack.rpc.miner_method_types import BATCH, MINER_METHODS
from devstack.rpc.token_method_types import DATACAP_METHODS, MARKET_METHODS
from lotus_client.actors.methods import (
    InitMethod,
    MultisigMethod,
    PowerMethod,
    RewardMethod,
    VerifregMethod,
)

__all__ = ["method_types"]

_SMOOTHED: Final = struct(PositionEstimate=BIG, VelocityEstimate=BIG)
_CREATED: Final = struct(IDAddress=ADDRESS, RobustAddress=ADDRESS)
_TXN_ID: Final = struct(ID=INT, ProposalHash=BYTES)
_APPROVED: Final = struct(Applied=BOOL, Code=INT, Ret=BYTES)
_GRANT: Final = struct(Address=ADDRESS, Allowance=BIG)
_REMOVAL: Final = struct(Verifier=ADDRESS, VerifierSignature=SIGNATURE)
_CLAIM: Final = struct(
    Provider=UINT, Client=UINT, Data=CID, Size=UINT, TermMin=INT, TermMax=INT, TermStart=INT,
    Sector=UINT,
)  # fmt: skip

_INIT: Final[dict[int, MethodTypes]] = {
    InitMethod.EXEC: (struct(CodeCID=CID, ConstructorParams=BYTES), _CREATED),
}

_MULTISIG: Final[dict[int, MethodTypes]] = {
    1: (
        struct(
            Signers=slice_of(ADDRESS),
            NumApprovalsThreshold=UINT,
            UnlockDuration=INT,
            StartEpoch=INT,
        ),
        EMPTY,
    ),
    MultisigMethod.PROPOSE: (
        struct(To=ADDRESS, Value=BIG, Method=UINT, Params=BYTES),
        struct(TxnID=INT, Applied=BOOL, Code=INT, Ret=BYTES),
    ),
    MultisigMethod.APPROVE: (_TXN_ID, _APPROVED),
    MultisigMethod.CANCEL: (_TXN_ID, EMPTY),
    5: (struct(Signer=ADDRESS, Increase=BOOL), EMPTY),
    6: (struct(Signer=ADDRESS, Decrease=BOOL), EMPTY),
    7: (struct(From=ADDRESS, To=ADDRESS), EMPTY),
    8: (struct(NewThreshold=UINT), EMPTY),
    9: (struct(StartEpoch=INT, UnlockDuration=INT, Amount=BIG), EMPTY),
}

_REMOVE_ALLOCATIONS: Final = (
    struct(Client=UINT, AllocationIds=slice_of(UINT)),
    struct(Considered=slice_of(UINT), Results=BATCH, DataCapRecovered=BIG),
)
_GET_CLAIMS: Final = (
    struct(Provider=UINT, ClaimIds=slice_of(UINT)),
    struct(BatchInfo=BATCH, Claims=slice_of(_CLAIM)),
)
_EXTEND_CLAIMS: Final = (
    struct(Terms=slice_of(struct(Provider=UINT, ClaimId=UINT, TermMax=INT))),
    BATCH,
)
_REMOVE_CLAIMS: Final = (
    struct(Provider=UINT, ClaimIds=slice_of(UINT)),
    struct(Considered=slice_of(UINT), Results=BATCH),
)

_CLAIM_ALLOCATIONS: Final = (
    struct(
        Sectors=slice_of(
            struct(
                Sector=UINT,
                SectorExpiry=INT,
                Claims=slice_of(struct(Client=UINT, AllocationId=UINT, Data=CID, Size=UINT)),
            )
        ),
        AllOrNothing=BOOL,
    ),
    struct(BatchInfo=BATCH, ClaimedSpace=slice_of(BIG)),
)

_VERIFREG: Final[dict[int, MethodTypes]] = {
    VerifregMethod.ADD_VERIFIER: (_GRANT, EMPTY),
    VerifregMethod.REMOVE_VERIFIER: (ADDRESS, EMPTY),
    VerifregMethod.ADD_VERIFIED_CLIENT: (_GRANT, EMPTY),
    VerifregMethod.ADD_VERIFIED_CLIENT_EXPORTED: (_GRANT, EMPTY),
    7: (
        struct(
            VerifiedClientToRemove=ADDRESS,
            DataCapAmountToRemove=BIG,
            VerifierRequest1=_REMOVAL,
            VerifierRequest2=_REMOVAL,
        ),
        struct(VerifiedClient=ADDRESS, DataCapRemoved=BIG),
    ),
    VerifregMethod.REMOVE_EXPIRED_ALLOCATIONS: _REMOVE_ALLOCATIONS,
    VerifregMethod.REMOVE_EXPIRED_ALLOCATIONS_EXPORTED: _REMOVE_ALLOCATIONS,
    VerifregMethod.CLAIM_ALLOCATIONS: _CLAIM_ALLOCATIONS,
    VerifregMethod.GET_CLAIMS: _GET_CLAIMS,
    VerifregMethod.GET_CLAIMS_EXPORTED: _GET_CLAIMS,
    VerifregMethod.EXTEND_CLAIM_TERMS: _EXTEND_CLAIMS,
    VerifregMethod.EXTEND_CLAIM_TERMS_EXPORTED: _EXTEND_CLAIMS,
    VerifregMethod.REMOVE_EXPIRED_CLAIMS: _REMOVE_CLAIMS,
    VerifregMethod.REMOVE_EXPIRED_CLAIMS_EXPORTED: _REMOVE_CLAIMS,
}

_CREATE_MINER: Final = (
    struct(
        Owner=ADDRESS, Worker=ADDRESS, WindowPoStProofType=INT, Peer=BYTES,
        Multiaddrs=slice_of(BYTES),
    ),
    _CREATED,
)  # fmt: skip
_POWER: Final[dict[int, MethodTypes]] = {
    PowerMethod.CREATE_MINER: _CREATE_MINER,
    PowerMethod.CREATE_MINER_EXPORTED: _CREATE_MINER,
    PowerMethod.UPDATE_CLAIMED_POWER: (
        struct(RawByteDelta=BIG, QualityAdjustedDelta=BIG),
        EMPTY,
    ),
    PowerMethod.ENROLL_CRON_EVENT: (struct(EventEpoch=INT, Payload=BYTES), EMPTY),
    PowerMethod.UPDATE_PLEDGE_TOTAL: (BIG, EMPTY),
}

_REWARD: Final[dict[int, MethodTypes]] = {
    RewardMethod.AWARD_BLOCK_REWARD: (
        struct(Miner=ADDRESS, Penalty=BIG, GasReward=BIG, WinCount=INT),
        EMPTY,
    ),
    RewardMethod.THIS_EPOCH_REWARD: (
        EMPTY,
        struct(ThisEpochRewardSmoothed=_SMOOTHED, ThisEpochBaselinePower=BIG),
    ),
    RewardMethod.UPDATE_NETWORK_KPI: (maybe(BIG), EMPTY),
}

_ACCOUNT: Final[dict[int, MethodTypes]] = {2: (EMPTY, ADDRESS)}
_CRON: Final[dict[int, MethodTypes]] = {2: (EMPTY, EMPTY)}
_SEND: Final[MethodTypes] = (EMPTY, EMPTY)

_BY_CODE: Final[dict[str, dict[int, MethodTypes]]] = {
    "account": _ACCOUNT,
    "cron": _CRON,
    "datacap": DATACAP_METHODS,
    "init": _INIT,
    "multisig": _MULTISIG,
    "reward": _REWARD,
    "storagemarket": MARKET_METHODS,
    "storageminer": MINER_METHODS,
    "storagepower": _POWER,
    "verifiedregistry": _VERIFREG,
}


def method_types(code: str, method: int) -> tuple[GoType, GoType] | None:
    """Params and return of a method by the actor's name in the bundle; None when they are not known."""
    return _SEND if method == 0 else _BY_CODE.get(code, {}).get(method)
