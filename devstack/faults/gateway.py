"""A node behind lotus-gateway: a part of the methods, and no long look back.

Source: Lotus `gateway/node.go`, `gateway/proxy_v1.go`, `cmd/lotus-gateway`; the methods are those of its published OpenRPC. A
gateway measures ages by the wall clock; here they are measured from the head, since a devnet's clock is its chain. Its
rate limits are left to the fault `rate-limit`.
"""

from __future__ import annotations

from typing import Any, Final

from devstack.chain import ChainLookupError
from devstack.faults.book import FaultBook
from devstack.faults.seam import FaultySeam
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import MethodTable
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.types import Epoch

__all__ = ["LOOKBACK_SECONDS", "METHODS", "GatewaySeam", "gateway_table"]

LOOKBACK_SECONDS: Final = 24 * 3600  # DefaultMaxLookbackDuration
_MESSAGE_LOOKBACK: Final = 20  # DefaultMaxMessageLookbackEpochs
_BY_HEIGHT: Final = ("ChainGetTipSetByHeight", "ChainGetTipSetAfterHeight")
_LIMIT_AT: Final = {"StateSearchMsg": 2, "StateWaitMsg": 2}  # position of the look-back limit

# Lotus 1.36 `build/openrpc/gateway.json` (v1), and the channel methods that document leaves out.
METHODS: Final = frozenset(
    """
    ChainGetBlock ChainGetBlockMessages ChainGetEvents ChainGetFinalizedTipSet ChainGetGenesis ChainGetMessage
    ChainGetMessagesInTipset ChainGetParentMessages ChainGetParentReceipts ChainGetPath ChainGetTipSet
    ChainGetTipSetAfterHeight ChainGetTipSetByHeight ChainGetTipSetFinalityStatus ChainHasObj ChainHead ChainNotify
    ChainPutObj ChainReadObj Discover EthAccounts EthAddressToFilecoinAddress EthBaseFee EthBlockNumber EthCall EthChainId
    EthEstimateGas EthFeeHistory EthGasPrice EthGetBalance EthGetBlockByHash EthGetBlockByNumber EthGetBlockReceipts
    EthGetBlockTransactionCountByHash EthGetBlockTransactionCountByNumber EthGetCode EthGetFilterChanges
    EthGetFilterLogs EthGetLogs EthGetMessageCidByTransactionHash EthGetStorageAt
    EthGetTransactionByBlockHashAndIndex EthGetTransactionByBlockNumberAndIndex EthGetTransactionByHash
    EthGetTransactionCount EthGetTransactionHashByCid EthGetTransactionReceipt EthMaxPriorityFeePerGas
    EthNewBlockFilter EthNewFilter EthNewPendingTransactionFilter EthProtocolVersion EthSendRawTransaction
    EthSubscribe EthSyncing EthTraceBlock EthTraceFilter EthTraceReplayBlockTransactions EthTraceTransaction
    EthUninstallFilter EthUnsubscribe F3GetCertificate F3GetLatestCertificate F3GetPowerTableByInstance
    FilecoinAddressToEthAddress GasEstimateGasPremium GasEstimateMessageGas GetActorEventsRaw MinerGetBaseInfo
    MpoolGetNonce MpoolPending MpoolPush MsigGetAvailableBalance MsigGetPending MsigGetVested
    MsigGetVestingSchedule NetListening NetVersion StateAccountKey StateCall StateDealProviderCollateralBounds
    StateDecodeParams StateGetActor StateGetAllocation StateGetAllocationForPendingDeal StateGetAllocations
    StateGetClaim StateGetClaims StateGetID StateGetNetworkParams StateGetRandomnessDigestFromBeacon
    StateListMiners StateLookupID StateMarketBalance StateMarketStorageDeal StateMinerDeadlines StateMinerInfo
    StateMinerPower StateMinerProvingDeadline StateMinerSectorCount StateNetworkName StateNetworkVersion
    StateReadState StateReplay StateSearchMsg StateSectorGetInfo StateVerifiedClientStatus StateVerifierStatus
    StateWaitMsg SubscribeActorEventsRaw Version WalletBalance Web3ClientVersion
    """.split()  # noqa: SIM905 -- a hundred quoted lines say less
)


def gateway_table(table: MethodTable[Any]) -> MethodTable[Any]:
    """The methods of a node's table that a gateway passes on."""
    kept = {id(method): method for method in table.by_name.values() if method.name in METHODS}
    return MethodTable(kept.values())


class GatewaySeam(FaultySeam):
    """A gateway's limits, then the node's faults."""

    def __init__(self, book: FaultBook, lookback_seconds: int = LOOKBACK_SECONDS) -> None:
        super().__init__(book, "gateway")
        self._lookback = lookback_seconds

    def before(self, name: str, node: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        keys = [one for one in arguments if isinstance(one, TipSetKey) and one]
        if name in _BY_HEIGHT:
            self._check_height(node, arguments[0], node.network.tipset(arguments[1]))
            keys = []
        for key in keys:
            try:
                tipset = node.network.tipset(key)
            except ChainLookupError as error:
                raise RpcError(1, str(error)) from error
            self._check_age(node, tipset.height, "bad tipset")
        at = _LIMIT_AT.get(name)
        if at is not None and at < len(arguments):  # v0 has these without a limit
            limit = arguments[at]
            clamped = _MESSAGE_LOOKBACK if limit < 0 else min(limit, _MESSAGE_LOOKBACK)
            arguments = (*arguments[:at], clamped, *arguments[at + 1 :])
        return super().before(name, node, arguments)

    def _check_height(self, node: Any, height: int, start: TipSet) -> None:
        if height > start.height:
            raise RpcError(1, "tipset height in future")
        self._check_age(node, Epoch(height), "bad tipset height")

    def _check_age(self, node: Any, height: Epoch, prefix: str) -> None:
        age = (node.network.head.height - height) * node.network.config.block_delay_seconds
        if age > self._lookback:
            raise RpcError(
                1, f"{prefix}: lookbacks of more than {_go_duration(self._lookback)} are disallowed"
            )


def _go_duration(seconds: int) -> str:
    """As Go prints a `time.Duration` of whole seconds: `24h0m0s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
