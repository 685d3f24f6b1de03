"""News of a new head, for the steps that live on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Final

from lotus_client.client import LotusClient
from lotus_client.errors import LotusError
from lotus_client.heads import follow_heads

__all__ = ["hear_of_heads"]

_RECONNECT_SECONDS: Final = 10


async def hear_of_heads(node: LotusClient, on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever the head changes, also after the node was away or its stream went silent. It never ends."""
    while True:
        with suppress(LotusError):
            async with aclosing(follow_heads(node)) as changes:
                async for _ in changes:
                    on_change()
        await asyncio.sleep(_RECONNECT_SECONDS)
