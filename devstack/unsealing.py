"""Unsealing as a miner does it: one sector at a time, after a while, in the background or for as long as a caller waits."""

from __future__ import annotations

import asyncio
import logging

from devstack.provider import PieceRejected, SealingProvider
from lotus_client.types import SectorNumber

__all__ = ["Unsealing"]

_log = logging.getLogger("devstack.unsealing")


class Unsealing:
    """The unsealing work of one provider; a sector takes `seconds`, and then its file is there, trailer and all."""

    def __init__(self, provider: SealingProvider, seconds: float = 0.0) -> None:
        self._provider = provider
        self.seconds = seconds
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def unseal(self, number: SectorNumber) -> None:
        """Return when the sector's unsealed file is there.

        Raises:
            KeyError: no such sector.
            PieceRejected: its data is gone.
        """
        async with self._lock:
            await asyncio.sleep(self.seconds)
            await self._provider.unseal(number)

    def start(self, number: SectorNumber) -> None:
        """Do it in the background; what goes wrong is only logged."""
        task = asyncio.create_task(self._logged(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, number: SectorNumber) -> None:
        try:
            await self.unseal(number)
        except (PieceRejected, OSError) as error:
            _log.error("unsealing sector %d: %s", number, error)

    async def close(self) -> None:
        """Stop what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
