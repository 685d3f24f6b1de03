"""Waking those who wait for the queue, inside one process. Other processes find out by looking now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Interrupted", "Signal", "unless", "wait_for"]

T = TypeVar("T")


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


class Interrupted(Exception):
    """Work that was cut off because something else happened first."""


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives, unless `event` is set before.

    Raises:
        Interrupted: it was; `work` is cancelled and over.
    """
    doing, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise Interrupted
    finally:
        waiting.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait({doing})
