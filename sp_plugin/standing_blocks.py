"""Blocks that are given only while work may go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deals.blocks import BlockStore
from lotus_client.cid import Cid
from sp_plugin.executors.pause import Pause

__all__ = ["StandingBlocks"]


class StandingBlocks:
    """A `BlockStore` that gives no block while the pause is on; it blocks the thread that asks.

    Both methods raise `Stopping` when the sidecar stops.
    """

    def __init__(self, blocks: BlockStore, pause: Pause) -> None:
        self._blocks = blocks
        self._pause = pause

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        self._pause.stand()
        return self._blocks.get(cid)

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`."""
        for found in self._blocks.get_many(cids):
            self._pause.stand()
            yield found
