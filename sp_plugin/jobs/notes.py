"""What a run does now, told to whoever looks at it: notes that are written down in their order, beside the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from sp_plugin.store.jobs import LeaseLost

__all__ = ["Notes"]

_CLOSE_SECONDS: Final = 10


class Notes:
    """Takes notes without waiting; of several that come while one is written, only the last is. Losing one is no fault."""

    def __init__(self, write: Callable[[str], Awaitable[None]]) -> None:
        self._write = write
        self._next: str | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        """Write it down soon. Called in the event loop."""
        self._next = text
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Wait for what is being written; the next state comes after it."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def _work(self) -> None:
        while self._next is not None:
            text, self._next = self._next, None
            with suppress(LeaseLost, SQLAlchemyError):
                await self._write(text)
