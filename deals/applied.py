"""What tipsets bring one provider: events that are well formed, and blocks won. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from deals.ports import OwnBlock
from fil_plus.event_kinds import TypedEvent
from fil_plus.events import EventError, parse_event
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.state import ActorEvent
from lotus_client.types import ActorId

__all__ = ["AppliedEvents", "own_blocks", "well_formed"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AppliedEvents:
    """Events of a move as they are and typed, and how many were malformed; `known` is false if none could be read."""

    raw: tuple[ActorEvent, ...] = ()
    typed: tuple[TypedEvent, ...] = ()
    malformed: int = 0
    known: bool = True


def well_formed(events: list[ActorEvent], provider: ActorId) -> AppliedEvents:
    """Those of `events` that are the provider's and stand; a malformed one is logged and counted."""
    good, typed, malformed = [], [], 0
    for event in events:
        try:
            value = parse_event(event, provider)
        except EventError as error:
            # one bad event must not stop everything: the power check shows what it hides
            _log.error("malformed_event", error=str(error), height=event.height)
            malformed += 1
            continue
        if value is not None and not event.reverted:
            good.append(event)
            typed.append(value)
    return AppliedEvents(tuple(good), tuple(typed), malformed)


def own_blocks(provider: ActorId, tipsets: tuple[TipSet, ...]) -> tuple[OwnBlock, ...]:
    """The provider's blocks among `tipsets`, in their order."""
    miner = Address.of_id(provider)
    return tuple(
        OwnBlock(tipset.height, tipset.key, cid, block.win_count, block.to_cbor())
        for tipset in tipsets
        for cid, block in zip(tipset.key.cids, tipset.blocks, strict=True)
        if block.miner == miner
    )
