"""Logs, filters and subscriptions of eth_*. Source: Lotus `node/impl/eth/{events,subscriptions}.go`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import ChainLookupError
from devstack.eth_feed import Filter
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_blocks import block_json
from devstack.rpc.eth_forms import decode_address, decode_hash, eth_address_of, hex_bytes
from devstack.rpc.eth_logs_json import tipset_logs
from devstack.rpc.methods import Method, Param, RawParams
from devstack.rpc.params import decode_list, decode_object, decode_string
from devstack.rpc.subscription import EthSubscription
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet
from lotus_client.eth import message_hash
from lotus_client.messages import SignedMessage
from lotus_client.types import Epoch

__all__ = ["METHODS"]

Json = dict[str, Any]

# Lotus' defaults of `[Events]` MaxFilterResults and MaxFilterHeightRange.
_MAX_RESULTS: Final = 10_000
_MAX_RANGE: Final = 2880
_TOO_LATE: Final = "cannot ask for events for a tipset at or greater than head"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What logs are wanted. `topics[i]` lists what topic i may be; an empty list is anything."""

    from_block: str | None = None
    to_block: str | None = None
    block_hash: bytes | None = None
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()


def _decode_spec(value: Any) -> LogFilter:
    body = {} if value is None else decode_object(value)
    digest = body.get("blockHash")
    address = body.get("address")
    return LogFilter(
        from_block=_decode_optional_text(body.get("fromBlock")),
        to_block=_decode_optional_text(body.get("toBlock")),
        block_hash=None if digest is None else decode_hash(digest),
        addresses=(
            (decode_address(address),)
            if isinstance(address, str)
            else tuple(decode_list(address, decode_address))
        ),
        topics=tuple(decode_list(body.get("topics"), _decode_topic)),
    )


def _decode_topic(value: Any) -> tuple[bytes, ...]:
    if isinstance(value, str):
        return (decode_hash(value),)
    return tuple(decode_list(value, decode_hash))


def _decode_optional_text(value: Any) -> str | None:
    return None if value is None else decode_string(value)


def _height_range(node: FullNode, spec: LogFilter) -> tuple[int, int]:
    """First and last epoch; the last is -1 for "up to the newest" (Lotus `parseBlockRange`)."""
    newest = node.network.head.height - 1
    first = newest if spec.from_block in (None, "", "latest") else _height(spec.from_block, "From")
    last = -1 if spec.to_block in (None, "", "latest") else _height(spec.to_block, "To")
    end = newest if last == -1 else last
    if last != -1 and first > last:
        raise RpcError(
            1, f"invalid epoch range: to block ({last}) must be after from block ({first})"
        )
    if end - first > _MAX_RANGE:
        raise RpcError.block_range(_MAX_RANGE, end - first)
    return first, last


def _height(text: str | None, what: str) -> int:
    if text == "earliest":
        return 0
    if text is None or not text.startswith("0x"):
        raise RpcError(1, f"{what}Block is not a hex")
    try:
        return int(text, 16)
    except ValueError as error:
        raise RpcError(1, "invalid epoch") from error


class _Matcher:
    """Whether a log is wanted; addresses given as masked ids mean the actor's own."""

    def __init__(self, node: FullNode, spec: LogFilter) -> None:
        state = node.network.pending_state()
        self._addresses = {
            hex_bytes(eth_address_of(Address.of_eth(one), state) or one) for one in spec.addresses
        }
        self._topics = [{hex_bytes(topic) for topic in wanted} for wanted in spec.topics]

    def __call__(self, log: Json) -> bool:
        if self._addresses and log["address"] not in self._addresses:
            return False
        topics = log["topics"]
        return all(
            not wanted or (at < len(topics) and topics[at] in wanted)
            for at, wanted in enumerate(self._topics)
        )


def _tipsets(node: FullNode, spec: LogFilter) -> Iterable[TipSet]:
    network = node.network
    head = network.head
    if spec.block_hash is not None:
        if spec.from_block is not None or spec.to_block is not None:
            raise RpcError(1, "must not specify block hash and from/to block")
        try:
            tipset = network.tipset_by_hash(spec.block_hash)
        except ChainLookupError as error:
            raise RpcError(1, f"failed to get tipset by cid: {error}") from error
        if tipset.height >= head.height:
            raise RpcError(1, _TOO_LATE)
        return [tipset]
    first, last = _height_range(node, spec)
    if first >= head.height or last >= head.height:
        raise RpcError(1, _TOO_LATE)
    return _walk(node, first, head.height - 1 if last == -1 else last)


def _walk(node: FullNode, first: int, last: int) -> Iterable[TipSet]:
    """The canonical tipsets of these heights, oldest first."""
    at = first
    while at <= last:
        tipset = node.network.tipset_after_height(Epoch(at))
        if tipset.height > last:
            return
        yield tipset
        at = tipset.height + 1


def _search(node: FullNode, spec: LogFilter) -> list[Json]:
    matches = _Matcher(node, spec)
    found: list[Json] = []
    for tipset in _tipsets(node, spec):
        removed = not node.network.is_canonical(tipset)
        found += filter(matches, tipset_logs(node, tipset, removed=removed))
        if len(found) > _MAX_RESULTS:
            raise RpcError(
                1,
                "failed to get events for filter from chain indexer: "
                "filter matches too many events, try a more restricted filter",
            )
    return found


def _log_filter(node: FullNode, spec: LogFilter) -> Filter:
    """Logs of each tipset once its child is applied, and again as removed when that is reverted."""
    matches = _Matcher(node, spec)

    def of_change(change: HeadChange) -> list[Json]:
        if not change.tipset.parents:
            return []
        executed = node.network.tipset(change.tipset.parents)
        logs = tipset_logs(node, executed, removed=change.type == "revert")
        return [log for log in logs if matches(log)]

    return Filter("logs", of_change=of_change)


def _block_filter() -> Filter:
    def of_change(change: HeadChange) -> list[str]:
        return [hex_bytes(change.tipset.key.cid.digest)] if change.type == "apply" else []

    return Filter("blocks", of_change=of_change)


def _pending_filter(node: FullNode) -> Filter:
    def of_message(signed: SignedMessage) -> list[str]:
        return [hex_bytes(message_hash(signed, node.network.config.eip155_chain_id))]

    return Filter("pending", of_message=of_message)


def _heads_filter(node: FullNode) -> Filter:
    """Of a new head its parent: the newest block whose messages have been executed."""

    def of_change(change: HeadChange) -> list[Json]:
        if change.type != "apply" or not change.tipset.parents:
            return []
        return [block_json(node, node.network.tipset(change.tipset.parents), full=True)]

    return Filter("heads", of_change=of_change)


def _install(node: FullNode, new: Filter) -> str:
    try:
        return node.eth.install(new)
    except ValueError as error:
        raise RpcError(1, str(error)) from error


def _new_filter(node: FullNode, spec: LogFilter) -> str:
    node.heads.flush()
    new = _log_filter(node, spec)
    if spec.block_hash is not None or spec.from_block not in (None, "", "latest"):
        new.put(_search(node, spec))  # what has happened already is in the first answer
    return _install(node, new)


def _new_block_filter(node: FullNode) -> str:
    node.heads.flush()
    return _install(node, _block_filter())


def _new_pending_filter(node: FullNode) -> str:
    return _install(node, _pending_filter(node))


def _filter(node: FullNode, name: bytes) -> Filter:
    found = node.eth.filter(hex_bytes(name))
    if found is None:
        raise RpcError(1, "filter not found")
    node.heads.flush()
    return found


def _changes(node: FullNode, name: bytes) -> list[Any]:
    return _filter(node, name).take()


def _filter_logs(node: FullNode, name: bytes) -> list[Any]:
    found = _filter(node, name)
    if found.kind != "logs":
        raise RpcError(1, "wrong filter type")
    return found.take()


def _uninstall(node: FullNode, name: bytes) -> bool:
    return node.eth.remove(hex_bytes(name))


def _decode_subscribe(params: list[Any]) -> tuple[str, LogFilter]:
    if len(params) not in (1, 2):
        raise ValueError(f"expected 1 or 2 params, got {len(params)}")
    return decode_string(params[0]), _decode_spec(params[1] if len(params) == 2 else None)


def _subscribe(node: FullNode, event: str, spec: LogFilter) -> EthSubscription:
    node.heads.flush()
    if event == "newHeads":
        wanted = _heads_filter(node)
    elif event == "logs":
        wanted = _log_filter(node, spec)
    elif event == "newPendingTransactions":
        wanted = _pending_filter(node)
    else:
        raise RpcError(1, f"unsupported event type: {event}")
    return node.eth.subscribe(wanted)


def _unsubscribe(node: FullNode, name: bytes) -> bool:
    return node.eth.unsubscribe(hex_bytes(name))


_READ = Permission.READ
_SPEC = Param("*ethtypes.EthFilterSpec", _decode_spec)
_FILTER = Param("ethtypes.EthFilterID", decode_hash)
_SUBSCRIPTION = Param("ethtypes.EthSubscriptionID", decode_hash)

METHODS: tuple[Method[FullNode], ...] = (
    Method("EthGetLogs", _READ, (_SPEC,), _search, aliases=("eth_getLogs",)),
    Method("EthNewFilter", _READ, (_SPEC,), _new_filter, aliases=("eth_newFilter",)),
    Method("EthNewBlockFilter", _READ, (), _new_block_filter, aliases=("eth_newBlockFilter",)),
    Method(
        "EthNewPendingTransactionFilter",
        _READ,
        (),
        _new_pending_filter,
        aliases=("eth_newPendingTransactionFilter",),
    ),
    Method("EthGetFilterChanges", _READ, (_FILTER,), _changes, aliases=("eth_getFilterChanges",)),
    Method("EthGetFilterLogs", _READ, (_FILTER,), _filter_logs, aliases=("eth_getFilterLogs",)),
    Method("EthUninstallFilter", _READ, (_FILTER,), _uninstall, aliases=("eth_uninstallFilter",)),
    Method(
        "EthSubscribe",
        _READ,
        RawParams(_decode_subscribe),
        _subscribe,
        callbacks=True,
        aliases=("eth_subscribe",),
    ),
    Method("EthUnsubscribe", _READ, (_SUBSCRIPTION,), _unsubscribe, aliases=("eth_unsubscribe",)),
)
