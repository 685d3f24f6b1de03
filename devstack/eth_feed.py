"""What the node remembers for eth_*: which message a transaction hash names, installed filters, subscriptions."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from devstack.chain import Network
from devstack.heads import HeadFeed
from devstack.rpc.subscription import EthSubscription, Subscription
from lotus_client.chain import HeadChange
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureType
from lotus_client.eth import message_hash
from lotus_client.messages import SignedMessage

__all__ = ["EthFeed", "Filter"]

_MAX_FILTERS: Final = 100  # Lotus `[Fevm.Events]` MaxFilters
_MAX_COLLECTED: Final = 10_000  # MaxFilterResults
_MAX_QUEUED: Final = 20_000  # Lotus `node/impl/eth/subscriptions.go` maxSendQueue

Collect = Callable[[HeadChange], list[Any]]


@dataclass(slots=True)
class Filter:
    """A filter's kind, what it makes of a head change or pending message, and what nobody has taken yet."""

    kind: str
    of_change: Collect | None = None
    of_message: Callable[[SignedMessage], list[Any]] | None = None
    collected: deque[Any] = field(default_factory=lambda: deque(maxlen=_MAX_COLLECTED))
    stream: EthSubscription | None = None

    def put(self, values: list[Any]) -> None:
        """Keep values, or send them to the subscriber."""
        for value in values:
            if self.stream is None:
                self.collected.append(value)
            else:
                self.stream.publish(value)

    def take(self) -> list[Any]:
        """What was collected since the last time."""
        taken = list(self.collected)
        self.collected.clear()
        return taken


class EthFeed:
    """Watches the network's head and mempool for eth_*."""

    def __init__(self, network: Network, heads: HeadFeed) -> None:
        self._network = network
        self._filters: dict[str, Filter] = {}
        self._cids: dict[bytes, Cid] = {}
        self._stop = (heads.listen(self._on_changes), network.mpool.subscribe(self._on_message))

    def close(self) -> None:
        """Stop watching and end all subscriptions."""
        for stop in self._stop:
            stop()
        for one in list(self._filters.values()):
            if one.stream is not None:
                one.stream.close()

    def cid_of(self, transaction_hash: bytes) -> Cid | None:
        """The message that an Ethereum transaction's hash names, if this node has seen it."""
        return self._cids.get(transaction_hash)

    def install(self, new: Filter) -> str:
        """The id of a new filter.

        Raises:
            ValueError: there are too many.
        """
        if len(self._filters) >= _MAX_FILTERS:
            raise ValueError("maximum number of filters registered")
        name = _new_id()
        self._filters[name] = new
        return name

    def subscribe(self, new: Filter) -> EthSubscription:
        """A stream of what the filter finds from now on."""
        name = _new_id()

        def forget(_stream: Subscription) -> None:
            self._filters.pop(name, None)

        new.stream = EthSubscription(name, _MAX_QUEUED, forget)
        self._filters[name] = new
        return new.stream

    def filter(self, name: str) -> Filter | None:
        """An installed filter."""
        found = self._filters.get(name)
        return None if found is None or found.stream is not None else found

    def remove(self, name: str) -> bool:
        """Forget a filter; False when there is none of that id."""
        return self.filter(name) is not None and self._filters.pop(name) is not None

    def unsubscribe(self, name: str) -> bool:
        """End a subscription; False when there is none of that id."""
        found = self._filters.get(name)
        if found is None or found.stream is None:
            return False
        found.stream.close()
        return True

    def _on_changes(self, changes: list[HeadChange]) -> None:
        for one in list(self._filters.values()):
            if one.of_change is not None:
                for change in changes:
                    one.put(one.of_change(change))

    def _on_message(self, kind: str, signed: SignedMessage) -> None:
        if kind != "add":
            return
        if signed.signature.type is SignatureType.DELEGATED:
            digest = message_hash(signed, self._network.config.eip155_chain_id)
            self._cids[digest] = signed.cid
        for one in list(self._filters.values()):
            if one.of_message is not None:
                one.put(one.of_message(signed))


def _new_id() -> str:
    """A filter or subscription id: 16 random bytes and 16 zeros, as Lotus makes them of a UUID."""
    return "0x" + secrets.token_bytes(16).hex() + "00" * 16
