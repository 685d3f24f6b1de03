"""The sector table over a span of epochs, read from the store once for all wins in it."""

from __future__ import annotations

from typing import Self

from deals.ports import SectorSnapshot
from deals.sectors import SectorHistory, lookback_height
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import ActorId, Epoch, SectorNumber
from sp_plugin.earnings.ports import Holdings

__all__ = ["SectorMemory"]


class SectorMemory:
    """A `SectorStore` over `first` to `last`, as the store is at the first question or after the last full read.

    Epochs outside are asked of the store. Not to be kept: what others write meanwhile is not seen.
    """

    def __init__(self, holdings: Holdings, provider: ActorId, first: Epoch, last: Epoch) -> None:
        self._holdings = holdings
        self._provider = provider
        self._first, self._last = first, last
        self._history: SectorHistory | None = None

    @classmethod
    def for_elections(
        cls, holdings: Holdings, provider: ActorId, first: Epoch, last: Epoch
    ) -> Self:
        """The sector table as far back as the elections from `first` to `last` look."""
        return cls(holdings, provider, lookback_height(first), last)

    async def active_sectors(
        self, provider: ActorId, at: Epoch
    ) -> tuple[SectorOnChainInfo, ...] | None:
        """The sectors that counted at `at` as far as known; None before the first full read."""
        if provider != self._provider or not self._first <= at <= self._last:
            return await self._holdings.active_sectors(provider, at)
        if self._history is None:
            self._history = await self._holdings.sector_history(provider, self._first, self._last)
        return self._history.active_at(at)

    async def active_power(self, provider: ActorId, at: Epoch) -> int | None:
        """Σ QAP of `active_sectors`, or None."""
        return await self._holdings.active_power(provider, at)

    async def known_sectors(self, provider: ActorId) -> frozenset[SectorNumber]:
        """Every sector that an event or a full read has ever named."""
        return await self._holdings.known_sectors(provider)

    async def save_snapshot(self, provider: ActorId, snapshot: SectorSnapshot) -> None:
        """Record a full read."""
        await self._holdings.save_snapshot(provider, snapshot)
        self._history = None
