"""Streams that a channel method gives to its caller, cut when the caller reads too slowly."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["EthSubscription", "Subscription"]


class Subscription:
    """A bounded queue of JSON values from the node to one subscriber.

    `publish` never waits: when `capacity` values are unread the subscription closes instead, as Lotus closes
    the channel of a subscriber that lags (`chain/store/store.go`, 16 batches for `ChainNotify`).
    What was queued before is still delivered, then the stream ends.
    """

    def __init__(self, capacity: int, on_close: Callable[[Subscription], None]) -> None:
        self._capacity = capacity
        self._on_close = on_close
        self._values: deque[Any] = deque()
        self._changed = asyncio.Event()
        self.closed = False

    def publish(self, value: Any) -> bool:
        """Queue `value`; False when the reader lagged too far and was cut, or had gone."""
        if self.closed:
            return False
        if len(self._values) >= self._capacity:
            self.close()
            return False
        self._values.append(value)
        self._changed.set()
        return True

    def close(self) -> None:
        """End the stream after what is already queued. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._changed.set()
        self._on_close(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        while not self._values:
            if self.closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._values.popleft()


class EthSubscription(Subscription):
    """A stream of `eth_subscribe`: its values go out as `eth_subscription` notifications under its id."""

    def __init__(self, name: str, capacity: int, on_close: Callable[[Subscription], None]) -> None:
        super().__init__(capacity, on_close)
        self.id = name
