"""Where a provider's events are read: three sources behind one protocol, tried best first.

| source | read by | what is lost |
|---|---|---|
| `events-api` | `GetActorEventsRaw`: an index, one request for thousands of epochs | nothing |
| `receipts` | the event roots of every message's receipt, two requests for a tipset and one for a root | nothing but time |
| `state` | the difference of `StateGetClaims` between two tipsets | pieces without a claim, places in a sector, and when between the two something happened |

Design notes
------------
* The first two give the same events in the same order, so the index built of them is the same; a test follows one chain by each.
* The third knows only what stands at the end of an interval. The epochs of it are kept as a gap (`deals.gaps`): what happened
  there is unknown, and is never taken for nothing.
* `SubscribeActorEventsRaw` only says that there is something to read (`hints`).
* A source that a node refuses is asked again after a while: operators switch events on, and a node grows out of its gaps.
"""

from __future__ import annotations

from deals.event_sources.base import EventSource, SourceName, SourceStatus, Stretch
from deals.event_sources.choice import EventReader
from deals.event_sources.events_api import EventsApi
from deals.event_sources.hints import hear_of_events
from deals.event_sources.receipts import Receipts
from deals.event_sources.state import diff_claims

__all__ = [
    "EventReader",
    "EventSource",
    "EventsApi",
    "Receipts",
    "SourceName",
    "SourceStatus",
    "Stretch",
    "diff_claims",
    "hear_of_events",
]
