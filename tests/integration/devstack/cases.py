"""One call of every method that the devnet serves: its parameters in a `World`, by method.

A method that takes no parameters needs no case; a case may also stand here before its method is served. Add a line per new method: to `FULL` for the node's paths (`V0` where v0
takes other parameters), to `V2` or `MINER` for those. What answers with an error on this devnet stands in `ERRORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.devstack.world import World, link, text64

Params = Callable[[World], list[Any]]

_ENTROPY = text64(b"entropy")
_DATA = text64(b"to sign")
_PROVING_SEED = 5  # domain separation tag SealRandomness


def _verify(world: World) -> list[Any]:
    key = world.net.network.key("alice")
    signature = {"Type": 1, "Data": text64(key.sign(b"to sign").data)}
    return [world.account("alice"), _DATA, signature]


def _precommit_info(world: World) -> dict[str, Any]:
    sealed = world.net.provider.sectors[next(iter(world.net.provider.sectors))].sealed_cid
    return {
        "SealProof": 6, "SectorNumber": 99, "SealedCID": link(sealed), "SealRandEpoch": 1, "DealIDs": None,
        "Expiration": 1_000_000, "UnsealedCid": None,
    }  # fmt: skip


def _compute(world: World) -> list[Any]:
    extra = world.message(
        _nonce_after(world), GasLimit=5_000_000, GasFeeCap="200000", GasPremium="100000"
    )
    return [world.height, [extra], world.included]


def _nonce_after(world: World) -> int:
    """Alice's nonce after the tipset that includes the commit."""
    network = world.net.network
    alice = network.key("alice").address
    return network.pending_state(network.tipset_by_height(world.height).key).actor(alice).nonce


def _msig(world: World, *rest: Any) -> list[Any]:
    return [world.msig, *rest]


def _state_root(world: World) -> dict[str, str]:
    return link(world.net.network.head.blocks[0].parent_state_root)


def _miner_head(world: World) -> dict[str, str]:
    return link(world.net.network.state().actor(world.net.provider.miner).head)


FULL: dict[str, Params] = {
    "AuthNew": lambda _: [["read", "write"]],
    "AuthVerify": lambda w: [w.net.token()],
    "ChainGetTipSet": lambda w: [w.head],
    "ChainGetTipSetByHeight": lambda w: [1, w.head],
    "ChainGetTipSetAfterHeight": lambda w: [1, w.head],
    "ChainGetPath": lambda w: [w.executed, w.included],
    "ChainGetBlock": lambda w: [w.executed[0]],
    "ChainGetBlockMessages": lambda w: [w.included[0]],
    "ChainGetMessage": lambda w: [w.commit],
    "ChainGetMessagesInTipset": lambda w: [w.included],
    "ChainGetParentMessages": lambda w: [w.executed[0]],
    "ChainGetParentReceipts": lambda w: [w.executed[0]],
    "ChainGetEvents": lambda w: [w.events_root],
    "ChainGetNode": lambda w: [f"/ipfs/{_state_root(w)['/']}/1/@Ha:{w.miner}/@state"],
    "ChainHasObj": lambda w: [_state_root(w)],
    "ChainReadObj": lambda w: [_state_root(w)],
    "ChainStatObj": lambda w: [_miner_head(w), None],
    "ChainSetHead": lambda w: [w.executed],
    "ChainTipSetWeight": lambda w: [w.head],
    "F3GetCertificate": lambda _: [1],
    "F3GetECPowerTable": lambda w: [w.head],
    "F3GetF3PowerTable": lambda w: [w.head],
    "F3GetPowerTableByInstance": lambda _: [1],
    "F3GetOrRenewParticipationTicket": lambda w: [w.miner, "", 1],
    "F3Participate": lambda _: [""],
    "GasEstimateMessageGas": lambda w: [w.message(), None, w.head],
    "GasEstimateGasLimit": lambda w: [w.message(), w.head],
    "GasEstimateFeeCap": lambda w: [w.message(), 10, w.head],
    "GasEstimateGasPremium": lambda w: [2, w.account("alice"), 1_000_000, w.head],
    "GetActorEventsRaw": lambda _: [{"addresses": ["t06"], "fromHeight": 0}],
    "MinerGetBaseInfo": lambda w: [w.genesis_miner, w.net.network.head.height + 1, w.head],
    "MpoolPush": lambda w: [w.signed()],
    "MpoolPushUntrusted": lambda w: [w.signed()],
    "MpoolBatchPush": lambda w: [[w.signed(), w.signed(ahead=1)]],
    "MpoolBatchPushUntrusted": lambda w: [[w.signed()]],
    "MarketAddBalance": lambda w: [w.account("alice"), w.account("alice"), "1000"],
    "MarketGetReserved": lambda w: [w.account("alice")],
    "MarketWithdraw": lambda w: [w.account("bob"), w.account("bob"), "10"],
    "MpoolPushMessage": lambda w: [w.message(), None],
    "MpoolBatchPushMessage": lambda w: [[w.message(), w.message(Value="2")], None],
    "MpoolCheckMessages": lambda w: [[{"Message": w.message(GasLimit=1), "ValidNonce": False}]],
    "MpoolCheckPendingMessages": lambda w: [w.account("alice")],
    "MpoolCheckReplaceMessages": lambda w: [[w.message(GasLimit=5_000_000)]],
    "MpoolClear": lambda _: [True],
    "MpoolGetNonce": lambda w: [w.account("alice")],
    "MpoolPending": lambda w: [w.head],
    "MpoolSelect": lambda w: [w.head, 0.5],
    "MpoolSetConfig": lambda w: [
        {"PriorityAddrs": [w.account("bob")], "SizeLimitHigh": 10, "SizeLimitLow": 5,
         "ReplaceByFeeRatio": 1.5, "PruneCooldown": 1, "GasLimitOverestimation": 1.5},
    ],
    "MsigCreate": lambda w: [
        1, [w.account("alice"), w.account("bob")], 0, "5", w.account("alice"), "0",
    ],
    "MsigPropose": lambda w: _msig(w, w.account("carol"), "1", w.account("alice"), 0, None),
    "MsigApprove": lambda w: _msig(w, 0, w.account("bob")),
    "MsigApproveTxnHash": lambda w: _msig(
        w, 0, w.account("alice"), w.account("carol"), str(10**15), w.account("bob"), 0, None
    ),
    "MsigCancel": lambda w: _msig(w, 0, w.account("alice")),
    "MsigCancelTxnHash": lambda w: _msig(
        w, 0, w.account("carol"), str(10**15), w.account("alice"), 0, None
    ),
    "MsigAddPropose": lambda w: _msig(w, w.account("alice"), w.account("carol"), False),
    "MsigAddApprove": lambda w: _msig(
        w, w.account("bob"), 1, w.account("alice"), w.account("carol"), False
    ),
    "MsigAddCancel": lambda w: _msig(w, w.account("alice"), 1, w.account("carol"), False),
    "MsigSwapPropose": lambda w: _msig(
        w, w.account("alice"), w.account("bob"), w.account("carol")
    ),
    "MsigSwapApprove": lambda w: _msig(
        w, w.account("bob"), 2, w.account("alice"), w.account("bob"), w.account("carol")
    ),
    "MsigSwapCancel": lambda w: _msig(
        w, w.account("alice"), 2, w.account("bob"), w.account("carol")
    ),
    "MsigRemoveSigner": lambda w: _msig(w, w.account("alice"), w.account("bob"), True),
    "MsigGetAvailableBalance": lambda w: _msig(w, w.head),
    "MsigGetVested": lambda w: _msig(w, w.included, w.head),
    "MsigGetVestingSchedule": lambda w: _msig(w, w.head),
    "MsigGetPending": lambda w: _msig(w, w.head),
    "NetAgentVersion": lambda _: ["16Uiu2HAmNobody"],
    "NetDisconnect": lambda _: ["16Uiu2HAmNobody"],
    "NetProtectAdd": lambda _: [["16Uiu2HAmNobody"]],
    "NetProtectRemove": lambda _: [["16Uiu2HAmOther"]],
    "NetConnectedness": lambda _: ["16Uiu2HAmNobody"],
    "NetFindPeer": lambda _: ["16Uiu2HAmNobody"],
    "NodeStatus": lambda _: [True],
    "StateAccountKey": lambda w: [w.client, w.head],
    "StateActorCodeCIDs": lambda _: [28],
    "StateActorManifestCID": lambda _: [28],
    "StateListActors": lambda w: [w.head],
    "StateAllMinerFaults": lambda w: [10, w.head],
    "StateCall": lambda w: [w.message(), w.head],
    "StateCirculatingSupply": lambda w: [w.head],
    "StateCompute": _compute,
    "StateDecodeParams": lambda w: [w.miner, 34, w.commit_params, w.head],
    "StateEncodeParams": lambda w: [
        link(w.net.network.state().actor(w.net.provider.miner).code), 16, {"AmountRequested": "5"},
    ],
    "StateGetActor": lambda w: [w.account("alice"), w.head],
    "StateGetAllAllocations": lambda w: [w.head],
    "StateGetAllClaims": lambda w: [w.head],
    "StateGetAllocation": lambda w: [w.client, w.pending_allocation, w.head],
    "StateGetAllocations": lambda w: [w.client, w.head],
    "StateGetBeaconEntry": lambda w: [w.height],
    "StateGetClaim": lambda w: [w.miner, w.claim, w.head],
    "StateGetClaims": lambda w: [w.miner, w.head],
    "StateGetRandomnessDigestFromBeacon": lambda w: [w.height, w.head],
    "StateGetRandomnessDigestFromTickets": lambda w: [w.height, w.head],
    "StateGetRandomnessFromBeacon": lambda w: [_PROVING_SEED, w.height, _ENTROPY, w.head],
    "StateGetRandomnessFromTickets": lambda w: [_PROVING_SEED, w.height, _ENTROPY, w.head],
    "StateListMessages": lambda w: [{"To": w.miner, "From": ""}, w.head, 0],
    "StateListMiners": lambda w: [w.head],
    "StateLookupID": lambda w: [w.account("alice"), w.head],
    "StateLookupRobustAddress": lambda w: [w.msig, w.head],
    "StateDealProviderCollateralBounds": lambda w: [1 << 20, True, w.head],
    "StateGetAllocationForPendingDeal": lambda w: [w.deal, w.head],
    "StateGetAllocationIdForPendingDeal": lambda w: [w.deal, w.head],
    "StateMarketBalance": lambda w: [w.account("alice"), w.head],
    "StateMarketDeals": lambda w: [w.head],
    "StateMarketParticipants": lambda w: [w.head],
    "StateMarketProposalPending": lambda w: [w.deal_cid, w.head],
    "StateMarketStorageDeal": lambda w: [w.deal, w.head],
    "StateMinerActiveSectors": lambda w: [w.genesis_miner, w.head],
    "StateMinerAllocated": lambda w: [w.miner, w.head],
    "StateMinerAvailableBalance": lambda w: [w.miner, w.head],
    "StateMinerCreationDeposit": lambda w: [w.head],
    "StateMinerDeadlines": lambda w: [w.genesis_miner, w.head],
    "StateMinerFaults": lambda w: [w.genesis_miner, w.head],
    "StateMinerInfo": lambda w: [w.miner, w.head],
    "StateMinerInitialPledgeCollateral": lambda w: [w.miner, _precommit_info(w), w.head],
    "StateMinerInitialPledgeForSector": lambda w: [518_400, 8 << 20, 4 << 20, w.head],
    "StateMinerPartitions": lambda w: [w.genesis_miner, 0, w.head],
    "StateMinerPower": lambda w: [w.miner, w.head],
    "StateMinerPreCommitDepositForPower": lambda w: [w.miner, _precommit_info(w), w.head],
    "StateMinerProvingDeadline": lambda w: [w.miner, w.head],
    "StateMinerRecoveries": lambda w: [w.genesis_miner, w.head],
    "StateMinerSectorAllocated": lambda w: [w.miner, w.sector, w.head],
    "StateMinerSectorCount": lambda w: [w.miner, w.head],
    "StateMinerSectors": lambda w: [w.miner, None, w.head],
    "StateNetworkVersion": lambda w: [w.head],
    "StateReadState": lambda w: [w.miner, w.head],
    "StateReplay": lambda w: [w.included, w.commit],
    "StateSearchMsg": lambda w: [w.head, w.commit, -1, False],
    "StateSectorExpiration": lambda w: [w.miner, w.sector, w.head],
    "StateSectorGetInfo": lambda w: [w.miner, w.sector, w.head],
    "StateSectorPartition": lambda w: [w.miner, w.sector, w.head],
    "StateSectorPreCommitInfo": lambda w: [w.miner, w.precommitted, w.head],
    "StateVMCirculatingSupplyInternal": lambda w: [w.head],
    "StateVerifiedClientStatus": lambda w: [w.client, w.head],
    "StateVerifiedRegistryRootKey": lambda w: [w.head],
    "StateVerifierStatus": lambda w: [w.account("verifier-1"), w.head],
    "StateWaitMsg": lambda w: [w.commit, 0, -1, True],
    "SyncValidateTipset": lambda w: [w.head],
    "WalletBalance": lambda w: [w.account("alice")],
    "WalletDelete": lambda w: [w.account("bob")],
    "WalletExport": lambda w: [w.account("alice")],
    "WalletHas": lambda w: [w.account("alice")],
    "WalletImport": lambda _: [{"Type": "secp256k1", "PrivateKey": text64(bytes(31) + b"\x07")}],
    "WalletNew": lambda _: ["secp256k1"],
    "WalletSetDefault": lambda w: [w.account("alice")],
    "WalletSign": lambda w: [w.account("alice"), _DATA],
    "WalletSignMessage": lambda w: [w.account("alice"), w.message()],
    "WalletValidateAddress": lambda w: [w.account("alice")],
    "WalletVerify": _verify,
}  # fmt: skip

V0: dict[str, Params] = FULL | {
    "BeaconGetEntry": lambda w: [w.height],
    "ChainGetRandomnessFromBeacon": lambda w: [w.head, _PROVING_SEED, w.height, _ENTROPY],
    "ChainGetRandomnessFromTickets": lambda w: [w.head, _PROVING_SEED, w.height, _ENTROPY],
    "MsigCancel": FULL["MsigCancelTxnHash"],
    "StateGetReceipt": lambda w: [w.commit, w.head],
    "StateSearchMsg": lambda w: [w.commit],
    "StateSearchMsgLimited": lambda w: [w.commit, 1000],
    "StateWaitMsg": lambda w: [w.commit, 0],
    "StateWaitMsgLimited": lambda w: [w.commit, 0, 1000],
}

V2: dict[str, Params] = FULL | {
    "ChainGetTipSet": lambda w: [
        {"height": {"at": w.height, "previous": True, "anchor": {"tag": "latest"}}}
    ],
    "StateGetActor": lambda w: [w.account("alice"), {"tag": "latest"}],
    "StateGetID": lambda w: [w.account("alice"), {"key": w.head}],
}


def _sector_ref(world: World) -> dict[str, Any]:
    return {"ID": {"Miner": int(world.miner[2:]), "Number": world.sector}, "ProofType": 6}


MINER: dict[str, Params] = {
    "ActorSectorSize": lambda w: [w.miner],
    "AuthNew": FULL["AuthNew"],
    "AuthVerify": lambda w: [w.net.miner_api_info.partition(":")[0]],
    "ComputeDataCid": lambda _: [1016, {"Type": "null", "Info": "1016"}],
    "RecoverFault": lambda w: [[w.sector]],
    "SectorAddPieceToAny": lambda _: [
        1016, {"Type": "null", "Info": "1016"},
        {"PublishCid": None, "DealID": 0, "DealProposal": None, "DealSchedule": {"StartEpoch": 9, "EndEpoch": 99},
         "PieceActivationManifest": None, "KeepUnsealed": True},
    ],
    "SectorUnseal": lambda w: [w.sector],
    "SectorsListInStates": lambda _: [["Proving"]],
    "SectorsStatus": lambda w: [w.sector, True],
    "SectorsUnsealPiece": lambda w: [
        _sector_ref(w), 0, 1016, "Bw==", link(w.net.provider.sectors[w.sector].commd),
    ],
    "StorageAuthVerify": lambda w: [w.net.miner_api_info.partition(":")[0]],
    "StorageFindSector": lambda w: [_sector_ref(w)["ID"], 1, 0, False],
    "StorageInfo": lambda w: [w.net.provider.storage.id],
    "StorageRedeclareLocal": lambda w: [w.net.provider.storage.id, False],
    "StorageStat": lambda w: [w.net.provider.storage.id],
}  # fmt: skip

# Methods that answer with an error here, as Lotus does in the same situation: (code, text).
_F3_OFF = (4, "f3 is disabled")
_PAYCH_OFF = (13, "payment channels disabled (EnablePaymentChannelManager=false)")
ERRORS: dict[str, tuple[int, str]] = {
    "MinerCreateBlock": (1, "method not supported"),
    "SyncSubmitBlock": (1, "method not supported"),
    "NetAgentVersion": (1, "item not found"),
    "NetFindPeer": (1, "routing: not found"),
    "StateAllMinerFaults": (1, "fixme"),
    **dict.fromkeys(
        (
            "F3GetCertificate", "F3GetECPowerTable", "F3GetF3PowerTable", "F3GetLatestCertificate", "F3GetManifest",
            "F3GetOrRenewParticipationTicket", "F3GetPowerTableByInstance", "F3GetProgress", "F3IsRunning",
            "F3ListParticipants", "F3Participate",
        ),
        _F3_OFF,
    ),
    **dict.fromkeys(
        (
            "PaychAllocateLane", "PaychAvailableFunds", "PaychAvailableFundsByFromTo", "PaychCollect", "PaychFund",
            "PaychGet", "PaychGetWaitReady", "PaychList", "PaychNewPayment", "PaychSettle", "PaychStatus",
            "PaychVoucherAdd", "PaychVoucherCheckSpendable", "PaychVoucherCheckValid", "PaychVoucherCreate",
            "PaychVoucherList", "PaychVoucherSubmit",
        ),
        _PAYCH_OFF,
    ),
}  # fmt: skip

# Called last and in this order, for they change what the others see.
LAST = ("MpoolSetConfig", "MpoolClear", "WalletDelete", "ChainSetHead", "Shutdown")
