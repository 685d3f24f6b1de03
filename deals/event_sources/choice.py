"""The best source that a node serves, found by asking, and what the choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from deals.event_sources.base import EventSource, SourceName, SourceStatus, Stretch
from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.state import ActorEvent
from lotus_client.types import Epoch

__all__ = ["EventReader"]

_log = structlog.get_logger(__name__)

_LOST: Final = {
    SourceName.EVENTS_API: "",
    SourceName.RECEIPTS: "nothing, but it takes many more requests",
    SourceName.STATE: "pieces without a claim, the places of pieces in their sectors, terminations, and when between two "
    "reads a claim changed; such epochs are kept as gaps",
}


class EventReader:
    """Reads by the first of `sources` that serves a stretch; one that is switched off is asked again `again` epochs later."""

    def __init__(self, sources: Sequence[EventSource], again: int) -> None:
        self._sources = tuple(sources)
        self._again = again
        self._off: dict[SourceName, tuple[Epoch, str]] = {}  # where it was found off, and why
        self.status: SourceStatus | None = None

    async def read(self, stretch: Stretch) -> list[ActorEvent] | None:
        """The stretch's events in chain order, with others perhaps; None if only the state is left to ask.

        Raises:
            LotusUnavailable: the node does not answer now; nothing is concluded from that.
            ChainChanged: it has left the chain of the stretch.
        """
        refusals: list[str] = []
        for source in self._sources:
            off = self._off.get(source.name)
            if off is not None and 0 <= stretch.child.height - off[0] < self._again:
                refusals.append(off[1])
                continue
            try:
                found = await source.read(stretch)
            except LotusRpcError as error:
                refusals.append(f"{source.name}: {error}")
                if isinstance(error, LotusNotSupported):
                    self._off[source.name] = (stretch.child.height, refusals[-1])
                continue
            self._off.pop(source.name, None)
            self._use(source.name, refusals)
            return found
        self._use(SourceName.STATE, refusals)
        return None

    def _use(self, name: SourceName, refusals: Sequence[str]) -> None:
        before = self.status
        self.status = SourceStatus(name, "; ".join(refusals), _LOST[name])
        if before is None or before.name != name:
            _log.info("event_source", source=str(name), why=self.status.why, lost=_LOST[name])
