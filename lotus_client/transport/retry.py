"""The one place that repeats a call: reads that are safe to repeat, with growing pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lotus_client.errors import LotusUnavailable
from lotus_client.transport.base import RpcTransport, StreamOf

__all__ = ["SAFE_READS", "RetryPolicy", "RetryingTransport"]

# Cheap reads without effect. Absent on purpose: every push and sign, and StateCompute (it may take minutes, so
# its caller decides whether it is worth asking again).
SAFE_READS: Final = frozenset(
    f"Filecoin.{name}"
    for name in [
        "ActorAddress",
        "AuthVerify",
        "ChainGetBlock",
        "ChainGetEvents",
        "ChainGetFinalizedTipSet",
        "ChainGetGenesis",
        "ChainGetMessagesInTipset",
        "ChainGetParentMessages",
        "ChainGetParentReceipts",
        "ChainGetPath",
        "ChainGetTipSet",
        "ChainGetTipSetAfterHeight",
        "ChainGetTipSetByHeight",
        "ChainHead",
        "GasEstimateMessageGas",
        "GetActorEventsRaw",
        "MpoolGetNonce",
        "MpoolPending",
        "SectorsList",
        "SectorsStatus",
        "StateAccountKey",
        "StateGetActor",
        "StateGetAllocation",
        "StateGetAllocations",
        "StateGetClaim",
        "StateGetClaims",
        "StateGetNetworkParams",
        "StateLookupID",
        "StateMinerActiveSectors",
        "StateMinerAvailableBalance",
        "StateMinerFaults",
        "StateMinerInfo",
        "StateMinerPower",
        "StateMinerRecoveries",
        "StateMinerSectors",
        "StateNetworkName",
        "StateNetworkVersion",
        "StateReadState",
        "StateSearchMsg",
        "StateSectorGetInfo",
        "Version",
        "WalletBalance",
    ]
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a safe read is tried in all, and the pauses between in seconds (doubling up to the longest)."""

    attempts: int = 4
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 4.0

    def pauses(self) -> list[float]:
        """The pause after each failed try but the last."""
        return [
            min(self.first_pause_seconds * 2**number, self.longest_pause_seconds)
            for number in range(self.attempts - 1)
        ]


class RetryingTransport:
    """A transport that repeats `SAFE_READS` of another one while it is unavailable."""

    def __init__(
        self,
        inner: RpcTransport,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._policy = policy or RetryPolicy()
        self._sleep = sleep

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """As the inner transport; a safe read is tried `attempts` times."""
        for pause in self._policy.pauses() if method in SAFE_READS else ():
            try:
                return await self._inner.call(method, params)
            except LotusUnavailable:
                await self._sleep(pause)
        return await self._inner.call(method, params)

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """As the inner transport: a stream is never resumed here."""
        return self._inner.subscribe(method, params)

    async def close(self) -> None:
        """Close the inner transport."""
        await self._inner.close()
