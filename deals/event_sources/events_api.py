"""Events from the node's index: `GetActorEventsRaw`."""

from __future__ import annotations

import asyncio

from deals.event_sources.base import ChainChanged, SourceName, Stretch
from deals.ports import ChainNode
from fil_plus.events import provider_filters
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId

__all__ = ["EventsApi"]


class EventsApi:
    """The index answers for the chain the node is on *when asked*, so that is looked at before and after."""

    name = SourceName.EVENTS_API

    def __init__(self, node: ChainNode, provider: ActorId) -> None:
        self._node = node
        self._provider = provider

    async def read(self, stretch: Stretch) -> list[ActorEvent]:
        """See `EventSource.read`."""
        low, high = stretch.tipsets[0].height, stretch.tipsets[-1].height
        answers = await asyncio.gather(
            *(
                self._node.actor_events(wanted.emitters, wanted.fields, low, high)
                for wanted in provider_filters(self._provider)
            )
        )
        positions = {tipset.key: index for index, tipset in enumerate(stretch.tipsets)}
        found = [event for answer in answers for event in answer]
        if any(event.tipset not in positions for event in found):
            raise ChainChanged
        await self._still_there(stretch)
        # by place, then as the index orders them: the three filters do not order events among each other
        return sorted(found, key=lambda event: positions[event.tipset])

    async def _still_there(self, stretch: Stretch) -> None:
        """A fork that emitted nothing leaves no event to tell it by, and the index hides what it replaced."""
        head = await self._node.head()
        if head.key == stretch.child.key:
            return
        if head.height < stretch.child.height:
            raise ChainChanged
        at = await self._node.tipset_by_height(stretch.child.height, head.key)
        if at.key != stretch.child.key:
            raise ChainChanged
