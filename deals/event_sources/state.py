"""What changed among a provider's claims between two states, told as the events that f06 would have emitted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deals.ports import TipSetRef
from fil_plus.events import claim_entries
from lotus_client.address import Address
from lotus_client.state import ActorEvent, Claim
from lotus_client.types import ClaimId

__all__ = ["claim_event", "diff_claims"]

_REGISTRY: Final = Address.of_id(6)


def diff_claims(
    known: Mapping[ClaimId, Claim], now: Mapping[ClaimId, Claim], place: TipSetRef
) -> list[ActorEvent]:
    """The events that turn `known` into `now`, all put at `place`: the newest tipset at which they can have happened.

    When a claim began is in the claim itself; when it was changed or removed is known no closer than the gap that is kept
    beside this says.
    """
    changed = [
        claim_event("claim-updated" if claim_id in known else "claim", claim, place)
        for claim_id, claim in sorted(now.items())
        if known.get(claim_id) != claim
    ]
    gone = [
        claim_event("claim-removed", claim, place)
        for claim_id, claim in sorted(known.items())
        if claim_id not in now
    ]
    return changed + gone


def claim_event(kind: str, claim: Claim, place: TipSetRef) -> ActorEvent:
    """A claim as an event without a message: the first block of the tipset stands in its place."""
    return ActorEvent(
        emitter=_REGISTRY,
        entries=claim_entries(kind, claim),
        reverted=False,
        height=place.height,
        tipset=place.key,
        message=place.key.cids[0],
    )
