"""`SubscribeActorEventsRaw` as a hint that there is something to read. Never a source: nodes drop slow readers without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final, Protocol

from fil_plus.events import EventFilter, provider_filters
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.chain import TipSet
from lotus_client.errors import LotusError
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId, Epoch

__all__ = ["EventNode", "hear_of_events"]

_AGAIN_SECONDS: Final = 60.0  # between attempts: a node that does not serve it is asked rarely


class EventNode(Protocol):
    """A node that may tell of events; `LotusClient` is one."""

    async def head(self) -> TipSet: ...

    def subscribe_actor_events(
        self,
        emitters: Sequence[Address],
        fields: Mapping[str, Sequence[CborValue]],
        from_height: Epoch,
    ) -> AsyncGenerator[ActorEvent, None]: ...


async def hear_of_events(
    node: EventNode,
    provider: ActorId,
    wake: Callable[[], None],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Call `wake` at every event of the provider until cancelled, those taken back included; quiet where none are served."""
    async with asyncio.TaskGroup() as group:
        for wanted in provider_filters(provider):
            group.create_task(_hear(node, wanted, wake, sleep))


async def _hear(
    node: EventNode,
    wanted: EventFilter,
    wake: Callable[[], None],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    while True:
        with suppress(LotusError):
            since = (await node.head()).height
            told = node.subscribe_actor_events(wanted.emitters, wanted.fields, since)
            async with aclosing(told) as events:
                async for _ in events:
                    wake()
        await sleep(_AGAIN_SECONDS)
