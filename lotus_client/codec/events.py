"""Actor events and the filters that ask for them. Source: Lotus `chain/types/actor_event.go`, FIP-0083."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lotus_client import cbor
from lotus_client.address import Address, NetworkPrefix
from lotus_client.cbor import CborValue
from lotus_client.codec.basic import (
    address_from_json,
    cid_from_json,
    cid_to_json,
    tipset_key_from_json,
    tipset_key_to_json,
)
from lotus_client.codec.reading import At, at
from lotus_client.state import ActorEvent, EventEntry
from lotus_client.types import Epoch

__all__ = [
    "actor_event_from_json",
    "actor_event_to_json",
    "actor_events_from_json",
    "actor_events_to_json",
    "emitted_entries_from_json",
    "event_entry_from_json",
    "event_entry_to_json",
    "event_filter_to_json",
]

_CBOR: Final = 0x51  # the multicodec of event values


def event_entry_from_json(raw: Any, path: str = "$") -> EventEntry:
    """One key and value. The value stays CBOR; its keys are capitalised unlike the event's own."""
    here = at(raw, path)
    return EventEntry(
        flags=here.field("Flags").integer(0, 255),
        key=here.field("Key").text(),
        codec=here.field("Codec").integer(),
        value=here.field("Value").data(),
    )


def event_entry_to_json(entry: EventEntry) -> dict[str, Any]:
    """One key and value as Lotus prints it."""
    return {
        "Flags": entry.flags,
        "Key": entry.key,
        "Codec": entry.codec,
        "Value": base64.b64encode(entry.value).decode(),
    }


def actor_event_from_json(raw: Any, path: str = "$") -> ActorEvent:
    """One event."""
    here = at(raw, path)
    return ActorEvent(
        emitter=address_from_json(here.field("emitter")),
        entries=tuple(event_entry_from_json(item) for item in here.field("entries").items()),
        reverted=here.field("reverted").boolean(),
        height=Epoch(here.field("height").integer(0, (1 << 63) - 1)),
        tipset=tipset_key_from_json(here.field("tipsetKey")),
        message=cid_from_json(here.field("msgCid")),
    )


def actor_event_to_json(event: ActorEvent, prefix: NetworkPrefix) -> dict[str, Any]:
    """One event as Lotus prints it."""
    return {
        "entries": [event_entry_to_json(entry) for entry in event.entries],
        "emitter": event.emitter.to_text(prefix),
        "reverted": event.reverted,
        "height": event.height,
        "tipsetKey": tipset_key_to_json(event.tipset),
        "msgCid": cid_to_json(event.message),
    }


def actor_events_from_json(raw: Any, path: str = "$") -> list[ActorEvent]:
    """The events of `GetActorEventsRaw`; null is none."""
    return [actor_event_from_json(item) for item in at(raw, path).items()]


def actor_events_to_json(
    events: Sequence[ActorEvent], prefix: NetworkPrefix
) -> list[dict[str, Any]] | None:
    """The events as Lotus prints them: none is null."""
    return [actor_event_to_json(event, prefix) for event in events] or None


def event_filter_to_json(
    emitters: Sequence[Address],
    fields: Mapping[str, Sequence[CborValue]],
    *,
    from_height: Epoch,
    to_height: Epoch | None,
    prefix: NetworkPrefix,
) -> dict[str, Any]:
    """The filter: keys are ANDed, the values of one key ORed; values are compared as CBOR.

    Without `to_height` it has no end, which only a subscription takes.

    Raises:
        ValueError: a key without values, which Lotus documents as "any" but never matches.
    """
    empty = [key for key, values in fields.items() if not values]
    if empty:
        raise ValueError(f"the event field {empty[0]!r} has no value to match: leave it out")
    return {
        "addresses": [address.to_text(prefix) for address in emitters],
        "fields": {
            key: [
                {"codec": _CBOR, "value": base64.b64encode(cbor.encode(value)).decode()}
                for value in values
            ]
            for key, values in fields.items()
        },
        # without fromHeight a node means "from now" and gives nothing historic
        "fromHeight": from_height,
        **({} if to_height is None else {"toHeight": to_height}),
    }


def emitted_entries_from_json(
    raw: Any, path: str = "$"
) -> list[tuple[int, tuple[EventEntry, ...]]]:
    """What `ChainGetEvents` lists: the emitter's actor id with its entries, in order."""
    return [_emitted(item) for item in at(raw, path).items()]


def _emitted(here: At) -> tuple[int, tuple[EventEntry, ...]]:
    return (
        here.field("Emitter").integer(0, (1 << 63) - 1),
        tuple(event_entry_from_json(item) for item in here.field("Entries").items()),
    )
