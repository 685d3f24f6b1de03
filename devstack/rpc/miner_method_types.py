"""The params and returns of miner actors. Source: go-state-types `builtin/v16/miner/miner_types.go`."""

from __future__ import annotations

from typing import Final

from devstack.rpc.go_types import (
    ADDRESS,
    BIG,
    BITFIELD,
    BOOL,
    BYTES,
    CID,
    EMPTY,
    INT,
    UINT,
    MethodTypes,
    maybe,
    slice_of,
    struct,
)
from lotus_client.actors.methods import MinerMethod, frc42_method

__all__ = ["BATCH", "MINER_METHODS"]

BATCH: Final = struct(SuccessCount=UINT, FailCodes=slice_of(struct(Idx=UINT, Code=INT)))

_PLACE: Final = struct(Deadline=UINT, Partition=UINT, Sectors=BITFIELD)
_POST_PROOF: Final = struct(PoStProof=INT, ProofBytes=BYTES)
_PIECE: Final = struct(
    CID=CID,
    Size=UINT,
    VerifiedAllocationKey=maybe(struct(Client=UINT, ID=UINT)),
    Notify=slice_of(struct(Address=ADDRESS, Payload=BYTES)),
)
_PRE_COMMIT: Final = struct(
    SealProof=INT,
    SectorNumber=UINT,
    SealedCID=CID,
    SealRandEpoch=INT,
    DealIDs=slice_of(UINT),
    Expiration=INT,
    UnsealedCid=maybe(CID),
)
_SECTOR_CLAIMS: Final = struct(
    SectorNumber=UINT, MaintainClaims=slice_of(UINT), DropClaims=slice_of(UINT)
)
_WITHDRAW: Final = (struct(AmountRequested=BIG), BIG)
_CHANGE_WORKER: Final = (struct(NewWorker=ADDRESS, NewControlAddrs=slice_of(ADDRESS)), EMPTY)
_CHANGE_PEER: Final = (struct(NewID=BYTES), EMPTY)
_CHANGE_ADDRESSES: Final = (struct(NewMultiaddrs=slice_of(BYTES)), EMPTY)
_CHANGE_BENEFICIARY: Final = (
    struct(NewBeneficiary=ADDRESS, NewQuota=BIG, NewExpiration=INT),
    EMPTY,
)

# Numbers without a name in `MinerMethod` are of actors/miner/src/lib.rs.
MINER_METHODS: Final[dict[int, MethodTypes]] = {
    MinerMethod.CONTROL_ADDRESSES: (
        EMPTY,
        struct(Owner=ADDRESS, Worker=ADDRESS, ControlAddrs=slice_of(ADDRESS)),
    ),
    MinerMethod.CHANGE_WORKER_ADDRESS: _CHANGE_WORKER,
    4: _CHANGE_PEER,
    MinerMethod.SUBMIT_WINDOWED_POST: (
        struct(
            Deadline=UINT,
            Partitions=slice_of(struct(Index=UINT, Skipped=BITFIELD)),
            Proofs=slice_of(_POST_PROOF),
            ChainCommitEpoch=INT,
            ChainCommitRand=BYTES,
        ),
        EMPTY,
    ),
    MinerMethod.TERMINATE_SECTORS: (struct(Terminations=slice_of(_PLACE)), struct(Done=BOOL)),
    MinerMethod.DECLARE_FAULTS: (struct(Faults=slice_of(_PLACE)), EMPTY),
    MinerMethod.DECLARE_FAULTS_RECOVERED: (struct(Recoveries=slice_of(_PLACE)), EMPTY),
    MinerMethod.APPLY_REWARDS: (struct(Reward=BIG, Penalty=BIG), EMPTY),
    MinerMethod.WITHDRAW_BALANCE: _WITHDRAW,
    MinerMethod.WITHDRAW_BALANCE_EXPORTED: _WITHDRAW,
    18: _CHANGE_ADDRESSES,
    19: (struct(Deadline=UINT, Partitions=BITFIELD), EMPTY),
    20: (struct(MaskSectorNumbers=BITFIELD), EMPTY),
    21: (EMPTY, EMPTY),
    22: (EMPTY, EMPTY),
    MinerMethod.CHANGE_OWNER_ADDRESS: (ADDRESS, EMPTY),
    frc42_method("ChangeWorkerAddress"): _CHANGE_WORKER,
    frc42_method("ChangePeerID"): _CHANGE_PEER,
    frc42_method("ChangeMultiaddrs"): _CHANGE_ADDRESSES,
    frc42_method("ChangeOwnerAddress"): (ADDRESS, EMPTY),
    frc42_method("ChangeBeneficiary"): _CHANGE_BENEFICIARY,
    frc42_method("ConfirmChangeWorkerAddress"): (EMPTY, EMPTY),
    frc42_method("RepayDebt"): (EMPTY, EMPTY),
    frc42_method("GetOwner"): (EMPTY, struct(Owner=ADDRESS, Proposed=maybe(ADDRESS))),
    frc42_method("IsControllingAddress"): (ADDRESS, BOOL),
    frc42_method("GetSectorSize"): (EMPTY, UINT),
    frc42_method("GetAvailableBalance"): (EMPTY, BIG),
    MinerMethod.PRE_COMMIT_SECTOR_BATCH2: (struct(Sectors=slice_of(_PRE_COMMIT)), EMPTY),
    30: _CHANGE_BENEFICIARY,
    32: (
        struct(
            Extensions=slice_of(
                struct(
                    Deadline=UINT,
                    Partition=UINT,
                    Sectors=BITFIELD,
                    SectorsWithClaims=slice_of(_SECTOR_CLAIMS),
                    NewExpiration=INT,
                )
            )
        ),
        EMPTY,
    ),
    MinerMethod.PROVE_COMMIT_SECTORS3: (
        struct(
            SectorActivations=slice_of(struct(SectorNumber=UINT, Pieces=slice_of(_PIECE))),
            SectorProofs=slice_of(BYTES),
            AggregateProof=BYTES,
            AggregateProofType=maybe(INT),
            RequireActivationSuccess=BOOL,
            RequireNotificationSuccess=BOOL,
        ),
        BATCH,
    ),
    35: (
        struct(
            SectorUpdates=slice_of(
                struct(
                    Sector=UINT,
                    Deadline=UINT,
                    Partition=UINT,
                    NewSealedCID=CID,
                    Pieces=slice_of(_PIECE),
                )
            ),
            SectorProofs=slice_of(BYTES),
            AggregateProof=BYTES,
            UpdateProofsType=INT,
            AggregateProofType=maybe(INT),
            RequireActivationSuccess=BOOL,
            RequireNotificationSuccess=BOOL,
        ),
        BATCH,
    ),
    MinerMethod.PROVE_COMMIT_SECTORS_NI: (
        struct(
            Sectors=slice_of(
                struct(
                    SealingNumber=UINT,
                    SealerID=UINT,
                    SealedCID=CID,
                    SectorNumber=UINT,
                    SealRandEpoch=INT,
                    Expiration=INT,
                )
            ),
            AggregateProof=BYTES,
            SealProofType=INT,
            AggregateProofType=INT,
            ProvingDeadline=UINT,
            RequireActivationSuccess=BOOL,
        ),
        BATCH,
    ),
}
