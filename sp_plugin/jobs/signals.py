"""Waking those who wait for the queue, inside one process. Other processes find out by looking now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Call", "Interrupted", "Signal", "first_of", "unless", "wait_for"]

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


class Call:
    """Like a signal, but each time it is given it wakes one of those who wait, the one who has waited longest.

    Who took what there was gives it again, since there may be more: so many wake as find something, and one in vain.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, None] = {}

    def give(self) -> None:
        """Wake one, if any waits."""
        if self._waiting:
            event = next(iter(self._waiting))
            del self._waiting[event]
            event.set()

    def moment(self) -> asyncio.Event:
        """An event that is set when it is this one's turn; take it before looking, and `forget` it afterwards."""
        event = asyncio.Event()
        self._waiting[event] = None
        return event

    def forget(self, event: asyncio.Event) -> None:
        """This one looks no more: it found something, or gave up."""
        self._waiting.pop(event, None)


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
