"""Waking those who wait for the queue, inside one process. Other processes find out by looking now and then."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Signal", "first_of", "wait_for"]


class Signal:
    """Many may wait for the next time it is given. Take `moment()` before looking, so that nothing falls in between."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        """Wake everybody who waits now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    def moment(self) -> asyncio.Event:
        """An event that is set when the signal is given next."""
        return self._event


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, at most so long."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Until one of the events is set, at most so long."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in waits:
            waiting.cancel()
