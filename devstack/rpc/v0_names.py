"""The methods that `/rpc/v0` knows at all. Source: Lotus `documentation/en/api-methods-v0-deprecated.md`.

What is not here (events, F3, `eth_*`, message checks, ...) is answered on v0 as an unknown method, as Lotus does.
"""

from __future__ import annotations

from typing import Final

__all__ = ["V0_NAMES"]

_TEXT: Final = """
    Closing Discover Session Shutdown Version AuthNew AuthVerify BeaconGetEntry ChainDeleteObj ChainExport
    ChainGetBlock ChainGetBlockMessages ChainGetGenesis ChainGetMessage ChainGetMessagesInTipset
    ChainGetNode ChainGetParentMessages ChainGetParentReceipts ChainGetPath ChainGetRandomnessFromBeacon
    ChainGetRandomnessFromTickets ChainGetTipSet ChainGetTipSetByHeight ChainHasObj ChainHead ChainNotify
    ChainPutObj ChainReadObj ChainSetHead ChainStatObj ChainTipSetWeight CreateBackup GasEstimateFeeCap
    GasEstimateGasLimit GasEstimateGasPremium GasEstimateMessageGas ID LogAlerts LogList LogSetLevel
    MarketAddBalance MarketGetReserved MarketReleaseFunds MarketReserveFunds MarketWithdraw MinerCreateBlock
    MinerGetBaseInfo MpoolBatchPush MpoolBatchPushMessage MpoolBatchPushUntrusted MpoolClear MpoolGetConfig
    MpoolGetNonce MpoolPending MpoolPush MpoolPushMessage MpoolPushUntrusted MpoolSelect MpoolSetConfig
    MpoolSub MsigAddApprove MsigAddCancel MsigAddPropose MsigApprove MsigApproveTxnHash MsigCancel
    MsigCreate MsigGetAvailableBalance MsigGetPending MsigGetVested MsigGetVestingSchedule MsigPropose
    MsigRemoveSigner MsigSwapApprove MsigSwapCancel MsigSwapPropose NetAddrsListen NetAgentVersion
    NetAutoNatStatus NetBandwidthStats NetBandwidthStatsByPeer NetBandwidthStatsByProtocol NetBlockAdd
    NetBlockList NetBlockRemove NetConnect NetConnectedness NetDisconnect NetFindPeer NetLimit NetPeerInfo
    NetPeers NetPing NetProtectAdd NetProtectList NetProtectRemove NetPubsubScores NetSetLimit NetStat
    PaychAllocateLane PaychAvailableFunds PaychAvailableFundsByFromTo PaychCollect PaychGet
    PaychGetWaitReady PaychList PaychNewPayment PaychSettle PaychStatus PaychVoucherAdd
    PaychVoucherCheckSpendable PaychVoucherCheckValid PaychVoucherCreate PaychVoucherList PaychVoucherSubmit
    StartTime StateAccountKey StateActorCodeCIDs StateActorManifestCID StateAllMinerFaults StateCall
    StateChangedActors StateCirculatingSupply StateCompute StateDealProviderCollateralBounds
    StateDecodeParams StateGetActor StateGetAllAllocations StateGetAllClaims StateGetAllocation
    StateGetAllocationForPendingDeal StateGetAllocations StateGetClaim StateGetClaims StateGetNetworkParams
    StateGetRandomnessFromBeacon StateGetRandomnessFromTickets StateGetReceipt StateListActors
    StateListMessages StateListMiners StateLookupID StateMarketBalance StateMarketDeals
    StateMarketParticipants StateMarketStorageDeal StateMinerActiveSectors StateMinerAvailableBalance
    StateMinerDeadlines StateMinerFaults StateMinerInfo StateMinerInitialPledgeCollateral
    StateMinerPartitions StateMinerPower StateMinerPreCommitDepositForPower StateMinerProvingDeadline
    StateMinerRecoveries StateMinerSectorAllocated StateMinerSectorCount StateMinerSectors StateNetworkName
    StateNetworkVersion StateReadState StateReplay StateSearchMsg StateSearchMsgLimited
    StateSectorExpiration StateSectorGetInfo StateSectorPartition StateSectorPreCommitInfo
    StateVMCirculatingSupplyInternal StateVerifiedClientStatus StateVerifiedRegistryRootKey
    StateVerifierStatus StateWaitMsg StateWaitMsgLimited SyncCheckBad SyncCheckpoint SyncIncomingBlocks
    SyncMarkBad SyncState SyncSubmitBlock SyncUnmarkAllBad SyncUnmarkBad SyncValidateTipset WalletBalance
    WalletDefaultAddress WalletDelete WalletExport WalletHas WalletImport WalletList WalletNew
    WalletSetDefault WalletSign WalletSignMessage WalletValidateAddress WalletVerify
"""

V0_NAMES: Final = frozenset(_TEXT.split())
