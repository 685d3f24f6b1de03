"""`GetActorEventsRaw` and `SubscribeActorEventsRaw`. Source: Lotus `node/impl/full/actor_events.go`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import EventFilter
from devstack.node import FullNode
from devstack.rpc.encode import actor_event_json, list_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    decode_address,
    decode_bytes,
    decode_int,
    decode_list,
    decode_object,
    decode_tipset_key,
)
from devstack.rpc.subscription import Subscription
from lotus_client.address import Address
from lotus_client.chain import HeadChange
from lotus_client.state import ActorEvent
from lotus_client.types import Epoch

__all__ = ["METHODS"]

# Lotus' defaults of `[Events]` MaxFilterResults and MaxFilterHeightRange.
_MAX_RESULTS: Final = 10_000
_MAX_RANGE: Final = 2880

_BUFFERED_EVENTS: Final = 10_000
_MAX_EPOCH: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A decoded filter; `undefined` says that an address in it has no meaning, so nothing can match."""

    filter: EventFilter
    undefined: bool = False


def _decode_block(value: Any) -> tuple[int, bytes]:
    body = decode_object(value)
    return decode_int(body.get("codec"), 0), decode_bytes(body.get("value"))


def _decode_filter(value: Any) -> _Wanted:
    body = {} if value is None else decode_object(value)
    addresses = decode_list(body.get("addresses"), decode_address)
    fields = body.get("fields")
    height, key = _decode_height, body.get("tipsetKey")
    wanted = EventFilter(
        addresses=tuple(address for address in addresses if address is not None),
        fields=tuple(
            (name, tuple(decode_list(blocks, _decode_block)))
            for name, blocks in ({} if fields is None else decode_object(fields)).items()
        ),
        from_height=height(body.get("fromHeight")),
        to_height=height(body.get("toHeight")),
        tipset=None if key is None else decode_tipset_key(key),
    )
    return _Wanted(wanted, undefined=None in addresses)


def _decode_height(value: Any) -> Epoch | None:
    return None if value is None else Epoch(decode_int(value, high=_MAX_EPOCH))


def _resolved(node: FullNode, wanted: _Wanted) -> EventFilter | None:
    """The filter with id addresses; None when no event can match it."""
    state = node.network.pending_state()
    ids = [state.actor_id(address) for address in wanted.filter.addresses]
    known = tuple(Address.of_id(actor_id) for actor_id in ids if actor_id is not None)
    if wanted.undefined or (wanted.filter.addresses and not known):
        return None
    return replace(wanted.filter, addresses=known)


def _check(node: FullNode, wanted: EventFilter) -> None:
    start, end, head = wanted.from_height, wanted.to_height, node.network.head.height
    if wanted.tipset is not None:
        if start is not None or end is not None:
            raise RpcError(1, "cannot specify both TipSetKey and FromHeight/ToHeight")
        return
    for name, height in (("from", start), ("to", end)):
        if height is not None and height < 0:
            raise RpcError(1, f"range {name!r} must be greater than or equal to 0")
    if start is None:
        if end is not None and end - head > _MAX_RANGE:
            raise RpcError(
                1,
                f"invalid epoch range: 'to' height is too far in the future (maximum: {_MAX_RANGE})",
            )
    elif end is None:
        if head - start > _MAX_RANGE:
            raise RpcError(
                1,
                f"invalid epoch range: 'from' height is too far in the past (maximum: {_MAX_RANGE})",
            )
    elif start > end:
        raise RpcError(
            1, f"invalid epoch range: 'to' height ({end}) must be after 'from' height ({start})"
        )
    elif end - start > _MAX_RANGE:
        raise RpcError(
            1,
            "invalid epoch range: range between 'to' and 'from' heights is too large "
            f"(maximum: {_MAX_RANGE})",
        )


def _history(node: FullNode, wanted: EventFilter) -> list[ActorEvent]:
    if wanted.tipset is None and wanted.from_height is None:
        return []  # Lotus takes a filter without a start as "from now on"
    found = list(node.network.actor_events(wanted))
    if len(found) > _MAX_RESULTS:
        raise RpcError(1, "filter matches too many events, try a more restricted filter")
    return found


def _get(node: FullNode, wanted: _Wanted) -> list[dict[str, Any]] | None:
    _check(node, wanted.filter)
    resolved = _resolved(node, wanted)
    return None if resolved is None else list_json(_history(node, resolved), actor_event_json)


def _subscribe(node: FullNode, wanted: _Wanted) -> Subscription:
    _check(node, wanted.filter)
    node.heads.flush()
    resolved = _resolved(node, wanted)
    live = _LiveEvents(node, resolved)
    if resolved is not None:
        for event in _history(node, resolved):
            live.stream.publish(actor_event_json(event))
    return live.stream


class _LiveEvents:
    """Events of tipsets as they are executed, i.e. when their child becomes head; repeated when it is reverted."""

    def __init__(self, node: FullNode, wanted: EventFilter | None) -> None:
        self._node = node
        self._wanted = wanted
        self.stream = Subscription(_BUFFERED_EVENTS, lambda _: self._stop())
        self._stop = node.heads.listen(self._on_changes)

    def _on_changes(self, changes: list[HeadChange]) -> None:
        wanted = self._wanted
        if wanted is None or wanted.tipset is not None:
            return
        for change in changes:
            executed = change.tipset.parents
            if not executed:
                continue
            height = self._node.network.tipset(executed).height
            if wanted.to_height is not None and height > wanted.to_height:
                if change.type == "apply":
                    self.stream.close()
                    return
                continue
            if wanted.from_height is not None and height < wanted.from_height:
                continue
            self._publish(
                change, replace(wanted, from_height=None, to_height=None, tipset=executed)
            )

    def _publish(self, change: HeadChange, wanted: EventFilter) -> None:
        for event in self._node.network.actor_events(wanted):
            self.stream.publish(actor_event_json(replace(event, reverted=change.type == "revert")))


_FILTER = Param("types.ActorEventFilter", _decode_filter)

METHODS: tuple[Method[FullNode], ...] = (
    Method("GetActorEventsRaw", Permission.READ, (_FILTER,), _get),
    Method("SubscribeActorEventsRaw", Permission.READ, (_FILTER,), _subscribe, channel=True),
)
