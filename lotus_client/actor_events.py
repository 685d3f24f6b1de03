"""Reading actor events over any range, within the limits that a node sets on one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lotus_client import codec
from lotus_client.address import Address, NetworkPrefix
from lotus_client.cbor import CborValue
from lotus_client.errors import LotusError, LotusNotSupported, LotusRpcError
from lotus_client.state import ActorEvent
from lotus_client.transport.base import RpcTransport
from lotus_client.types import Epoch

__all__ = ["MAX_EPOCHS_PER_REQUEST", "EventQuery", "collect_actor_events"]

_METHOD: Final = "Filecoin.GetActorEventsRaw"

# Lotus `MaxFilterHeightRange`, its default: heights may differ by this much, we stay one below.
MAX_EPOCHS_PER_REQUEST: Final = 2880

# Lotus `chain/index/events.go` ("filter matches too many events"), `actor_events.go` ("range between 'to' and 'from' heights is
# too large", where the operator has lowered MaxFilterHeightRange), go-jsonrpc range limit code -32005.
_TOO_MUCH: Final = ("too many", "too large")
_RANGE_LIMIT: Final = -32005


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events: of these emitters, with these indexed values, included at heights `low` to `high`, both counted."""

    emitters: Sequence[Address]
    fields: Mapping[str, Sequence[CborValue]]
    low: Epoch
    high: Epoch

    def part(self, low: int, high: int) -> EventQuery:
        """The same events in a smaller range."""
        return replace(self, low=Epoch(low), high=Epoch(high))

    def to_json(self, prefix: NetworkPrefix) -> dict[str, Any]:
        """The filter as the node takes it."""
        return codec.event_filter_to_json(
            self.emitters, self.fields, from_height=self.low, to_height=self.high, prefix=prefix
        )


async def collect_actor_events(
    transport: RpcTransport,
    query: EventQuery,
    prefix: NetworkPrefix,
) -> list[ActorEvent]:
    """The matching events of the whole range, in the order of heights.

    Raises:
        LotusNotSupported: the node has its actor events switched off.
        LotusRpcError: among others, one single epoch has more matches than the node gives out.
    """
    found: list[ActorEvent] = []
    # A stack of (low, high), lowest on top: halves go back on it, so the order of heights is kept.
    waiting = [
        (low, min(low + MAX_EPOCHS_PER_REQUEST - 1, query.high))
        for low in range(query.low, query.high + 1, MAX_EPOCHS_PER_REQUEST)
    ][::-1]
    while waiting:
        low, high = waiting.pop()
        try:
            answer = await transport.call(_METHOD, [query.part(low, high).to_json(prefix)])
        except LotusRpcError as error:
            if low == high or not _is_too_much(error):
                raise _explained(error) from error
            middle = (low + high) // 2
            waiting += [(middle + 1, high), (low, middle)]
            continue
        found += codec.actor_events_from_json(answer, "GetActorEventsRaw")
    return found


def _is_too_much(error: LotusRpcError) -> bool:
    return error.code == _RANGE_LIMIT or any(text in error.message for text in _TOO_MUCH)


def _explained(error: LotusRpcError) -> LotusError:
    if not isinstance(error, LotusNotSupported):
        return error
    return LotusNotSupported(
        error.method,
        error.code,
        f"{error.message}; set [Events] EnableActorEventsAPI and [ChainIndexer] EnableIndexer to true "
        "in the node's config.toml and restart it",
    )
