"""Head changes of the chain as streams: `ChainNotify` batches and live actor events.

The chain may mine hundreds of epochs between two turns of the event loop; what piles up is coalesced into one batch, in
which reverts stand before applies, as Lotus' head change coalescer does (`chain/store/coalescer.go`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from devstack.chain import Network
from devstack.rpc.encode import head_change_json
from devstack.rpc.subscription import Subscription
from lotus_client.chain import HeadChange

__all__ = ["HeadFeed"]

# Lotus `chain/store/store.go` SubHeadChanges.
_BUFFERED_BATCHES: Final = 16

_QUIET_SECONDS: Final = 0.01
_LONGEST_WAIT_SECONDS: Final = 0.2
_LARGEST_BATCH: Final = 200


class HeadFeed:
    """Coalesces the network's head changes and hands the batches to subscribers and listeners."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._followed = network
        self._streams: list[Subscription] = []
        self._listeners: list[Callable[[list[HeadChange]], None]] = []
        self._pending: list[HeadChange] = []
        self._oldest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe = network.subscribe(self._collect)

    def subscribe(self) -> Subscription:
        """A stream of `[]HeadChange` JSON that begins with the current head."""
        self.flush()  # so that `current` and what follows fit together
        stream = Subscription(_BUFFERED_BATCHES, self._streams.remove)
        self._streams.append(stream)
        stream.publish([head_change_json(HeadChange("current", self._network.head))])
        return stream

    def listen(self, listener: Callable[[list[HeadChange]], None]) -> Callable[[], None]:
        """Call `listener` with each coalesced batch; returns the remover."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def flush(self) -> None:
        """Hand out now what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        for listener in list(self._listeners):
            listener(batch)
        if self._streams:
            encoded = [head_change_json(change) for change in batch]
            for stream in list(self._streams):
                stream.publish(encoded)

    def show(self, network: Network) -> None:
        """Show another view of the chain: a copy that stands still, or the followed network again."""
        before, self._network = self._network.head, network
        if network is self._followed and network.head.key != before.key:
            self._collect(network.path(before.key, network.head.key))
            self.flush()

    def close(self) -> None:
        """Stop listening to the network and end all streams."""
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        for stream in list(self._streams):
            stream.close()

    def _collect(self, changes: list[HeadChange]) -> None:
        if self._network is not self._followed:
            return
        for change in changes:
            newest = self._pending[-1] if self._pending else None
            if (
                newest is not None
                and (change.type, newest.type) == ("revert", "apply")
                and newest.tipset.key == change.tipset.key
            ):
                self._pending.pop()  # nobody has seen it
            else:
                self._pending.append(change)
        self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._oldest = now
        else:
            self._timer.cancel()
            self._timer = None
        if len(self._pending) >= _LARGEST_BATCH or now - self._oldest >= _LONGEST_WAIT_SECONDS:
            self.flush()
        else:
            self._timer = loop.call_later(_QUIET_SECONDS, self.flush)
