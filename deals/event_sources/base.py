"""What a source of events is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lotus_client.chain import TipSet
from lotus_client.state import ActorEvent

__all__ = ["ChainChanged", "EventSource", "SourceName", "SourceStatus", "Stretch"]


class ChainChanged(Exception):
    """The node moved to another chain between two reads that belong together; read again."""


class SourceName(StrEnum):
    """The sources, best first."""

    EVENTS_API = "events-api"
    RECEIPTS = "receipts"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tipsets that follow one another, lowest first, and the child of the last: all are executed in it. Not empty."""

    tipsets: Sequence[TipSet]
    child: TipSet


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Which source is used, why not a better one, and what is lost by that; both empty for the best."""

    name: SourceName
    why: str = ""
    lost: str = ""


class EventSource(Protocol):
    """One way to read events."""

    @property
    def name(self) -> SourceName:
        """Which it is."""
        ...

    async def read(self, stretch: Stretch) -> list[ActorEvent]:
        """The provider's events of the stretch in chain order, none left out; others may be among them.

        Raises:
            LotusRpcError: the node does not serve this, at all or for these tipsets.
            LotusUnavailable: it does not answer now.
            ChainChanged: it has left the chain of the stretch.
        """
        ...
