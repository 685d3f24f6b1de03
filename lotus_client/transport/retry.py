"""The one place that repeats a call: reads that are safe to repeat, with growing pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from lotus_client.errors import LotusBusy, LotusError, LotusNoEndpoint, LotusUnavailable
from lotus_client.transport.base import (
    Call,
    Outcome,
    RpcTransport,
    Shape,
    StreamOf,
    call_many,
    stream_items,
)
from lotus_client.transport.safe_reads import SAFE_READS

__all__ = ["SAFE_READS", "RetryPolicy", "RetryingTransport"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a safe read is tried in all, and the pauses between in seconds (doubling up to the longest).

    A node's `Retry-After` is waited for up to `longest_retry_after_seconds`; one that asks for more is not asked again.
    No try begins later than `total_seconds` after the first.
    """

    attempts: int = 4
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 4.0
    longest_retry_after_seconds: float = 30.0
    total_seconds: float = 180.0

    def pauses(self) -> list[float]:
        """The pause after each failed try but the last."""
        return [
            min(self.first_pause_seconds * 2**number, self.longest_pause_seconds)
            for number in range(self.attempts - 1)
        ]

    def pause_after(self, error: LotusError, usual: float, spent: float) -> float | None:
        """How long to wait after this error, `spent` seconds after the first try; None to give up."""
        if not isinstance(error, LotusUnavailable) or isinstance(error, LotusNoEndpoint):
            return None
        asked = error.retry_after_seconds if isinstance(error, LotusBusy) else None
        if asked is not None and asked > self.longest_retry_after_seconds:
            return None
        pause = max(usual, asked or 0.0)
        return pause if spent + pause <= self.total_seconds else None


class RetryingTransport:
    """A transport that repeats `SAFE_READS` of another one while it is unavailable."""

    def __init__(
        self,
        inner: RpcTransport,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """As the inner transport; a safe read is tried `attempts` times."""
        started = self._clock()
        for usual in self._pauses(method):
            try:
                return await self._inner.call(method, params)
            except LotusUnavailable as error:
                await self._wait(error, usual, started)
        return await self._inner.call(method, params)

    async def call_many(self, calls: Sequence[Call]) -> list[Outcome]:
        """As the inner transport; only the safe reads that failed for want of a node are asked again."""
        started = self._clock()
        outcomes = await call_many(self._inner, calls)
        for usual in self._policy.pauses():
            again = [
                place
                for place, outcome in enumerate(outcomes)
                if isinstance(outcome, LotusUnavailable) and calls[place].method in SAFE_READS
            ]
            if not again:
                break
            try:
                await self._wait(outcomes[again[0]], usual, started)
            except LotusUnavailable:
                break
            repeated = await call_many(self._inner, [calls[place] for place in again])
            for place, outcome in zip(again, repeated, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def stream(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        """As the inner transport; begun again only while nothing was given out yet."""
        started = self._clock()
        for usual in [*self._pauses(method), None]:
            given = False
            try:
                async with aclosing(stream_items(self._inner, method, params, shape)) as parts:
                    async for part in parts:
                        given = True
                        yield part
            except LotusUnavailable as error:
                if given or usual is None:
                    raise
                await self._wait(error, usual, started)
            else:
                return

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """As the inner transport: a stream is never resumed here."""
        return self._inner.subscribe(method, params)

    async def close(self) -> None:
        """Close the inner transport."""
        await self._inner.close()

    def _pauses(self, method: str) -> list[float]:
        return self._policy.pauses() if method in SAFE_READS else []

    async def _wait(self, error: LotusUnavailable, usual: float, started: float) -> None:
        pause = self._policy.pause_after(error, usual, self._clock() - started)
        if pause is None:
            raise error
        await self._sleep(pause)
