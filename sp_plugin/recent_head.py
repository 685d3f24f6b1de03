"""The chain's newest epoch as it was read a moment ago, so that a thousand jobs a minute do not ask the node a thousand times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from lotus_client.types import Epoch

__all__ = ["RecentHead"]

_MOST_SECONDS: Final = 5.0  # an epoch takes 30


class RecentHead:
    """The epoch of the head, at most `most_seconds` old. The follower tells it what it sees; else the node is asked.

    Whoever asks while another's question is under way gets the same answer. `clock` gives seconds of a clock that never
    goes back.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Epoch]],
        first: Epoch,
        *,
        most_seconds: float = _MOST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.newest = first  # as far as it is known, however old
        self._read = read
        self._most_seconds = most_seconds
        self._clock = clock
        self._at = clock()
        self._asking: asyncio.Task[Epoch] | None = None

    def now(self) -> float:
        """The clock; take it before reading a head that is told."""
        return self._clock()

    def tell(self, epoch: Epoch, asked: float) -> None:
        """The head was read after `asked`; after a reorg it may be lower than before."""
        if asked >= self._at:
            self.newest, self._at = epoch, asked

    async def epoch(self) -> Epoch:
        """The head's epoch.

        Raises:
            LotusError: it has to be asked for, and the node does not say.
        """
        if self._clock() - self._at < self._most_seconds:
            return self.newest
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Epoch:
        asked = self._clock()
        epoch = await self._read()
        self.tell(epoch, asked)
        return epoch
